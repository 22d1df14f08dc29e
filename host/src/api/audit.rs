//! `/audit`: who changed what. Also how a handler says it: one line inside the transaction of the effect.

use super::access::Who;
use super::paging::{Gathered, Parameters, Query};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller, request};
use crate::clock;
use crate::model::OrgNo;
use crate::model::access::OrgKey;
use crate::model::directory::Organization;
use crate::store::Txn;
use crate::store::audit::{self, Actor, Entry};
use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::ops::ControlFlow;

/// Larger sides of a change are told by the names of their members.
const SIDE_BYTES_MAX: usize = 16 << 10;
/// Members that change with every edit and say nothing.
const NOISE: [&str; 2] = ["version", "updatedAt"];

/// One thing that a caller does.
pub(crate) struct Act {
    action: &'static str,
    target: String,
    organization: Option<OrgKey>,
    before: Value,
    after: Value,
}

impl Act {
    pub(crate) fn new(action: &'static str, target: impl std::fmt::Display) -> Act {
        let (before, after) = (Value::Null, Value::Null);
        Act { action, target: target.to_string(), organization: None, before, after }
    }

    /// Whose row it was done to.
    pub(crate) fn of(self, organization: &Organization) -> Act {
        self.of_key(Some(OrgKey { id: organization.id.clone(), no: organization.no }))
    }

    pub(crate) fn of_key(self, organization: Option<OrgKey>) -> Act {
        Act { organization, ..self }
    }

    /// What it came to, or what was asked for.
    pub(crate) fn with(self, after: Value) -> Act {
        Act { after: bounded(after), ..self }
    }

    pub(crate) fn removed(self, before: Value) -> Act {
        Act { before: bounded(before), ..self }
    }

    /// The members in which two rows differ.
    pub(crate) fn changed(self, before: &Value, after: &Value) -> Act {
        let side = |one: &Value, other: &Value| {
            let members = one.as_object().into_iter().flatten();
            let differing = members.filter(|(name, value)| {
                !NOISE.contains(&name.as_str()) && other.get(name.as_str()) != Some(*value)
            });
            bounded(Value::Object(
                differing.map(|(name, value)| (name.clone(), value.clone())).collect(),
            ))
        };
        Act { before: side(before, after), after: side(after, before), ..self }
    }
}

fn bounded(side: Value) -> Value {
    if side.to_string().len() <= SIDE_BYTES_MAX {
        return side;
    }
    let names = side.as_object().into_iter().flat_map(Map::keys);
    json!({ "tooLarge": names.collect::<Vec<_>>() })
}

impl Caller {
    /// Writes down what this caller does. Part of the transaction that does it.
    pub(crate) fn log(&self, txn: &Txn, act: Act) -> Result<(), Problem> {
        audit::append(txn, entry(self.actor(), self, act))?;
        Ok(())
    }

    /// The same for what has its effect outside of the store, afterwards.
    pub(crate) async fn log_alone(self, api: &Api, act: Act) -> Result<(), Problem> {
        let entry = entry(self.actor(), &self, act);
        let append = move |txn: &Txn| audit::append(txn, entry.clone());
        api.deps.store.write(append).await?;
        Ok(())
    }

    fn actor(&self) -> Actor {
        let kind = match self.who {
            Who::Token(_) => "token",
            Who::User(..) => "user",
        };
        Actor { kind: kind.to_owned(), id: self.id(), name: self.name.to_string() }
    }
}

fn entry(actor: Actor, caller: &Caller, act: Act) -> Entry {
    Entry {
        seq: 0,
        at: caller.at,
        actor,
        address: caller.address.map(|address| address.to_string()),
        action: act.action.to_owned(),
        target: act.target,
        organization: act.organization,
        before: act.before,
        after: act.after,
        request: caller.request.as_deref().map(str::to_owned),
    }
}

/// Writes down that somebody could not log in. Of very many only some, so that guessing does not fill the disk.
pub(super) async fn failed_login(
    api: &Api,
    account: &str,
    address: Option<IpAddr>,
    now: i64,
) -> Result<(), Problem> {
    let Some(unlogged) = api.gate.failure_to_log(now) else { return Ok(()) };
    let entry = Entry {
        seq: 0,
        at: now,
        actor: Actor { kind: "nobody".to_owned(), id: String::new(), name: account.to_owned() },
        address: address.map(|address| address.to_string()),
        action: "loginFailed".to_owned(),
        target: String::new(),
        organization: None,
        before: Value::Null,
        after: if unlogged > 0 { json!({ "unlogged": unlogged }) } else { Value::Null },
        request: request::id().as_deref().map(str::to_owned),
    };
    api.deps.store.write(move |txn| audit::append(txn, entry.clone())).await?;
    Ok(())
}

/// The key of an organization by its number and the id that a row names.
pub(crate) fn key(id: &str, no: OrgNo) -> Option<OrgKey> {
    Some(OrgKey { id: id.to_owned(), no })
}

fn row(entry: &Entry) -> Value {
    json!({
        "seq": entry.seq,
        "at": clock::to_text(entry.at),
        "actor": entry.actor,
        "address": entry.address,
        "action": entry.action,
        "target": entry.target,
        "organizationId": entry.organization.as_ref().map(|organization| &organization.id),
        "before": entry.before,
        "after": entry.after,
        "requestId": entry.request,
    })
}

/// Who changed what, newest first.
#[utoipa::path(
    get, path = "/audit", tag = "audit",
    params(schema::AuditFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::AuditEntry>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["organization", "actor", "action", "since"])?;
    let (limit, before) = (query.limit()?, query.cursor::<u64>()?);
    let since = query.parsed::<jiff::Timestamp>("since", "an RFC 3339 instant")?;
    let since = since.map(clock::to_millis);
    api.read(move |read, _| {
        let org = caller.reach().narrow(read, query.get("organization"))?;
        let is = |name: &str, found: &str| query.get(name).is_none_or(|wanted| wanted == found);
        let mut found = Gathered::new(limit);
        audit::scan_newest(read, org, before, &mut |entry| {
            if since.is_some_and(|since| entry.at < since) {
                return ControlFlow::Break(());
            }
            let by = is("actor", &entry.actor.id) || is("actor", &entry.actor.name);
            let wanted = by && is("action", &entry.action);
            found.offer(entry.seq, entry, wanted)
        })?;
        query.page(found, |entry| Ok(row(&entry)))
    })
    .await
}

/// Whether the audit log is as it was written.
#[utoipa::path(
    get, path = "/audit/verify", tag = "audit",
    responses((status = 200, body = schema::AuditVerdict))
)]
pub(super) async fn verify(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let verdict = api.read(|read, _| Ok(audit::verify(read)?)).await?;
    let bad = verdict.bad.map(|(seq, reason)| json!({ "seq": seq, "reason": reason }));
    Ok(Json(json!({
        "ok": bad.is_none(),
        "entries": verdict.entries,
        "head": verdict.head,
        "firstBad": bad,
    })))
}

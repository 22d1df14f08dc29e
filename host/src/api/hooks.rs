//! `/webhooks/deliveries`: the log of what came in, and a delivery once more. Also how a connector receives.

use super::access::Reach;
use super::answer::Answer;
use super::audit::{Act, key};
use super::paging::{Gathered, Parameters, Query};
use super::problem::Problem;
use super::{Api, Caller, connectors, schema};
use crate::clock;
use crate::model::OrgNo;
use crate::model::ids::HookId;
use crate::model::webhook::{EventOutcome, Hook, HookDue, Outcome, Verdict};
use crate::signature;
use crate::store::{self, Read, Store, hook_outcomes, hooks};
use crate::trigger::webhook::{NoReplay, replay};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// A delivery and what is known of it.
struct Found {
    id: HookId,
    hook: Hook,
    outcome: Option<Outcome>,
    due: Option<HookDue>,
}

impl Found {
    fn read(read: &dyn Read, view: &dyn Read, id: HookId) -> Result<Option<Found>, store::Error> {
        let Some(stored) = hooks::get(view, id)? else { return Ok(None) };
        let (outcome, due) = (hook_outcomes::outcome(read, id)?, hook_outcomes::due(read, id)?);
        Ok(Some(Found { id, hook: stored.hook, outcome, due }))
    }

    /// What it came to, or else what intake said.
    fn verdict(&self) -> Verdict {
        self.outcome.as_ref().map_or(self.hook.verdict, |outcome| outcome.verdict)
    }

    fn status(&self) -> &'static str {
        match (&self.outcome, &self.due) {
            _ if self.hook.verdict != Verdict::Accepted => "ended",
            (_, Some(_)) => "waiting",
            (None, None) => "pending",
            (Some(_), None) => "ended",
        }
    }
}

/// The row as a caller sees it: of one organization, what concerned that one.
fn row(found: &Found, reach: Reach) -> Value {
    let Found { id, hook, outcome, due } = found;
    let whole = reach == Reach::All;
    let concerns = |orgs: &[OrgNo]| whole || orgs.iter().any(|org| reach.holds(*org));
    let events: Vec<&EventOutcome> = outcome
        .iter()
        .flat_map(|outcome| &outcome.events)
        .filter(|event| concerns(&event.orgs))
        .collect();
    let mut external_ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    external_ids.sort_unstable();
    external_ids.dedup();
    let runs = outcome.iter().flat_map(|outcome| &outcome.runs);
    let runs: Vec<Value> = runs
        .filter(|run| reach.holds(run.org_no))
        .map(|run| {
            json!({
                "syncId": run.run,
                "organizationId": run.organization,
                "connectionId": run.connection,
            })
        })
        .collect();
    let acknowledged = outcome.as_ref().and_then(|outcome| outcome.acknowledged_at);
    let processed = outcome.as_ref().map(|outcome| outcome.processed_at);
    let error = outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
    json!({
        "id": id,
        "connectorId": hook.connector,
        "connectionId": hook.connection,
        "scheme": hook.scheme,
        "verdict": found.verdict(),
        "status": found.status(),
        "receivedAt": clock::to_text(hook.received_at),
        "acknowledgedAt": acknowledged.map(clock::to_text),
        "acknowledgedMs": acknowledged.map(|at| (at - hook.received_at).max(0)),
        "processedAt": processed.map(clock::to_text),
        "processedMs": processed.map(|at| (at - hook.received_at).max(0)),
        "address": hook.address.as_ref().filter(|_| whole),
        "bodyBytes": hook.body_bytes,
        "deliveryId": hook.delivery_id,
        "duplicateOf": hook.duplicate_of,
        "bodyDiffers": hook.body_differs,
        "unlogged": hook.unlogged,
        "externalIds": external_ids,
        "events": events.iter().map(|event| event_row(event)).collect::<Vec<_>>(),
        "eventsMore": outcome.as_ref().filter(|_| whole).map_or(0, |outcome| outcome.events_more),
        "runs": runs,
        "error": error.map(|(code, message)| json!({ "code": code, "message": message })),
        "attempts": outcome.as_ref().map_or(0, |outcome| outcome.attempts),
        "nextAttemptAt": due.as_ref().map(|due| clock::to_text(due.due_at)),
        "replays": outcome.as_ref().map_or(0, |outcome| outcome.replays),
        "replayedBy": outcome.as_ref().and_then(|outcome| outcome.replayed_by.as_ref()),
        "replayable": hook.has_body() && found.status() == "ended",
    })
}

fn event_row(event: &EventOutcome) -> Value {
    json!({
        "organization": event.organization,
        "entity": event.entity,
        "externalId": event.id,
        "kind": event.kind,
        "eventId": event.event_id,
        "result": event.result,
    })
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no delivery {id:?}"))
}

fn find(store: &Store, read: &dyn Read, id: &str) -> Result<Found, Problem> {
    let number: HookId = id.parse().map_err(|_| missing(id))?;
    Found::read(read, &hooks::view(store)?, number)?.ok_or_else(|| missing(id))
}

/// Whether a caller sees a delivery: one of one organization sees what concerned it.
pub(super) fn seen(
    store: &Store,
    read: &dyn Read,
    reach: Reach,
    id: &str,
) -> Result<bool, Problem> {
    let Ok(id) = id.parse() else { return Ok(false) };
    match reach {
        Reach::All => Ok(hooks::get(&hooks::view(store)?, id)?.is_some()),
        Reach::One(own) => Ok(hook_outcomes::concerned(read, own, id)?),
    }
}

/// What came in, newest first.
#[utoipa::path(
    get, path = "/webhooks/deliveries", tag = "webhooks",
    params(schema::HookFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Hook>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["organization", "connector", "verdict", "since"])?;
    let (mut found, before) = (Gathered::new(query.limit()?), query.cursor::<HookId>()?);
    let words = Verdict::ALL.map(Verdict::as_str);
    let verdict = query.word("verdict", &words)?.and_then(|word| word.parse::<Verdict>().ok());
    let since = query.parsed::<jiff::Timestamp>("since", "an RFC 3339 instant")?;
    let since = since.map(clock::to_millis);
    let (organization, connector) =
        (query.get("organization").map(str::to_owned), query.get("connector").map(str::to_owned));
    api.read(move |read, store| {
        let reach = caller.reach();
        let org = reach.narrow(read, organization.as_deref())?;
        let connector =
            connector.map(|id| reach.connector(read, &id).map(|row| row.id)).transpose()?;
        let view = hooks::view(store)?;
        let mut visit = |id: HookId| {
            let Some(row) = Found::read(read, &view, id)? else {
                // Deleted meanwhile, or before its index.
                return Ok(ControlFlow::Continue(()));
            };
            if since.is_some_and(|since| row.hook.received_at < since) {
                return Ok(ControlFlow::Break(()));
            }
            let wanted = connector.is_none_or(|wanted| wanted == row.hook.connector)
                && verdict.is_none_or(|wanted| wanted == row.verdict());
            Ok(found.offer(id, row, wanted))
        };
        match org {
            Some(org) => hook_outcomes::scan_newest(read, org, before, &mut visit)?,
            None => hooks::scan_newest(&view, connector, before, &mut visit)?,
        }
        query.page(found, |found| Ok(row(&found, reach)))
    })
    .await
}

/// One delivery.
#[utoipa::path(
    get, path = "/webhooks/deliveries/{id}", tag = "webhooks",
    responses((status = 200, body = schema::Hook))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let reach = caller.reach();
    let found = api.read(move |read, store| find(store, read, &id)).await?;
    Ok(Json(row(&found, reach)))
}

/// Processes a delivery once more, with the plugin that is active now: for the caller's organization, or for all.
#[utoipa::path(
    post, path = "/webhooks/deliveries/{id}/replay", tag = "webhooks",
    responses(
        (status = 202, body = schema::Hook),
        (status = 409, description = "`webhook.no-body`, `webhook.waiting`"),
    )
)]
pub(super) async fn again(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<super::answer::Answer, Problem> {
    let (store, now) = (api.deps.store.clone(), api.now());
    let answer = api
        .commit(move |txn| {
            let found = find(&store, txn, &id)?;
            let reach = caller.reach();
            let only = match reach {
                Reach::All => None,
                Reach::One(own) => Some(own),
            };
            match replay(txn, found.id, &found.hook, &caller.name, only, now)? {
                Ok(()) => {}
                Err(reason @ NoReplay::NoBody) => {
                    return Err(Problem::conflict("webhook.no-body", reason.to_string()));
                }
                Err(reason @ NoReplay::Waiting) => {
                    return Err(Problem::conflict("webhook.waiting", reason.to_string()));
                }
            }
            let own = caller.grant.organization.as_ref();
            let own = own.and_then(|own| key(&own.id, own.no));
            caller.log(txn, Act::new("replayWebhook", found.id).of_key(own))?;
            let found = find(&store, txn, &id)?;
            Ok(Answer::accepted(row(&found, reach)))
        })
        .await?;
    api.inbox.bell().notify_one();
    Ok(answer)
}

/// How a connector receives: where to point the remote system, and whether it can.
#[utoipa::path(
    get, path = "/connectors/{id}/webhooks", tag = "webhooks",
    responses((status = 200, body = schema::Reception))
)]
pub(super) async fn reception(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (inbox, url) = (api.inbox.clone(), api.public_url.to_string());
    api.read(move |read, _| {
        let connector = connectors::find(read, &id)?;
        let reception = inbox.reception(connector.id).map_err(|error| Problem::internal(&error))?;
        let refused: serde_json::Map<String, Value> = inbox
            .counts(connector.id)
            .into_iter()
            .map(|(verdict, count)| (verdict.to_string(), json!(count)))
            .collect();
        Ok(Json(json!({
            "url": format!("{url}/webhooks/{}", connector.id),
            "scheme": reception.scheme,
            "schemes": *signature::NAMES,
            "ready": reception.ready,
            "problem": reception.problem,
            "secret": { "set": reception.secret_set, "previousSet": reception.previous_set },
            "refused": refused,
        })))
    })
    .await
}

//! Where events go: to every connection that has the organization they name. Events of many deliveries for one
//! connection are one request.

use super::{ATTEMPTS_MAX, Dispatched, WAIT_MILLIS_MAX, WAIT_MILLIS_MIN};
use crate::ask;
use crate::model::directory::{Connection, Connector, ConnectorStatus, Direction};
use crate::model::ids::HookId;
use crate::model::job::merge_requests;
use crate::model::run::EntityRequest;
use crate::model::webhook::{
    EventOutcome, EventResult, HookDue, HookEvent, HookRun, Outcome, Parsed, Refetch, Verdict,
};
use crate::model::{ConnectionId, ConnectorId, Mode, OrgNo, RunId, Trigger};
use crate::queue::{self, Request};
use crate::retry;
use crate::store::{self, Txn, directory, hook_outcomes, lookup};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Events that are kept with a delivery; further ones are counted.
const EVENTS_KEPT_MAX: usize = 100;
const REQUESTED_BY: &str = "webhook";

/// What one connection is asked for.
struct Ask {
    connection: Connection,
    requests: Vec<EntityRequest>,
}

struct Router<'a, 't> {
    txn: &'a Txn<'t>,
    now: i64,
    dedup_millis: i64,
    connectors: HashMap<ConnectorId, Option<Connector>>,
    /// Whom events are for, by what they are looked up with: a storm names the same few.
    receivers: HashMap<Named, Arc<[Connection]>>,
    asks: BTreeMap<ConnectionId, Ask>,
}

/// Connector, the connection of the address, and the remote's id of the organization.
type Named = (ConnectorId, Option<ConnectionId>, Option<String>);

/// What a delivery came to so far: the connections that it asked are known, their runs not yet.
struct Draft {
    id: HookId,
    outcome: Outcome,
    asked: BTreeSet<ConnectionId>,
}

/// Answers whether anything was enqueued.
pub(super) fn all(
    txn: &Txn,
    dispatched: &[Dispatched],
    strategy_default: &str,
    now: i64,
    dedup_millis: i64,
) -> Result<bool, store::Error> {
    let (connectors, receivers, asks) = (HashMap::new(), HashMap::new(), BTreeMap::new());
    let mut router = Router { txn, now, dedup_millis, connectors, receivers, asks };
    let mut processed = hook_outcomes::processed(txn)?;
    let mut drafts = Vec::new();
    for one in dispatched {
        match &one.due {
            // Somebody else did it meanwhile, or a crash came behind it.
            None if one.id <= processed => continue,
            None => processed = one.id,
            Some(due) if hook_outcomes::due(txn, one.id)?.as_ref() != Some(due) => continue,
            Some(_) => hook_outcomes::delete_due(txn, one.id)?,
        }
        if let Some(parsed) = &one.parsed {
            drafts.extend(router.one(one, parsed)?);
        }
    }
    let runs = router.enqueue(strategy_default)?;
    let ended = drafts.into_iter().map(|Draft { id, mut outcome, asked }| {
        outcome.runs =
            asked.iter().filter_map(|connection| runs.get(connection).cloned()).collect();
        (id, outcome)
    });
    hook_outcomes::put_outcomes(txn, ended.collect())?;
    hook_outcomes::put_processed(txn, processed)?;
    Ok(!runs.is_empty())
}

impl Router<'_, '_> {
    fn one(&mut self, one: &Dispatched, parsed: &Parsed) -> Result<Option<Draft>, store::Error> {
        let attempts = one.due.as_ref().map_or(0, |due| due.attempts) + 1;
        let before = match &one.due {
            Some(_) => hook_outcomes::outcome(self.txn, one.id)?,
            // It was not processed before.
            None => None,
        };
        let replay = one.due.as_ref().and_then(|due| due.replay.as_ref());
        let mut outcome = Outcome {
            verdict: Verdict::UnknownEvent,
            acknowledged_at: one
                .acknowledged_at
                .or_else(|| before.as_ref().and_then(|before| before.acknowledged_at)),
            processed_at: self.now,
            events: Vec::new(),
            events_more: 0,
            runs: Vec::new(),
            // Whom it concerned before it concerns still.
            orgs: before.as_ref().map(|before| before.orgs.clone()).unwrap_or_default(),
            error: None,
            attempts,
            replays: before.as_ref().map_or(0, |before| before.replays)
                + u32::from(replay.is_some()),
            replayed_by: replay
                .map(|replay| replay.by.clone())
                .or_else(|| before.and_then(|before| before.replayed_by)),
        };
        let mut asked = BTreeSet::new();
        match parsed {
            Parsed::Later(code, message) => {
                outcome.error = Some((code.clone(), message.clone()));
                if attempts < ATTEMPTS_MAX {
                    let wait = WAIT_MILLIS_MIN << (attempts - 1).min(10);
                    let due_at = self.now + wait.min(WAIT_MILLIS_MAX);
                    let due = HookDue { due_at, attempts, replay: replay.cloned() };
                    hook_outcomes::put_due(self.txn, one.id, &due)?;
                    // What becomes of it is not known: it stays as intake saw it.
                    outcome.verdict = Verdict::Accepted;
                }
            }
            Parsed::Unreadable(code, message) => {
                outcome.error = Some((code.clone(), message.clone()));
            }
            Parsed::Events(events) => {
                let is_replay = replay.is_some();
                let only = replay.and_then(|replay| replay.only);
                for event in events {
                    let (result, orgs) = self.event(one, event, is_replay, only, &mut asked)?;
                    if outcome.events.len() < EVENTS_KEPT_MAX {
                        outcome.events.push(shown(event, result, orgs));
                    } else {
                        outcome.events_more += 1;
                        outcome.orgs.extend(orgs);
                    }
                    outcome.verdict = outcome.verdict.min(verdict(result));
                }
            }
        }
        Ok(Some(Draft { id: one.id, outcome, asked }))
    }

    /// One event: the jobs that it asks for are noted, and the organizations that it concerns answered.
    fn event(
        &mut self,
        one: &Dispatched,
        event: &HookEvent,
        is_replay: bool,
        only: Option<OrgNo>,
        asked: &mut BTreeSet<ConnectionId>,
    ) -> Result<(EventResult, Vec<OrgNo>), store::Error> {
        let connector = one.connector;
        let Some(refetch) = one.entities.iter().find(|known| known.entity == event.entity) else {
            return Ok((EventResult::UnknownEntity, Vec::new()));
        };
        let receivers = self.receivers(one, event)?;
        let is_meant = |connection: &&Connection| only.is_none_or(|only| only == connection.org_no);
        let orgs: Vec<OrgNo> =
            receivers.iter().filter(is_meant).map(|connection| connection.org_no).collect();
        if orgs.is_empty() {
            return Ok((EventResult::UnknownOrganization, Vec::new()));
        }
        if !self.is_active(connector)? {
            return Ok((EventResult::SwitchedOff, orgs));
        }
        if !is_replay && !self.is_news(connector, event)? {
            return Ok((EventResult::Duplicate, orgs));
        }
        let mut result = EventResult::SwitchedOff;
        for connection in receivers.iter().filter(is_meant) {
            let policy = connection.entities.get(&event.entity);
            let pulls = policy.is_none_or(|policy| policy.direction != Direction::Push);
            if !connection.webhooks_enabled || !pulls {
                continue;
            }
            result = EventResult::Queued;
            let id = connection.id;
            asked.insert(id);
            let new = || Ask { connection: connection.clone(), requests: Vec::new() };
            let ask = self.asks.entry(id).or_insert_with(new);
            merge_requests(&mut ask.requests, requests(refetch, event));
        }
        Ok((result, orgs))
    }

    fn receivers(
        &mut self,
        one: &Dispatched,
        event: &HookEvent,
    ) -> Result<Arc<[Connection]>, store::Error> {
        let named = (one.connector, one.connection, event.organization.clone());
        if let Some(known) = self.receivers.get(&named) {
            return Ok(Arc::clone(known));
        }
        let found: Arc<[Connection]> = self.connections(one, event)?.into();
        self.receivers.insert(named, Arc::clone(&found));
        Ok(found)
    }

    /// The live connections that an event is for. One that names no organization is for the only one there is.
    fn connections(
        &self,
        one: &Dispatched,
        event: &HookEvent,
    ) -> Result<Vec<Connection>, store::Error> {
        let connector = one.connector;
        if let Some(id) = one.connection {
            let own = lookup::connection_of_connector(self.txn, connector, id)?;
            let is_its = |own: &Connection| {
                event.organization.as_ref().is_none_or(|named| *named == own.federation_org_id)
            };
            return Ok(own.filter(is_its).into_iter().collect());
        }
        match &event.organization {
            Some(named) => lookup::connections_of_remote(self.txn, connector, named),
            None => {
                let few = lookup::connections_of_connector(self.txn, connector, None, 2)?;
                Ok(if few.len() == 1 { few } else { Vec::new() })
            }
        }
    }

    fn connector(&mut self, id: ConnectorId) -> Result<Option<&Connector>, store::Error> {
        if !self.connectors.contains_key(&id) {
            let row = directory::connector(self.txn, id)?;
            self.connectors.insert(id, row);
        }
        Ok(self.connectors.get(&id).and_then(Option::as_ref))
    }

    fn is_active(&mut self, id: ConnectorId) -> Result<bool, store::Error> {
        let row = self.connector(id)?;
        Ok(row.is_some_and(|row| row.status != ConnectorStatus::Inactive))
    }

    /// Whether the event is not one that was processed before.
    fn is_news(&self, connector: ConnectorId, event: &HookEvent) -> Result<bool, store::Error> {
        let Some(id) = &event.event_id else { return Ok(true) };
        let mut hash = Sha256::new();
        for part in [event.organization.as_deref().unwrap_or_default(), id] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let whole: [u8; 32] = hash.finalize().into();
        let digest = whole.first_chunk().copied().unwrap_or_default();
        let until = self.now.saturating_add(self.dedup_millis);
        hook_outcomes::note_event(self.txn, connector, &digest, self.now, until)
    }

    /// One request for each connection; answers the runs.
    fn enqueue(
        &mut self,
        strategy_default: &str,
    ) -> Result<HashMap<ConnectionId, HookRun>, store::Error> {
        let mut runs = HashMap::new();
        for (id, Ask { connection, requests }) in std::mem::take(&mut self.asks) {
            let (now, txn) = (self.now, self.txn);
            let Some(connector) = self.connector(connection.connector_id)? else { continue };
            let (organization, org_no) = (connection.organization.clone(), connection.org_no);
            let request = Request {
                strategy: ask::policy_words(connector, &connection, strategy_default),
                connection,
                requests,
                trigger: Trigger::Webhook,
                dry_run: false,
                requested_by: REQUESTED_BY.to_owned(),
                max_retries: retry::retries_max(connector),
                now,
            };
            let run: RunId = queue::enqueue(txn, request)?.run;
            runs.insert(id, HookRun { run, organization, org_no, connection: id });
        }
        Ok(runs)
    }
}

/// What has to be looked at again.
fn requests(refetch: &Refetch, event: &HookEvent) -> Vec<EntityRequest> {
    let gone = match event.kind.as_str() {
        "deleted" | "merged" => Some(event.id.clone()),
        _ => None,
    };
    let changed = match event.kind.as_str() {
        "deleted" => None,
        "merged" => event.merged_into.clone(),
        _ => Some(event.id.clone()),
    };
    let gone = gone.map(|id| EntityRequest::only_linked(&event.entity, vec![id]));
    let changed = changed.map(|id| EntityRequest {
        entity: event.entity.clone(),
        mode: refetch.mode,
        ids: if refetch.mode == Mode::Ids { vec![id] } else { Vec::new() },
        filters: None,
    });
    gone.into_iter().chain(changed).collect()
}

fn shown(event: &HookEvent, result: EventResult, orgs: Vec<OrgNo>) -> EventOutcome {
    EventOutcome {
        organization: event.organization.clone(),
        entity: event.entity.clone(),
        id: event.id.clone(),
        kind: event.kind.clone(),
        event_id: event.event_id.clone(),
        result,
        orgs,
    }
}

/// What a delivery with such an event is called; of several the first in the order of the verdicts.
fn verdict(result: EventResult) -> Verdict {
    match result {
        EventResult::Queued | EventResult::SwitchedOff => Verdict::Accepted,
        EventResult::Duplicate => Verdict::Duplicate,
        EventResult::UnknownOrganization => Verdict::UnknownOrganization,
        EventResult::UnknownEntity => Verdict::UnknownEvent,
    }
}

//! A queue entry that asks for a run.

use super::ids::{ConnectionId, ConnectorId, JobId, OrgNo, RunId};
use super::run::{EntityRequest, Mode, Trigger};
use serde::{Deserialize, Serialize};

/// How many ids one request may gather while it waits; more are cheaper as a listing, and become one.
pub const IDS_MERGED_MAX: usize = 10_000;
/// How many requests one job may gather, told apart by entity, filters, and whether they name ids; the next one of an
/// entity makes it a listing without filters.
pub const REQUESTS_MAX: usize = 64;

/// Stored in binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub organization: String,
    pub org_no: OrgNo,
    pub connector: ConnectorId,
    pub connection: ConnectionId,
    /// The run that it becomes, or is.
    pub run: RunId,
    pub kind: JobKind,
    /// What it touches: no two running jobs of one organization share an entity.
    pub entities: Vec<String>,
    /// The most urgent asker.
    pub trigger: Trigger,
    pub priority: Priority,
    pub state: JobState,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    pub due_at: i64,
    /// Attempts that failed.
    pub attempt: u32,
    /// Retries that were planned and count.
    pub retry_count: u32,
    /// Retries that were planned and do not count: the remote system said when, or the attempt came further.
    pub uncounted: u32,
    /// A worker began with it and gave it back: nothing merges into it any more.
    pub begun: bool,
    /// A person waits for the next attempt, which may look whether a pause is over.
    pub by_person: bool,
    /// Nobody but webhooks asked for it.
    pub webhooks_only: bool,
    /// What webhooks brought into a job that others asked for too: it outlives the job's cancellation.
    pub from_webhooks: Vec<EntityRequest>,
    /// While it waited for a retry, somebody asked for it behind the back of this job, which was running: that one's
    /// success does not make it needless.
    pub behind: Option<JobId>,
    /// A wish, honoured between pages.
    pub cancel: bool,
    /// Grows with every claim: a commit with an older one is refused.
    pub fence: u64,
    pub lease: Option<Lease>,
    /// Why the last attempt failed.
    pub error: Option<JobError>,
    /// When it failed for good.
    pub ended_at: Option<i64>,
}

impl Job {
    /// Whether others of its connection merge into it: it is a sync with effects, and nobody began with it.
    pub fn merges(&self) -> bool {
        !self.begun && matches!(self.kind, JobKind::Sync { dry_run: false, .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Pending,
    /// An attempt failed, and the next one is planned.
    Waiting,
    Running,
    /// It failed for good, and is kept to be looked at.
    Dead,
}

/// What is done first: a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Manual,
    Webhook,
    Scheduled,
    Backfill,
}

impl Priority {
    pub const ALL: [Priority; 4] =
        [Priority::Manual, Priority::Webhook, Priority::Scheduled, Priority::Backfill];

    /// What a request has unless its asker says otherwise.
    pub fn of(trigger: Trigger) -> Priority {
        match trigger {
            Trigger::Manual => Priority::Manual,
            Trigger::Webhook => Priority::Webhook,
            Trigger::Scheduled => Priority::Scheduled,
            Trigger::Retry => Priority::Backfill,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    Sync {
        requests: Vec<EntityRequest>,
        dry_run: bool,
    },
    /// Commits the plan of a held run that a person approved.
    Apply {
        plan_hash: String,
        by: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Which process holds it.
    pub owner: String,
    pub until: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    pub code: String,
    pub message: String,
}

/// Adds what `new` asks for: sets of ids are united, and a full listing absorbs everything. An incremental one names what
/// has a new modification time, so that ids stand behind it as a request of their own.
pub fn merge_requests(into: &mut Vec<EntityRequest>, new: Vec<EntityRequest>) {
    for request in new {
        merge_request(into, request);
    }
}

fn merge_request(into: &mut Vec<EntityRequest>, request: EntityRequest) {
    let (entity, filters) = (request.entity.clone(), request.filters.clone());
    let same = |known: &EntityRequest| known.entity == entity && known.filters == filters;
    let place = into.iter().position(same);
    let known = into.iter().position(|known| same(known) && known.mode == request.mode);
    match (known, place) {
        (Some(at), _) if request.mode == Mode::Ids => {
            let Some(known) = into.get_mut(at) else { return };
            known.ids.extend(request.ids);
            known.ids.sort();
            known.ids.dedup();
            if known.ids.len() > IDS_MERGED_MAX {
                into.retain(|known| !same(known));
                merge_request(into, listing(entity));
            }
        }
        (Some(_), _) => {}
        (None, Some(place)) => match request.mode {
            Mode::Full => {
                // In the place of the first of those that it absorbs.
                let behind = into.split_off(place);
                into.push(request);
                into.extend(behind.into_iter().filter(|known| !same(known)));
            }
            _ if into.iter().any(|known| same(known) && known.mode == Mode::Full) => {}
            _ if into.len() >= REQUESTS_MAX => only_listing(into, entity),
            Mode::Incremental => into.insert(place, request),
            Mode::Ids => into.push(request),
        },
        (None, None) if into.len() >= REQUESTS_MAX => only_listing(into, entity),
        (None, None) => into.push(request),
    }
}

fn only_listing(into: &mut Vec<EntityRequest>, entity: String) {
    into.retain(|known| known.entity != entity);
    into.push(listing(entity));
}

fn listing(entity: String) -> EntityRequest {
    EntityRequest { entity, mode: Mode::Full, ids: Vec::new(), filters: None }
}

/// Whether a run that did all of `done` did all of `wanted`. A request for records by id with filters means just these
/// records in just this way: nothing else covers it.
pub fn covers(done: &[EntityRequest], wanted: &[EntityRequest]) -> bool {
    wanted.iter().all(|wanted| done.iter().any(|done| covers_one(done, wanted)))
}

fn covers_one(done: &EntityRequest, wanted: &EntityRequest) -> bool {
    let named = wanted.mode == Mode::Ids && wanted.filters.is_some();
    let whole = done.mode == Mode::Full && done.filters.is_none() && !named;
    let alike = done.filters == wanted.filters
        && match (done.mode, wanted.mode) {
            (Mode::Ids, Mode::Ids) => wanted.ids.iter().all(|id| done.ids.contains(id)),
            (Mode::Incremental, Mode::Ids) => false,
            (Mode::Full, Mode::Ids) if named => false,
            (done, wanted) => done >= wanted,
        };
    done.entity == wanted.entity && (whole || alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(entity: &str, mode: Mode, ids: &[&str]) -> EntityRequest {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        EntityRequest { entity: entity.to_owned(), mode, ids, filters: None }
    }

    fn filtered(mode: Mode, status: &str) -> EntityRequest {
        let filters = Some(serde_json::json!({ "status": [status] }));
        EntityRequest { filters, ..request("member", mode, &[]) }
    }

    fn merged(parts: Vec<EntityRequest>) -> Vec<EntityRequest> {
        let mut into = Vec::new();
        parts.into_iter().for_each(|part| merge_requests(&mut into, vec![part]));
        into
    }

    use Mode::{Full, Ids, Incremental};

    #[test]
    fn requests_merge() {
        assert_eq!(
            merged(vec![request("member", Ids, &["b", "a"]), request("member", Ids, &["a", "c"])]),
            vec![request("member", Ids, &["a", "b", "c"])]
        );
        assert_eq!(
            merged(vec![request("member", Ids, &["a"]), request("member", Full, &[])]),
            vec![request("member", Full, &[])]
        );
        assert_eq!(
            merged(vec![request("member", Full, &[]), request("member", Incremental, &[])]),
            vec![request("member", Full, &[])]
        );
        // A new modification time is not all that an id may be named for.
        let both = vec![request("member", Incremental, &[]), request("member", Ids, &["a", "b"])];
        let (ids, more) = (request("member", Ids, &["a"]), request("member", Ids, &["b"]));
        let incremental = request("member", Incremental, &[]);
        assert_eq!(merged(vec![ids.clone(), incremental.clone(), more.clone()]), both);
        assert_eq!(merged(vec![incremental.clone(), more, ids, incremental]), both);
        let other = request("team", Ids, &["t"]);
        let parts = [both, vec![other.clone(), request("member", Full, &[])]].concat();
        assert_eq!(merged(parts), vec![request("member", Full, &[]), other]);
        assert_eq!(
            merged(vec![request("member", Full, &[]), request("team", Ids, &["t"])]),
            vec![request("member", Full, &[]), request("team", Ids, &["t"])]
        );
        assert_eq!(
            merged(vec![filtered(Full, "Active"), request("member", Full, &[])]).len(),
            2,
            "a listing with filters is another request"
        );
    }

    #[test]
    fn what_a_job_gathers_is_bounded() {
        let many: Vec<String> = (0..=IDS_MERGED_MAX).map(|n| n.to_string()).collect();
        let (first, rest) = many.split_at(5_000);
        let part =
            |ids: &[String]| EntityRequest { ids: ids.to_vec(), ..request("member", Ids, &[]) };
        let all = merged(vec![part(first), part(rest)]);
        assert_eq!(all, vec![request("member", Full, &[])], "too many ids become a listing");

        let filters = (0..=REQUESTS_MAX).map(|n| filtered(Full, &n.to_string())).collect();
        let all = merged(filters);
        assert_eq!(all, vec![request("member", Full, &[])]);
    }

    #[test]
    fn a_run_covers_what_it_did_and_less() {
        #[track_caller]
        fn check(done: EntityRequest, wanted: EntityRequest, expect: bool) {
            assert_eq!(covers(&[done], &[wanted]), expect);
        }
        check(request("member", Full, &[]), request("member", Full, &[]), true);
        check(request("member", Full, &[]), request("member", Incremental, &[]), true);
        check(request("member", Full, &[]), request("member", Ids, &["a"]), true);
        check(request("member", Full, &[]), request("team", Ids, &["a"]), false);
        check(request("member", Full, &[]), filtered(Full, "Active"), true);
        check(request("member", Full, &[]), filtered(Ids, "Active"), false);
        check(filtered(Ids, "Active"), filtered(Ids, "Active"), true);
        check(filtered(Full, "Active"), request("member", Full, &[]), false);
        check(filtered(Full, "Active"), filtered(Full, "Active"), true);
        check(filtered(Full, "Active"), filtered(Full, "Lapsed"), false);
        check(request("member", Incremental, &[]), request("member", Incremental, &[]), true);
        check(request("member", Incremental, &[]), request("member", Full, &[]), false);
        // What was asked for by id may have changed without a new modification time.
        check(request("member", Incremental, &[]), request("member", Ids, &["a"]), false);
        check(request("member", Ids, &["a", "b"]), request("member", Ids, &["b"]), true);
        check(request("member", Ids, &["a"]), request("member", Ids, &["a", "b"]), false);
        let two = [request("member", Full, &[]), request("team", Full, &[])];
        assert!(covers(&two, &two[..1]) && !covers(&two[..1], &two));
    }
}

//! A queue entry that asks for a run.

use super::ids::{ConnectionId, ConnectorId, JobId, OrgNo, RunId};
use super::run::{EntityRequest, Mode, Trigger};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    pub trigger: Trigger,
    pub state: JobState,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    pub due_at: i64,
    pub attempt: u32,
    /// A wish, honoured between pages.
    pub cancel: bool,
    /// Grows with every claim: a commit with an older one is refused.
    pub fence: u64,
    pub lease: Option<Lease>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Pending,
    Running,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum JobKind {
    Sync {
        requests: Vec<EntityRequest>,
        #[serde(rename = "dryRun")]
        dry_run: bool,
    },
    /// Commits the plan of a held run that a person approved.
    Apply {
        #[serde(rename = "planHash")]
        plan_hash: String,
        by: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Which process holds it.
    pub owner: String,
    pub until: i64,
}

/// Adds what `new` asks for: full > incremental > ids; sets of ids are united.
pub fn merge_requests(into: &mut Vec<EntityRequest>, new: Vec<EntityRequest>) {
    for request in new {
        let same = |known: &&mut EntityRequest| {
            known.entity == request.entity && known.filters == request.filters
        };
        match into.iter_mut().find(same) {
            None => into.push(request),
            Some(known) if known.mode == Mode::Ids && request.mode == Mode::Ids => {
                known.ids.extend(request.ids);
                known.ids.sort();
                known.ids.dedup();
            }
            Some(known) if request.mode > known.mode => *known = request,
            Some(_) => {}
        }
    }
}

//! `/sync/status/{id}/events`: how a run goes, as it goes.
//!
//! Each event holds the whole run as `GET /sync/status/{id}` shows it, so that whoever missed some of them knows as much
//! as whoever saw all. The id of an event is a digest of what it says: a reader that comes back with it is told the next
//! state that differs, also by another process. The last one is called `end`.

use super::access::Place;
use super::live::{self, Source, Watch, Woken};
use super::problem::Problem;
use super::runs::{find, row};
use super::schema;
use super::{Api, Caller};
use crate::model::RunStatus;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Characters of an event's id.
const ID_CHARS: usize = 16;

/// A state of a run, ready to be told.
struct Told {
    id: String,
    run: Value,
    over: bool,
}

/// Follows a run: its phases, pages, counts and waits, and how it ends.
///
/// Events `run` hold the run as it stands; `end` holds it as it ended, and closes the stream. `Last-Event-ID` continues.
#[utoipa::path(
    get, path = "/sync/status/{id}/events", tag = "runs", operation_id = "events",
    params(schema::LastEventId),
    responses(
        (status = 200, content((schema::Event = "text/event-stream"))),
        (status = 204, description = "The caller has the last event already"),
        (status = 429, description = "`stream.too-many`"),
    )
)]
pub(super) async fn follow(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let told = live::last_event_id(&headers);
    let first = state(&api, &id)?;
    if first.over && told.as_ref() == Some(&first.id) {
        return Ok(live::nothing_more());
    }
    let watch = Watch::open(&api, caller, Place::Run, &[("id", &id)])?;
    Ok(live::answer(Run { watch, id, told, first: true, over: false }))
}

/// First the board, then the row: a run that ends in between shows as ended.
fn state(api: &Api, id: &str) -> Result<Told, Problem> {
    let view = id.parse().ok().and_then(|id| api.deps.board.view(id));
    let run = find(&api.deps.store.read()?, id)?;
    // A held run has ended until a person lets it go on; one that waits for its next attempt has not.
    let over = run.status.is_final();
    let view = view.filter(|_| run.status == RunStatus::Running);
    let run = row(&run, view);
    let id = hex::encode(Sha256::digest(run.to_string()));
    let id = id.get(..ID_CHARS).unwrap_or_default().to_owned();
    Ok(Told { id, run, over })
}

struct Run {
    watch: Watch,
    id: String,
    /// The id of the last event that the reader has.
    told: Option<String>,
    first: bool,
    over: bool,
}

impl Source for Run {
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.over {
                return None;
            }
            let woken = if self.first { Woken::Look } else { self.watch.wait().await };
            self.first = false;
            if woken == Woken::Over {
                return None;
            }
            self.watch.looks();
            let read = self.watch.api.deps.store.read().ok()?;
            if !self.watch.admits(&read) {
                return None;
            }
            let now = state(&self.watch.api, &self.id).ok()?;
            self.over = now.over;
            if self.told.as_ref() != Some(&now.id) || now.over {
                let kind = if now.over { "end" } else { "run" };
                let event = live::event(kind, &now.id, &now.run);
                self.told = Some(now.id);
                return Some(event);
            }
            if woken == Woken::Heartbeat {
                return Some(": still here\n\n".to_owned());
            }
        }
    }
}

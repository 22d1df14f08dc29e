//! What is done beside intake, by the clock: the oldest deliveries go, what was remembered is forgotten, keys of bodies
//! are renewed.

use super::{Error, Inbox};
use crate::clock;
use crate::model::ids::HookId;
use crate::store::hooks::{self, Keep};
use crate::store::{Txn, hook_outcomes};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Rows of one transaction.
const BATCH: usize = 500;

impl Inbox {
    /// Works until `stop`.
    pub async fn tend(self, stop: CancellationToken) {
        loop {
            let begun = self.0.clock.now();
            let now = clock::to_millis(begun);
            for result in [self.prune(now).await, self.forget(now).await, self.tend_keys(now).await]
            {
                if let Err(error) = result {
                    tracing::error!(%error, "the inbox cannot be kept in order");
                }
            }
            let next = begun.saturating_add(EVERY).unwrap_or(jiff::Timestamp::MAX);
            let woken = async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.0.clock.look(next) => {}
                }
            };
            self.0.clock.rest(woken).await;
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Deletes deliveries that are too old or too many, with what they came to.
    pub(super) async fn prune(&self, now: i64) -> Result<(), Error> {
        let (store, options) = (&self.0.store, &self.0.options);
        loop {
            let state = store.read()?;
            let processed = hook_outcomes::processed(&state)?;
            // What was put off was answered too, and is still to come to something.
            let waits = hook_outcomes::first_due(&state)?.map(|id| HookId(id.0.saturating_sub(1)));
            drop(state);
            let keep = Keep {
                since: now.saturating_sub(options.keep_millis),
                count_max: options.keep_count_max,
                bytes_max: options.keep_bytes_max,
                processed: waits.map_or(processed, |waits| waits.min(processed)),
            };
            if hooks::prune(store, keep, BATCH).await?.len() < BATCH {
                break;
            }
        }
        // By what is left, so that what a crash came between is made up for.
        let oldest = hooks::first(store)?;
        loop {
            let delete = move |txn: &Txn| hook_outcomes::delete_before(txn, oldest, BATCH);
            if store.write::<usize, crate::store::Error, _>(delete).await? < BATCH {
                return Ok(());
            }
        }
    }

    pub(super) async fn forget(&self, now: i64) -> Result<(), Error> {
        let (store, count_max) = (&self.0.store, self.0.options.dedup_keys_max);
        while hooks::forget(store, now, count_max, BATCH).await? {}
        loop {
            let forget = move |txn: &Txn| hook_outcomes::forget_events(txn, now, count_max, BATCH);
            if store.write::<usize, crate::store::Error, _>(forget).await? < BATCH {
                return Ok(());
            }
        }
    }
}

//! When deliveries were answered, until somebody writes it down with what they came to. Bounded: a time that is lost
//! costs a figure in the log.

use crate::model::ids::HookId;
use std::collections::BTreeMap;

const ACKS_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Acks(BTreeMap<HookId, i64>);

impl Acks {
    pub(super) fn note(&mut self, id: HookId, at: i64) {
        self.0.insert(id, at);
        if self.0.len() > ACKS_MAX {
            self.0.pop_first();
        }
    }

    pub(super) fn take(&mut self, id: HookId) -> Option<i64> {
        self.0.remove(&id)
    }
}

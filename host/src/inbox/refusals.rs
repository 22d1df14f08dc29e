//! What was refused, or came again: the first of an hour get a row, the rest is counted, so that no traffic fills the disk.

use crate::model::ConnectorId;
use crate::model::webhook::Verdict;
use std::collections::{BTreeMap, HashMap};

const HOUR_MILLIS: i64 = 60 * 60 * 1_000;

/// How many deliveries were refused or came again, by verdict.
pub type Counts = BTreeMap<Verdict, u64>;

#[derive(Default)]
struct Hour {
    since: i64,
    rows: u64,
    unlogged: u64,
    all: u64,
}

impl Hour {
    /// Also where the clock was set back by so much.
    fn has_ended(&self, now: i64) -> bool {
        now.abs_diff(self.since) >= HOUR_MILLIS.unsigned_abs()
    }
}

/// Bounded by the number of connectors.
pub(super) struct Refusals {
    rows_max: u64,
    hours: HashMap<(ConnectorId, Verdict), Hour>,
}

impl Refusals {
    pub(super) fn new(rows_max: u64) -> Refusals {
        Refusals { rows_max, hours: HashMap::new() }
    }

    /// Counts a refusal. Where it gets a row: how many before it got none.
    pub(super) fn note(
        &mut self,
        connector: ConnectorId,
        verdict: Verdict,
        now: i64,
    ) -> Option<u64> {
        let rows_max = self.rows_max;
        let hour = self.one_more(connector, verdict, now);
        if hour.rows >= rows_max {
            hour.unlogged += 1;
            return None;
        }
        hour.rows += 1;
        Some(std::mem::take(&mut hour.unlogged))
    }

    /// Counts one that has its row already.
    pub(super) fn note_logged(&mut self, connector: ConnectorId, verdict: Verdict, now: i64) {
        self.one_more(connector, verdict, now).rows += 1;
    }

    /// Whether another one would get no row.
    pub(super) fn is_over(&self, connector: ConnectorId, verdict: Verdict, now: i64) -> bool {
        self.hours
            .get(&(connector, verdict))
            .is_some_and(|hour| hour.rows >= self.rows_max && !hour.has_ended(now))
    }

    fn one_more(&mut self, connector: ConnectorId, verdict: Verdict, now: i64) -> &mut Hour {
        let hour = self.hours.entry((connector, verdict)).or_default();
        hour.all += 1;
        if hour.all == 1 || hour.has_ended(now) {
            (hour.since, hour.rows) = (now, 0);
        }
        hour
    }

    pub(super) fn counts(&self, connector: ConnectorId) -> Counts {
        let of_it = self.hours.iter().filter(|((of, _), _)| *of == connector);
        of_it.map(|((_, verdict), hour)| (*verdict, hour.all)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_an_hour_get_a_row_and_the_next_one_tells_of_the_others() {
        let mut refusals = Refusals::new(2);
        let mut note = |at| refusals.note(ConnectorId(1), Verdict::BadSignature, at);
        assert_eq!([note(5), note(5), note(6), note(7)], [Some(0), Some(0), None, None]);
        assert_eq!(note(HOUR_MILLIS + 4), None);
        assert_eq!(note(HOUR_MILLIS + 5), Some(3));
        assert_eq!([note(HOUR_MILLIS + 5), note(HOUR_MILLIS + 5)], [Some(0), None]);
        assert_eq!(note(5), Some(1), "a clock that was set back by an hour");
        assert_eq!(refusals.note(ConnectorId(1), Verdict::TooLarge, 7), Some(0));
        assert_eq!(refusals.note(ConnectorId(2), Verdict::BadSignature, 7), Some(0));
        let counts = refusals.counts(ConnectorId(1));
        assert_eq!(counts[&Verdict::BadSignature], 9);
    }
}

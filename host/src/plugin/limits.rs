//! What a plugin may use, and the guard that counts it while guest code runs.
//!
//! Every limit has a hostile plugin and a test. Must not decide what happens after a breach.

use std::time::Duration;

/// How often a running guest is looked at. CPU budgets are counted in these.
pub const EPOCH_TICK: Duration = Duration::from_millis(10);

/// The named maxima of the sandbox. "Per call" means one function of the plugin, such as one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of a component file.
    pub component_bytes_max: usize,
    /// Sum over all linear memories of a session.
    pub memory_bytes_max: usize,
    pub memories_max: usize,
    pub tables_max: usize,
    /// Sum over all tables of a session.
    pub table_elements_max: usize,
    pub instances_max: usize,
    /// Live resource handles (streams and the like).
    pub handles_max: usize,
    /// Time in guest code per call; waiting for the remote does not count.
    pub cpu_millis_max: u64,
    /// Time per call, waiting included.
    pub wall_millis_max: u64,
    pub describe_cpu_millis_max: u64,
    pub describe_wall_millis_max: u64,
    /// Bytes that may leave the guest in one call or one import: a page, a request body.
    pub page_bytes_max: usize,
    /// Whatever a request asks for, no page holds more rows.
    pub records_per_page_max: u32,
    pub fields_per_page_max: usize,
    pub aliases_per_row_max: usize,
    pub id_bytes_max: usize,
    /// One field value.
    pub string_bytes_max: usize,
    /// Cursors and checkpoints.
    pub cursor_bytes_max: usize,
    /// The sample of an unreadable row; longer ones are cut.
    pub reject_bytes_max: usize,
    /// Failure messages and decision notes; longer ones are cut.
    pub message_bytes_max: usize,
    pub manifest_bytes_max: usize,
    /// Requests and hints per call.
    pub http_calls_max: u32,
    /// Lines per call; the rest is counted.
    pub log_lines_max: u32,
    pub log_line_bytes_max: usize,
    /// Lines kept until the owner of the session fetches them.
    pub log_lines_kept_max: usize,
    /// The tail of stdout and of stderr that is kept.
    pub stderr_bytes_max: usize,
    /// Conflicts per call of a strategy; more are split.
    pub conflicts_per_batch_max: usize,
    /// Events that one delivery may hold.
    pub events_per_delivery_max: usize,
    /// Time in guest code, and by the clock, for one delivery.
    pub parse_cpu_millis_max: u64,
    pub parse_wall_millis_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            component_bytes_max: 16 << 20,
            memory_bytes_max: 128 << 20,
            memories_max: 8,
            tables_max: 8,
            table_elements_max: 100_000,
            instances_max: 64,
            handles_max: 256,
            cpu_millis_max: 5_000,
            wall_millis_max: 120_000,
            describe_cpu_millis_max: 1_000,
            describe_wall_millis_max: 5_000,
            page_bytes_max: 16 << 20,
            records_per_page_max: 10_000,
            fields_per_page_max: 512,
            aliases_per_row_max: 16,
            id_bytes_max: 512,
            string_bytes_max: 1 << 20,
            cursor_bytes_max: 4 << 10,
            reject_bytes_max: 8 << 10,
            message_bytes_max: 2 << 10,
            manifest_bytes_max: 1 << 20,
            http_calls_max: 1_000,
            log_lines_max: 200,
            log_line_bytes_max: 2 << 10,
            log_lines_kept_max: 1_000,
            stderr_bytes_max: 8 << 10,
            conflicts_per_batch_max: 256,
            events_per_delivery_max: 10_000,
            parse_cpu_millis_max: 1_000,
            parse_wall_millis_max: 5_000,
        }
    }
}

/// A budget for one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) cpu_millis: u64,
    pub(super) wall: Duration,
}

impl Limits {
    pub(super) fn call_budget(&self) -> Budget {
        Budget {
            cpu_millis: self.cpu_millis_max,
            wall: Duration::from_millis(self.wall_millis_max),
        }
    }

    pub(super) fn parse_budget(&self) -> Budget {
        Budget {
            cpu_millis: self.parse_cpu_millis_max,
            wall: Duration::from_millis(self.parse_wall_millis_max),
        }
    }

    pub(super) fn describe_budget(&self) -> Budget {
        Budget {
            cpu_millis: self.describe_cpu_millis_max,
            wall: Duration::from_millis(self.describe_wall_millis_max),
        }
    }
}

/// Which limit ended a call: raised inside the sandbox and read back from the trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    #[error("CPU budget spent")]
    Cpu,
    #[error("memory limit reached")]
    Memory,
    #[error("table limit reached")]
    Table,
}

/// Counts one store's memory, tables and CPU.
#[derive(Debug)]
pub(super) struct Guard {
    memory_bytes_max: usize,
    memory_bytes: usize,
    memory_bytes_last: usize,
    table_elements_max: usize,
    table_elements: usize,
    table_elements_last: usize,
    memories_max: usize,
    tables_max: usize,
    instances_max: usize,
    ticks: u64,
    ticks_max: u64,
    excused: bool,
}

impl Guard {
    pub(super) fn new(limits: &Limits) -> Guard {
        Guard {
            memory_bytes_max: limits.memory_bytes_max,
            memory_bytes: 0,
            memory_bytes_last: 0,
            table_elements_max: limits.table_elements_max,
            table_elements: 0,
            table_elements_last: 0,
            memories_max: limits.memories_max,
            tables_max: limits.tables_max,
            instances_max: limits.instances_max,
            ticks: 0,
            ticks_max: 0,
            excused: false,
        }
    }

    /// Before each call: its CPU budget, counted from zero.
    pub(super) fn begin(&mut self, budget: Budget) {
        let tick_millis = EPOCH_TICK.as_millis().try_into().unwrap_or(1);
        self.ticks = 0;
        self.ticks_max = budget.cpu_millis.div_ceil(tick_millis);
        self.excused = false;
    }

    /// After an import that waited: the tick that passed meanwhile was not the guest's.
    pub(super) fn excuse(&mut self) {
        self.excused = true;
    }

    /// A tick passed while guest code ran.
    pub(super) fn tick(&mut self) -> Result<(), Breach> {
        if std::mem::take(&mut self.excused) {
            return Ok(());
        }
        self.ticks += 1;
        if self.ticks > self.ticks_max { Err(Breach::Cpu) } else { Ok(()) }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

impl wasmtime::ResourceLimiter for Guard {
    /// An error, not a refusal: a guest that is only refused dies in its own allocator and shows `unreachable`.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.memory_bytes_last = desired.saturating_sub(current);
        let total = self.memory_bytes.saturating_add(self.memory_bytes_last);
        if total > self.memory_bytes_max {
            return Err(wasmtime::Error::new(Breach::Memory));
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes -= std::mem::take(&mut self.memory_bytes_last);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.table_elements_last = desired.saturating_sub(current);
        let total = self.table_elements.saturating_add(self.table_elements_last);
        if total > self.table_elements_max {
            return Err(wasmtime::Error::new(Breach::Table));
        }
        self.table_elements = total;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements -= std::mem::take(&mut self.table_elements_last);
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.tables_max
    }

    fn memories(&self) -> usize {
        self.memories_max
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use wasmtime::ResourceLimiter;

    fn guard() -> Guard {
        let (memory_bytes_max, table_elements_max) = (100, 10);
        Guard::new(&Limits { memory_bytes_max, table_elements_max, ..Limits::default() })
    }

    #[test]
    fn memories_are_summed() {
        let mut guard = guard();
        assert!(guard.memory_growing(0, 60, None).unwrap());
        assert!(guard.memory_growing(0, 40, None).unwrap());
        let error = guard.memory_growing(40, 41, None).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Breach::Memory));
        assert_eq!(guard.memory_bytes(), 100);
    }

    #[test]
    fn a_growth_that_fails_is_given_back() {
        let mut guard = guard();
        assert!(guard.memory_growing(0, 60, None).unwrap());
        assert!(guard.memory_growing(60, 90, None).unwrap());
        guard.memory_grow_failed(wasmtime::Error::msg("the system has none")).unwrap();
        assert_eq!(guard.memory_bytes(), 60);
    }

    #[test]
    fn tables_are_summed() {
        let mut guard = guard();
        assert!(guard.table_growing(0, 6, None).unwrap());
        let error = guard.table_growing(0, 5, None).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Breach::Table));
    }

    #[test]
    fn ticks_are_counted_for_each_call_and_one_is_excused_after_waiting() {
        let mut guard = guard();
        for _ in 0..2 {
            guard.begin(Budget { cpu_millis: 20, wall: Duration::from_secs(1) });
            guard.excuse();
            assert_eq!([(); 4].map(|()| guard.tick()), [Ok(()), Ok(()), Ok(()), Err(Breach::Cpu)]);
        }
    }
}

//! Resident memory of processes, from `/proc`.

use std::fs;

use anyhow::{Context as _, bail};

/// The largest resident set so far, in kB (`VmHWM`).
pub fn peak_kb(process_id: u32) -> anyhow::Result<u64> {
    field_kb(process_id, "VmHWM:")
}

/// The resident set now, in kB (`VmRSS`).
pub fn resident_kb(process_id: u32) -> anyhow::Result<u64> {
    field_kb(process_id, "VmRSS:")
}

/// Makes the peak start anew from what is resident now.
pub fn reset_peak(process_id: u32) -> anyhow::Result<()> {
    let path = format!("/proc/{process_id}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("cannot reset the peak memory by {path}"))
}

fn field_kb(process_id: u32, name: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{process_id}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let Some(line) = status.lines().find_map(|line| line.strip_prefix(name)) else {
        bail!("{path} has no {name}; the benchmark needs Linux");
    };
    line.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("{path}: {line}"))
}

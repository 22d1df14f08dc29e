//! (c) The script `tests/bench/script.py`, run by the machine's `python3`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;

use super::{Measure, Source};

/// Runs the script once into a SQLite file; the time is the script's own, without Python's start.
pub fn run(source: &Source, database: &Path) -> anyhow::Result<Measure> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/script.py");
    let mut command = Command::new("python3");
    command.arg(&script).args([&source.base_url(), &source.club, &source.api_key]).arg(database);
    answer(command).context("the script (it needs python3 with sqlite3)")
}

/// Runs a program whose last line of standard output is one JSON object.
pub fn answer<T: DeserializeOwned>(mut command: Command) -> anyhow::Result<T> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{} ended with {}", command.get_program().display(), output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.trim().lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("no measure in {line:?}"))
}

//! Other people's programs as peers of a test: prepares what they need once, starts them, and ends them.
//!
//! A test that cannot have its peer says so and passes, unless `PEERS=required` is set: then it fails.

#![allow(clippy::panic, reason = "test support: a broken peer must stop the test")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const VARIABLE: &str = "PEERS";

/// The interpreter of a virtual environment with these requirements, made below `directory` at its first use. None,
/// with a line that says so, where there is no Python 3 or the packages cannot be had.
///
/// `requirements` is a file of pinned versions; each file has an environment of its own.
#[must_use]
pub fn python(directory: &Path, requirements: &Path) -> Option<PathBuf> {
    match prepared(directory, requirements) {
        Ok(interpreter) => Some(interpreter),
        Err(cause) if std::env::var(VARIABLE).is_ok_and(|value| value == "required") => {
            panic!("{VARIABLE}=required, and there is no peer: {cause:#}")
        }
        Err(cause) => {
            println!("SKIPPED, there is no peer: {cause:#}");
            None
        }
    }
}

fn prepared(directory: &Path, requirements: &Path) -> anyhow::Result<PathBuf> {
    let wanted = fs::read_to_string(requirements)?;
    let name = requirements.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let home = directory.join(format!("python-{name}"));
    fs::create_dir_all(&home)?;
    // Tests run in several threads and processes: the first one prepares, the others wait.
    let lock = File::create(home.join("lock"))?;
    lock.lock()?;
    let (ready, environment) = (home.join("ready"), home.join("venv"));
    let interpreter = environment.join("bin").join("python");
    if fs::read_to_string(&ready).is_ok_and(|made| made == wanted) {
        return Ok(interpreter);
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    if run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment)).is_ok() {
        run(Command::new(&interpreter).args(install).arg(requirements))?;
    } else {
        // Some distributions pack `venv` apart: the packages get a folder then.
        let packages = home.join("packages");
        let into = Path::new("--target");
        run(Command::new("python3").args(install).arg(requirements).args([into, &packages]))?;
        told_of(&packages, &interpreter)?;
    }
    fs::write(ready, wanted)?;
    Ok(interpreter)
}

/// Writes an interpreter that finds packages in a folder.
fn told_of(packages: &Path, interpreter: &Path) -> anyhow::Result<()> {
    let folder = interpreter.parent().unwrap_or(packages);
    fs::create_dir_all(folder)?;
    // `venv` leaves a link to the real one behind when it fails half-way.
    let _ = fs::remove_file(interpreter);
    let packages = packages.display();
    fs::write(interpreter, format!("#!/bin/sh\nPYTHONPATH='{packages}' exec python3 \"$@\"\n"))?;
    fs::set_permissions(interpreter, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|cause| anyhow::anyhow!("{program}: {cause}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program}: {}: {}", output.status, said.trim());
    Ok(())
}

/// A running peer; it ends when this is dropped.
pub struct Peer {
    child: Child,
    /// What it printed when it was ready.
    pub ready: Value,
}

impl Peer {
    /// Starts a program that prints one line of JSON when it is ready and ends with its standard input.
    #[track_caller]
    #[must_use]
    pub fn start(command: &mut Command) -> Peer {
        let program = command.get_program().to_string_lossy().into_owned();
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|cause| panic!("{program}: {cause}"));
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        let mut peer = Peer { child, ready: Value::Null };
        peer.ready = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{program} is not ready, it says {line:?}"));
        peer
    }

    /// The port that it listens on.
    #[track_caller]
    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.ready["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        port.unwrap_or_else(|| panic!("no port in {}", self.ready))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

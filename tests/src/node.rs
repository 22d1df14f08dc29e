//! Peers that are not ours: programs for Node whose packages come from npm, installed below the target directory by their
//! lock file and started on a free port.
//!
//! A machine without Node or without a way to the registry cannot run them; what that means is the caller's to say.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// Written last, so that an installation that was cut off is done again.
const DONE: &str = "installed";

/// A running peer. It ends when it is dropped.
pub struct Peer {
    child: Child,
    /// It ends when this closes, also where the test is killed.
    _input: Option<ChildStdin>,
    /// Open, because a peer that cannot write any more may die of it.
    _output: Option<BufReader<ChildStdout>>,
    pub address: SocketAddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Installs the package at `source` below `scratch` and starts its `server.mjs`.
///
/// # Errors
/// In words: what is missing, or what npm or the program said.
pub fn start(source: &Path, scratch: &Path, argument: &Value) -> Result<Peer, String> {
    let folder = install(source, scratch)?;
    let log = File::create(folder.join(format!("{}.log", std::process::id())));
    let mut child = Command::new("node")
        .arg("server.mjs")
        .arg(argument.to_string())
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.map_err(|error| error.to_string())?)
        .spawn()
        .map_err(|error| format!("node cannot be started: {error}"))?;
    let input = child.stdin.take();
    let mut output = child.stdout.take().map(BufReader::new);
    let mut line = String::new();
    if let Some(output) = &mut output {
        output.read_line(&mut line).map_err(|error| error.to_string())?;
    }
    let ready: Value = serde_json::from_str(&line).unwrap_or_default();
    let address = ready["listen"].as_str().and_then(|text| text.parse().ok());
    match address {
        Some(address) => Ok(Peer { child, _input: input, _output: output, address }),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("the peer is not ready: {line:?}"))
        }
    }
}

/// The folder with everything in it. Processes that come at the same time wait for the first one.
fn install(source: &Path, scratch: &Path) -> Result<PathBuf, String> {
    let version = Command::new("node").arg("--version").output();
    version.map_err(|_| "`node` is not installed".to_owned())?;
    let name = source.file_name().unwrap_or_default();
    let folder = scratch.join("peers").join(name);
    let prepared = || -> io::Result<File> {
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    };
    let _lock = prepared().map_err(|error| error.to_string())?;
    let wanted = fs::read(source.join("package-lock.json")).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json", "server.mjs"] {
        fs::copy(source.join(file), folder.join(file)).map_err(|error| error.to_string())?;
    }
    if fs::read(folder.join(DONE)).is_ok_and(|done| done == wanted) {
        return Ok(folder);
    }
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"])
        .current_dir(&folder)
        .output()
        .map_err(|_| "`npm` is not installed".to_owned())?;
    if !output.status.success() {
        return Err(format!("npm ci failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    fs::write(folder.join(DONE), wanted).map_err(|error| error.to_string())?;
    Ok(folder)
}

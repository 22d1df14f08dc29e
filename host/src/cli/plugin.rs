//! `plugin`: list, inspect, install, approve, activate, reload.

use super::args::Paging;
use super::client::segment;
use super::org::given;
use super::output::Column;
use super::problem::{Exit, Problem};
use super::{Session, engine};
use clap::Subcommand;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Installed components
    List(Paging),
    /// What a component file says about itself, without installing it
    Inspect { file: PathBuf },
    /// Upload a component file; it runs only after approval
    Install { file: PathBuf },
    /// Let an installed component run
    Approve {
        name: String,
        /// Of several that wait under this name
        #[arg(long, value_name = "DIGEST")]
        sha256: Option<String>,
    },
    /// Go to another approved version
    Activate {
        name: String,
        #[arg(long, value_name = "DIGEST")]
        sha256: String,
    },
    /// Read the plugin directory again
    Reload,
}

const COLUMNS: [Column; 5] = [
    ("NAME", "name"),
    ("KIND", "kind"),
    ("VERSION", "version"),
    ("STATE", "state"),
    ("SHA256", "sha256"),
];

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let bytes_max = session.loaded.config.limits.plugin_file_bytes_max;
    match verb {
        Verb::List(paging) => {
            let answer = session.client()?.get("/plugins", &paging.query()).await?;
            session.io.list(session.json, &answer, &COLUMNS)?;
        }
        Verb::Inspect { file } => {
            let component = component(&file, bytes_max)?;
            let answer = engine::inspect(&session.loaded.config, component).await?;
            session.io.object(session.json, &answer)?;
        }
        Verb::Install { file } => {
            let component = component(&file, bytes_max)?;
            let client = session.client()?;
            let answer = client.post_bytes("/plugins", "application/wasm", component).await?;
            session.io.object(session.json, &answer)?;
        }
        Verb::Approve { name, sha256 } => {
            let path = format!("/plugins/{}/approve", segment(&name));
            let body = given(&[("sha256", sha256)]);
            let answer = session.client()?.post(&path, &body.into()).await?;
            session.io.object(session.json, &answer)?;
        }
        Verb::Activate { name, sha256 } => {
            let path = format!("/plugins/{}/activate", segment(&name));
            let answer = session.client()?.post(&path, &json!({ "sha256": sha256 })).await?;
            session.io.object(session.json, &answer)?;
        }
        Verb::Reload => {
            let answer = session.client()?.post("/plugins/reload", &json!({})).await?;
            session.io.list(session.json, &answer, &COLUMNS)?;
        }
    }
    Ok(Exit::Ok)
}

fn component(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: std::io::Error| {
        Problem::failed(format!("cannot read {}", path.display())).caused_by(&error)
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Problem::failed(format!(
            "{} is larger than {bytes_max} bytes",
            path.display()
        ))
        .hint("`limits.pluginFileBytesMax` is the setting"));
    }
    Ok(bytes)
}

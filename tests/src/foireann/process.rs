//! The simulator as a process: its arguments, its ready line, its end.
//!
//! It prints one line `{"listen":"127.0.0.1:PORT"}` when it is ready and ends when its standard
//! input closes (so that it cannot outlive a test that was killed) or on SIGTERM.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::members_csv::CsvStyle;
use super::rule::Rule;
use super::server::{Auth, Settings, World, serve};

/// A stand-in for a federation, for tests, demos and benchmarks.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Members of each club.
    #[arg(long, default_value_t = 250)]
    members: u64,
    #[arg(long, value_delimiter = ',', default_value = "club-1")]
    clubs: Vec<String>,
    /// A larger `limit` is cut to this.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    page_size_max: u64,
    /// A path in front of the API, such as /v2.
    #[arg(long, default_value = "")]
    base_path: String,
    /// Want this in the header X-API-Key.
    #[arg(long, group = "auth")]
    api_key: Option<String>,
    /// Want HTTP Basic.
    #[arg(long, group = "auth", value_name = "USER:PASSWORD")]
    basic: Option<String>,
    /// Want a bearer token.
    #[arg(long, group = "auth", value_name = "TOKEN")]
    bearer: Option<String>,
    /// Makes other members.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A JSON array of fault rules to begin with.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// The look of members.csv, as JSON: {"header": "export", "bom": true, ...}.
    #[arg(long, value_name = "JSON")]
    csv: Option<String>,
    /// End when standard input closes, as it does when the caller ends
    #[arg(long)]
    end_with_stdin: bool,
}

/// Serves until the process is told to end.
pub fn main(arguments: Arguments) -> anyhow::Result<()> {
    let script: Vec<Rule> = match &arguments.script {
        None => Vec::new(),
        Some(path) => {
            let text =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&text)
                .with_context(|| format!("{} is no array of fault rules", path.display()))?
        }
    };
    let csv: CsvStyle = match &arguments.csv {
        None => CsvStyle::default(),
        Some(text) => serde_json::from_str(text).context("--csv")?,
    };
    let settings = Settings {
        auth: auth(&arguments)?,
        clubs: arguments.clubs,
        members: arguments.members,
        seed: arguments.seed,
        page_size_max: arguments.page_size_max,
        base_path: arguments.base_path.trim_end_matches('/').to_owned(),
        csv,
        clock_skew_s: 0,
    };
    let world = Arc::new(Mutex::new(World::new(settings, script)));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(arguments.listen, world, arguments.end_with_stdin))?;
    // A thread may still wait for standard input.
    runtime.shutdown_background();
    Ok(())
}

async fn run(
    listen: SocketAddr,
    world: Arc<Mutex<World>>,
    end_with_stdin: bool,
) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("{}", serde_json::json!({"listen": listener.local_addr()?.to_string()}));
    std::io::stdout().flush()?;
    let stdin_closed = async {
        if !end_with_stdin {
            std::future::pending::<()>().await;
        }
        let wait = || {
            let mut ignored = [0; 256];
            while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        };
        let _ = tokio::task::spawn_blocking(wait).await;
    };
    tokio::select! {
        served = serve(listener, world) => served.context("cannot accept connections"),
        () = stdin_closed => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

fn auth(arguments: &Arguments) -> anyhow::Result<Auth> {
    if let Some(key) = &arguments.api_key {
        return Ok(Auth::ApiKey(key.clone()));
    }
    if let Some(token) = &arguments.bearer {
        return Ok(Auth::Bearer(token.clone()));
    }
    let Some(pair) = &arguments.basic else {
        return Ok(Auth::None);
    };
    let Some((username, password)) = pair.split_once(':') else {
        bail!("--basic takes USER:PASSWORD");
    };
    Ok(Auth::Basic { username: username.to_owned(), password: password.to_owned() })
}

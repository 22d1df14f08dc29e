//! The floor: a bare axum handler that verifies the HMAC and commits the body to redb, many bodies to one fsync.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use redb::{Database, TableDefinition};
use serde_json::json;
use sha2::Sha256;
use tokio::sync::oneshot;

use super::{PATH, SECRET};

const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
const CACHE_BYTES: usize = 64 << 20;
/// Bodies that share one commit at the most.
const GROUP_MAX: usize = 512;

type Waiting = (Bytes, oneshot::Sender<()>);

struct Floor {
    key: Vec<u8>,
    writer: Sender<Waiting>,
}

/// Serves until the process ends; prints the address when it is ready.
pub fn serve(database: &Path) -> anyhow::Result<()> {
    let (writer, waiting) = channel();
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(database)?;
    thread::spawn(move || write(&database, &waiting));
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_"))?;
    let floor = Arc::new(Floor { key, writer });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", json!({ "listen": listener.local_addr()?.to_string() }));
        let router = Router::new().route(PATH, post(receive)).with_state(floor);
        axum::serve(listener, router).await.context("the floor cannot serve")
    })
}

async fn receive(State(floor): State<Arc<Floor>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !verified(&floor.key, &headers, &body).unwrap_or(false) {
        return StatusCode::UNAUTHORIZED;
    }
    let (done, durable) = oneshot::channel();
    if floor.writer.send((body, done)).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match durable.await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn verified(key: &[u8], headers: &HeaderMap, body: &[u8]) -> Option<bool> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let signature = STANDARD.decode(text("webhook-signature")?.strip_prefix("v1,")?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text("webhook-id")?.as_bytes());
    mac.update(b".");
    mac.update(text("webhook-timestamp")?.as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac.verify_slice(&signature).is_ok())
}

/// One durable commit for all that wait.
fn write(database: &Database, waiting: &Receiver<Waiting>) {
    let mut next = 0_u64;
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        group.extend(waiting.try_iter().take(GROUP_MAX - 1));
        if let Err(cause) = commit(database, &mut next, &group) {
            eprintln!("the floor cannot write: {cause}");
            return;
        }
        for (_, done) in group {
            let _ = done.send(());
        }
    }
}

fn commit(database: &Database, next: &mut u64, group: &[Waiting]) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(BODIES)?;
        for (body, _) in group {
            table.insert(*next, body.as_ref())?;
            *next += 1;
        }
    }
    transaction.commit()?;
    Ok(())
}

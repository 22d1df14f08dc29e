//! (a) The floor: the least that a native program does for the same effect.
//!
//! One connection with one page fetched ahead, serde_json into typed structs, comparison with a
//! redb table by range scan, writes in key order, one durable transaction. No mapping, no base, no
//! history, no sandbox: what Syncline does besides is what the ratio shows.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, bail};
use redb::{Database, ReadableTable as _, Table, TableDefinition};
use serde::{Deserialize, Serialize};

use super::{Measure, PAGE_ROWS, Source, memory};
use crate::http::{Connection, Request};

const MEMBERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("members");
const CACHE_BYTES: usize = 256 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    members: Vec<Member>,
    has_more: bool,
}

/// In the order in which it is stored; absent fields are stored as absent.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    member_id: String,
    first_name: String,
    last_name: String,
    date_of_birth: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    address: Option<String>,
    membership_number: Option<String>,
    membership_status: Option<String>,
    join_date: Option<String>,
}

/// Runs once in this process, into a database that is made where it does not exist.
pub fn run(source: &Source, database: &Path) -> anyhow::Result<Measure> {
    let started = Instant::now();
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(database)?;
    let pages = fetch_ahead(source.clone());
    let transaction = database.begin_write()?;
    let mut counts = Counts::default();
    {
        let mut table = transaction.open_table(MEMBERS)?;
        for body in pages {
            let page: Page = serde_json::from_slice(&body?).context("a page is no list answer")?;
            counts.add(apply(&mut table, page.members)?);
            if !page.has_more {
                break;
            }
        }
    }
    transaction.commit()?;
    Ok(Measure {
        seconds: started.elapsed().as_secs_f64(),
        peak_memory_kb: memory::peak_kb(std::process::id())?,
        fetched: counts.created + counts.updated + counts.unchanged,
        created: counts.created,
        updated: counts.updated,
        unchanged: counts.unchanged,
    })
}

#[derive(Default)]
struct Counts {
    created: u64,
    updated: u64,
    unchanged: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
    }
}

/// Page bodies in order, without end; the thread is at most one page ahead of who takes them, so
/// that it has asked for one page too many when the taker knows that it has seen the last one.
pub(super) fn fetch_ahead(source: Source) -> Receiver<anyhow::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(0);
    thread::spawn(move || {
        let mut connection = match Connection::open(source.address) {
            Ok(connection) => connection,
            Err(cause) => {
                let _ = sender.send(Err(cause.into()));
                return;
            }
        };
        for page in 1.. {
            let body = fetch_page(&mut connection, &source, page);
            let failed = body.is_err();
            if sender.send(body).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

fn fetch_page(connection: &mut Connection, source: &Source, page: u64) -> anyhow::Result<Vec<u8>> {
    let target = format!("/clubs/{}/members?page={page}&limit={PAGE_ROWS}", source.club);
    let headers = [("X-API-Key", source.api_key.as_str())];
    let request = Request { method: "GET", target: &target, headers: &headers, body: b"" };
    let answer = connection.send(&request).with_context(|| format!("page {page}"))?;
    if answer.status != 200 {
        bail!("page {page} answers {}", answer.status);
    }
    Ok(answer.body)
}

/// Compares a page with the table by one scan over its key range and writes what differs.
fn apply(table: &mut Table<'_, &str, &[u8]>, mut members: Vec<Member>) -> anyhow::Result<Counts> {
    members.sort_unstable_by(|a, b| a.member_id.cmp(&b.member_id));
    let (Some(first), Some(last)) = (members.first(), members.last()) else {
        return Ok(Counts::default());
    };
    let mut counts = Counts::default();
    let mut changed = Vec::new();
    {
        let mut stored = table.range(first.member_id.as_str()..=last.member_id.as_str())?;
        let mut at = stored.next().transpose()?;
        for member in &members {
            let value = postcard::to_stdvec(member)?;
            while at.as_ref().is_some_and(|(key, _)| key.value() < member.member_id.as_str()) {
                at = stored.next().transpose()?;
            }
            let old = at.as_ref().filter(|(key, _)| key.value() == member.member_id);
            match old {
                Some((_, old)) if old.value() == value => counts.unchanged += 1,
                Some(_) => {
                    counts.updated += 1;
                    changed.push((&member.member_id, value));
                }
                None => {
                    counts.created += 1;
                    changed.push((&member.member_id, value));
                }
            }
        }
    }
    for (key, value) in changed {
        table.insert(key.as_str(), value.as_slice())?;
    }
    Ok(counts)
}

//! The change feed: what commits did to an organization's records, in the order of the commits.
//!
//! A chunk holds up to a page of changes under its first sequence number, so that a first sync costs one row per page.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::records::ChangeKind;
use super::tables::CHANGES;
use super::{Error, meta, rows};
use crate::model::{OrgNo, RecordId, RunId};
use serde::{Deserialize, Serialize};
use std::ops::{Bound, ControlFlow};

/// One row of the feed.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedRow {
    pub seq: u64,
    pub record: RecordId,
    pub kind: ChangeKind,
    pub fields: Vec<String>,
    pub run: Option<RunId>,
    /// Milliseconds since the epoch.
    pub at: i64,
}

/// What one change adds to the feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedEntry {
    pub record: u64,
    pub kind: ChangeKind,
    /// Positions in the chunk's list of field names.
    pub fields: Vec<u16>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Chunk {
    at: i64,
    run: Option<u64>,
    names: Vec<String>,
    entries: Vec<FeedEntry>,
}

/// Collects the changes of one commit, chunk by chunk.
pub struct FeedWriter {
    org: OrgNo,
    chunk: Chunk,
}

/// How many changes one row holds.
const CHUNK_MAX: usize = 1000;

impl FeedWriter {
    pub fn new(org: OrgNo, run: Option<RunId>, at: i64) -> FeedWriter {
        let chunk = Chunk { at, run: run.map(|run| run.0), ..Chunk::default() };
        FeedWriter { org, chunk }
    }

    pub fn push<'a>(
        &mut self,
        txn: &Txn,
        record: RecordId,
        kind: ChangeKind,
        fields: impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let fields = fields.filter_map(|name| self.name(name)).collect();
        self.chunk.entries.push(FeedEntry { record: record.0, kind, fields });
        if self.chunk.entries.len() >= CHUNK_MAX { self.flush(txn) } else { Ok(()) }
    }

    fn name(&mut self, name: &str) -> Option<u16> {
        let known = self.chunk.names.iter().position(|other| other == name);
        let at = known.unwrap_or_else(|| {
            self.chunk.names.push(name.to_owned());
            self.chunk.names.len() - 1
        });
        u16::try_from(at).ok()
    }

    /// Writes what is left. To be called before the transaction ends.
    pub fn flush(&mut self, txn: &Txn) -> Result<(), Error> {
        let count = u64::try_from(self.chunk.entries.len()).unwrap_or(u64::MAX);
        if count == 0 {
            return Ok(());
        }
        let sequence = format!("change:{}", self.org.0);
        let first = meta::reserve(txn, &sequence, count)?;
        txn.put(CHANGES, Key::org(self.org).u64(first).bytes(), &rows::to_binary(&self.chunk)?)?;
        self.chunk.entries.clear();
        Ok(())
    }
}

/// The sequence number of the newest change; 0 where there is none.
pub fn last(read: &dyn Read, org: OrgNo) -> Result<u64, Error> {
    meta::last(read, &format!("change:{}", org.0))
}

/// Rows behind `after`, in order, at most `limit`.
pub fn after(read: &dyn Read, org: OrgNo, after: u64, limit: usize) -> Result<Vec<FeedRow>, Error> {
    let mut found = Vec::new();
    let mut failed = None;
    // The chunk that `after` lies in starts at or before it.
    let start = chunk_start(read, org, after)?;
    let (lower, end) = (Key::org(org).u64(start), Key::org(org).prefix_end());
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    read.scan_rows(CHANGES, (Bound::Included(lower.bytes()), upper), false, &mut |key, row| {
        let mut parts = Parts(key);
        let first = parts.u32().and_then(|_| parts.u64()).unwrap_or_default();
        match rows::from_binary::<Chunk>(CHANGES, row) {
            Ok(chunk) => found.extend(
                unfold(first, chunk).filter(|row| row.seq > after).take(limit - found.len()),
            ),
            Err(error) => failed = Some(error),
        }
        if failed.is_some() || found.len() >= limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    failed.map_or(Ok(found), Err)
}

fn chunk_start(read: &dyn Read, org: OrgNo, seq: u64) -> Result<u64, Error> {
    let (lower, upper) = (Key::org(org), Key::org(org).u64(seq));
    let bounds = (Bound::Included(lower.bytes()), Bound::Included(upper.bytes()));
    let mut start = 0;
    read.scan_rows(CHANGES, bounds, true, &mut |key, _| {
        let mut parts = Parts(key);
        start = parts.u32().and_then(|_| parts.u64()).unwrap_or_default();
        ControlFlow::Break(())
    })?;
    Ok(start)
}

fn unfold(first: u64, chunk: Chunk) -> impl Iterator<Item = FeedRow> {
    let Chunk { at, run, names, entries } = chunk;
    entries.into_iter().zip(first..).map(move |(entry, seq)| {
        let name = |at: u16| names.get(usize::from(at)).cloned();
        FeedRow {
            seq,
            record: RecordId(entry.record),
            kind: entry.kind,
            fields: entry.fields.into_iter().filter_map(name).collect(),
            run: run.map(RunId),
            at,
        }
    })
}

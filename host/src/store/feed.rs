//! The change feed: what commits did to an organization's records, in the order of the commits.
//!
//! A chunk holds up to a page of changes under its first sequence number, so that a first sync costs one row per page.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::records::ChangeKind;
use super::rows::Encoded;
use super::tables::CHANGES;
use super::{Error, meta, retention, rows};
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

/// [`FeedEntry`], borrowed: the same bytes.
#[derive(Serialize)]
pub struct CreatedEntry<'a> {
    pub record: u64,
    pub kind: ChangeKind,
    pub fields: &'a [u16],
}

#[derive(Debug, Deserialize)]
struct Chunk {
    at: i64,
    run: Option<u64>,
    names: Vec<String>,
    entries: Vec<FeedEntry>,
}

/// [`Chunk`] before its entries.
#[derive(Serialize)]
struct Head<'a> {
    at: i64,
    run: Option<u64>,
    names: &'a [String],
}

/// Collects the changes of one commit, chunk by chunk.
pub struct FeedWriter {
    org: OrgNo,
    at: i64,
    run: Option<RunId>,
    names: Vec<String>,
    entries: Encoded,
    /// (record, version) of the timeline entries that these changes have: they age together.
    timeline: Vec<(u64, u64)>,
}

/// How many changes one row holds.
const CHUNK_MAX: usize = 1000;

impl FeedWriter {
    pub fn new(org: OrgNo, run: Option<RunId>, at: i64) -> FeedWriter {
        FeedWriter {
            org,
            at,
            run,
            names: Vec::new(),
            entries: Encoded::default(),
            timeline: Vec::new(),
        }
    }

    /// Adds the change that made `version` of a record. The first version has no entry in the timeline.
    pub fn push<'a>(
        &mut self,
        txn: &Txn,
        (record, version): (RecordId, u64),
        kind: ChangeKind,
        fields: impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let fields = fields.filter_map(|name| self.position(name)).collect();
        if version > 1 {
            self.timeline.push((record.0, version));
        }
        self.entries.push(&FeedEntry { record: record.0, kind, fields })?;
        if self.entries.len() >= CHUNK_MAX { self.flush(txn) } else { Ok(()) }
    }

    /// Adds changes that are encoded already; their fields are numbered by [`FeedWriter::position`].
    pub fn extend(&mut self, txn: &Txn, entries: &Encoded) -> Result<(), Error> {
        if self.entries.len() + entries.len() > CHUNK_MAX {
            self.flush(txn)?;
        }
        self.entries.extend(entries);
        Ok(())
    }

    /// The number of a field's name, the same for the whole commit.
    pub fn position(&mut self, name: &str) -> Option<u16> {
        let known = self.names.iter().position(|other| other == name);
        let at = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        u16::try_from(at).ok()
    }

    /// Writes what is left. To be called before the transaction ends.
    pub fn flush(&mut self, txn: &Txn) -> Result<(), Error> {
        let count = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        if count == 0 {
            return Ok(());
        }
        let sequence = format!("change:{}", self.org.0);
        let first = meta::reserve(txn, &sequence, count)?;
        let run = self.run.map(|run| run.0);
        let mut row = rows::to_binary(&Head { at: self.at, run, names: &self.names })?;
        self.entries.append_to(&mut row)?;
        txn.put(CHANGES, Key::org(self.org).u64(first).bytes(), &row)?;
        retention::note_changes(txn, self.at, self.org, (first, count), &self.timeline)?;
        self.timeline.clear();
        self.entries.clear();
        Ok(())
    }
}

/// The sequence number of the newest change; 0 where there is none.
pub fn last(read: &dyn Read, org: OrgNo) -> Result<u64, Error> {
    meta::last(read, &format!("change:{}", org.0))
}

fn floor_word(org: OrgNo) -> String {
    format!("change-floor:{}", org.0)
}

/// The last sequence number that is kept no longer; 0 while all are.
pub fn floor(read: &dyn Read, org: OrgNo) -> Result<u64, Error> {
    Ok(meta::number(read, &floor_word(org))?.unwrap_or(0))
}

/// Notes that rows up to `last` are gone.
pub(super) fn forget_up_to(txn: &Txn, org: OrgNo, last: u64) -> Result<(), Error> {
    let floor = floor(txn, org)?.max(last);
    meta::put_number(txn, &floor_word(org), floor)
}

/// Rows behind `after`, in order, at most `limit`.
pub fn after(read: &dyn Read, org: OrgNo, after: u64, limit: usize) -> Result<Vec<FeedRow>, Error> {
    let mut found = Vec::new();
    // The chunk that `after` lies in starts at or before it.
    let start = chunk_start(read, org, after)?;
    let (lower, end) = (Key::org(org).u64(start), Key::org(org).prefix_end());
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    read.scan_rows(CHANGES, (Bound::Included(lower.bytes()), upper), false, &mut |key, row| {
        let mut parts = Parts(key);
        let first = parts.u32().and_then(|_| parts.u64()).unwrap_or_default();
        let chunk = rows::from_binary(CHANGES, row)?;
        let behind = unfold(first, chunk).filter(|row| row.seq > after);
        found.extend(behind.take(limit - found.len()));
        Ok(if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

fn chunk_start(read: &dyn Read, org: OrgNo, seq: u64) -> Result<u64, Error> {
    let (lower, upper) = (Key::org(org), Key::org(org).u64(seq));
    let bounds = (Bound::Included(lower.bytes()), Bound::Included(upper.bytes()));
    let mut start = 0;
    read.scan_rows(CHANGES, bounds, true, &mut |key, _| {
        let mut parts = Parts(key);
        start = parts.u32().and_then(|_| parts.u64()).unwrap_or_default();
        Ok(ControlFlow::Break(()))
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

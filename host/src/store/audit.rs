//! The audit log: who changed what. Entries are only ever appended, in the transaction of the effect that they tell of.
//!
//! Each row carries the hash of the row before and its own, so that an entry that was changed, taken out or put in is
//! found; the hash of the newest is kept apart, so that a cut-off end is found too.

use super::file::{Read, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::{AUDIT, AUDIT_BY_ORGANIZATION};
use super::{Error, meta, rows};
use crate::model::OrgNo;
use crate::model::access::OrgKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::ops::{Bound, ControlFlow};

const HASH_BYTES: usize = 32;

type Hash = [u8; HASH_BYTES];

/// What one entry says. `before` and `after` hold the members that changed and never a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// From 1, without gaps. Given by [`append`].
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub at: i64,
    pub actor: Actor,
    /// Network address of the request.
    pub address: Option<String>,
    pub action: String,
    /// Id of the row that it was done to.
    pub target: String,
    pub organization: Option<OrgKey>,
    pub before: Value,
    pub after: Value,
    pub request: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// `user`, `token`, or `nobody` where a login failed.
    pub kind: String,
    pub id: String,
    pub name: String,
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How many entries are in order, from the first on.
    pub entries: u64,
    /// Hash of the last of them, in hex: written down elsewhere, it proves a later log to be the same.
    pub head: String,
    /// The first entry that is not in order, and why.
    pub bad: Option<(u64, &'static str)>,
}

/// Appends an entry and answers its number.
pub fn append(txn: &Txn, entry: Entry) -> Result<u64, Error> {
    let (last, before) = meta::audit_head(txn)?;
    let entry = Entry { seq: last + 1, ..entry };
    let body = rows::to_json(&entry)?;
    let hash = chained(&before, &body);
    let row = [&before[..], &hash[..], &body[..]].concat();
    txn.put(AUDIT, Key::new().u64(entry.seq).bytes(), &row)?;
    if let Some(organization) = &entry.organization {
        let by_organization = Key::org(organization.no).u64(entry.seq);
        txn.put(AUDIT_BY_ORGANIZATION, by_organization.bytes(), &[])?;
    }
    meta::put_audit_head(txn, entry.seq, &hash)?;
    Ok(entry.seq)
}

fn chained(before: &Hash, body: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(body);
    hash.finalize().into()
}

/// The hash before, the row's own, and its body.
fn parts(row: &[u8]) -> Option<(&Hash, &Hash, &[u8])> {
    let (before, rest) = row.split_first_chunk::<HASH_BYTES>()?;
    let (own, body) = rest.split_first_chunk::<HASH_BYTES>()?;
    Some((before, own, body))
}

fn entry(row: &[u8]) -> Result<Entry, Error> {
    let (_, _, body) = parts(row).ok_or_else(|| rows::corrupt(AUDIT, &"it is cut off"))?;
    rows::from_json(AUDIT, body)
}

/// Entries below `before`, newest first, of one organization or of all, until `visit` breaks.
pub fn scan_newest(
    read: &dyn Read,
    org: Option<OrgNo>,
    before: Option<u64>,
    visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (table, prefix) = match org {
        None => (AUDIT, Key::new()),
        Some(org) => (AUDIT_BY_ORGANIZATION, Key::org(org)),
    };
    let (lower, upper) = (prefix.clone().u64(0), prefix.u64(before.unwrap_or(u64::MAX)));
    let bounds = (Bound::Included(lower.bytes()), Bound::Excluded(upper.bytes()));
    read.scan_rows(table, bounds, true, &mut |key, row| {
        let found = match org {
            None => Some(entry(row)?),
            Some(_) => {
                let mut parts = Parts(key);
                let seq = parts.u32().and_then(|_| parts.u64()).unwrap_or_default();
                get(read, seq)?
            }
        };
        Ok(found.map_or(ControlFlow::Continue(()), &mut *visit))
    })
}

fn get(read: &dyn Read, seq: u64) -> Result<Option<Entry>, Error> {
    read.get_row(AUDIT, Key::new().u64(seq).bytes())?.map(|row| entry(&row)).transpose()
}

/// Reads the whole log and says where its chain breaks first, if anywhere.
pub fn verify(read: &dyn Read) -> Result<Verdict, Error> {
    let (mut last, mut head, mut bad) = (0, [0; HASH_BYTES], None);
    scan_prefix(read, AUDIT, &Key::new(), &mut |key, row| {
        let seq = Parts(key).u64().unwrap_or_default();
        bad = fault(seq, row, last, &head);
        let (None, Some((_, own, _))) = (&bad, parts(row)) else {
            return Ok(ControlFlow::Break(()));
        };
        (last, head) = (seq, *own);
        Ok(ControlFlow::Continue(()))
    })?;
    let (newest, hash) = meta::audit_head(read)?;
    if bad.is_none() && newest > last {
        bad = Some((last + 1, "it is missing, like all behind it"));
    } else if bad.is_none() && (newest, hash) != (last, head) {
        bad = Some((last, "it is not the one that was written last"));
    }
    Ok(Verdict { entries: last, head: hex::encode(head), bad })
}

/// What is wrong with the row that follows entry `last`, whose hash is `head`.
fn fault(seq: u64, row: &[u8], last: u64, head: &Hash) -> Option<(u64, &'static str)> {
    if seq != last + 1 {
        return Some((last + 1, "it is missing"));
    }
    let Some((before, own, body)) = parts(row) else {
        return Some((seq, "it is cut off"));
    };
    if chained(before, body) != *own {
        return Some((seq, "it was changed"));
    }
    match entry(row) {
        Err(_) => return Some((seq, "it cannot be read")),
        Ok(entry) if entry.seq != seq => return Some((seq, "another entry is in its place")),
        Ok(_) => {}
    }
    // A row that is whole in itself and does not fit: the one that it was chained to is another now.
    (before != head).then(|| (last.max(1), "the entry behind it was chained to another one"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Options, Store};

    fn sample(action: &str, org: Option<u32>) -> Entry {
        Entry {
            seq: 0,
            at: 1_000,
            actor: Actor { kind: "token".into(), id: "tok_1".into(), name: "admin".into() },
            address: None,
            action: action.to_owned(),
            target: "x".to_owned(),
            organization: org.map(|no| OrgKey { id: format!("o{no}"), no: OrgNo(no) }),
            before: Value::Null,
            after: serde_json::json!({"n": 1}),
            request: None,
        }
    }

    fn filled() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Options::default()).unwrap();
        for n in 1..=5 {
            let add = move |txn: &Txn| append(txn, sample(&format!("a{n}"), Some(1 + n % 2)));
            assert_eq!(store.write_blocking(add).unwrap(), u64::from(n));
        }
        (dir, store)
    }

    fn actions(store: &Store, org: Option<OrgNo>, before: Option<u64>) -> Vec<String> {
        let mut found = Vec::new();
        let read = store.read().unwrap();
        let visit = &mut |entry: Entry| {
            found.push(entry.action);
            ControlFlow::Continue(())
        };
        scan_newest(&read, org, before, visit).unwrap();
        found
    }

    #[test]
    fn entries_are_listed_newest_first_and_by_organization() {
        let (_dir, store) = filled();
        assert_eq!(actions(&store, None, None), ["a5", "a4", "a3", "a2", "a1"]);
        assert_eq!(actions(&store, None, Some(3)), ["a2", "a1"]);
        assert_eq!(actions(&store, Some(OrgNo(1)), None), ["a4", "a2"]);
        assert_eq!(actions(&store, Some(OrgNo(2)), Some(5)), ["a3", "a1"]);
    }

    #[test]
    fn a_log_that_nobody_touched_is_in_order() {
        let (_dir, store) = filled();
        let verdict = verify(&store.read().unwrap()).unwrap();
        assert_eq!((verdict.entries, verdict.bad), (5, None));
        assert_eq!(verdict.head.len(), 2 * HASH_BYTES);
    }

    /// What a person with the file at hand could do, and the entry that is named for it.
    #[test]
    fn the_first_entry_that_is_not_in_order_is_named() {
        let check = |what: &str, expected: u64, tamper: fn(&Txn) -> Result<(), Error>| {
            let (_dir, store) = filled();
            store.write_blocking(tamper).unwrap();
            let verdict = verify(&store.read().unwrap()).unwrap();
            assert_eq!(verdict.bad.map(|(seq, _)| seq), Some(expected), "{what}: {verdict:?}");
        };
        fn key(seq: u64) -> Key {
            Key::new().u64(seq)
        }
        fn row(txn: &Txn, seq: u64) -> Vec<u8> {
            txn.get_row(AUDIT, key(seq).bytes()).unwrap().unwrap()
        }
        check("a byte of an entry", 3, |txn| {
            let mut bytes = row(txn, 3);
            let at = bytes.len() - 10;
            bytes[at] ^= 1;
            txn.put(AUDIT, key(3).bytes(), &bytes)
        });
        check("an entry rewritten together with its hash", 3, |txn| {
            let bytes = row(txn, 3);
            let (before, _, _) = parts(&bytes).unwrap();
            let body = rows::to_json(&Entry { seq: 3, ..sample("other", None) })?;
            let own = chained(before, &body);
            txn.put(AUDIT, key(3).bytes(), &[&before[..], &own[..], &body[..]].concat())
        });
        check("an entry taken out", 2, |txn| txn.delete(AUDIT, key(2).bytes()));
        check("the end cut off", 5, |txn| txn.delete(AUDIT, key(5).bytes()));
        check("the last entry rewritten together with its hash", 5, |txn| {
            let bytes = row(txn, 5);
            let (before, _, _) = parts(&bytes).unwrap();
            let body = rows::to_json(&Entry { seq: 5, ..sample("other", None) })?;
            let own = chained(before, &body);
            txn.put(AUDIT, key(5).bytes(), &[&before[..], &own[..], &body[..]].concat())
        });
        check("two entries exchanged", 2, |txn| {
            let (second, third) = (row(txn, 2), row(txn, 3));
            txn.put(AUDIT, key(2).bytes(), &third)?;
            txn.put(AUDIT, key(3).bytes(), &second)
        });
    }
}

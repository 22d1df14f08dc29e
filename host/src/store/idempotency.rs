//! Requests that carried an idempotency key, and the answers that they got.
//!
//! Keeps rows and their order in time. Who may see an answer and what a second request means is decided in `api`.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::tables::{IDEMPOTENCY, IDEMPOTENCY_BY_TIME};
use super::{Error, rows};
use serde::{Deserialize, Serialize};
use std::ops::{Bound, ControlFlow};

/// How many rows one reservation deletes: more than it adds, so that a surplus shrinks.
const PRUNED_MAX: usize = 32;

/// sha256 over whose key it is, and the key.
pub type Digest = [u8; 32];

/// A request that was taken up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Of path and body, under the key itself: the same key with another request is a mistake.
    pub fingerprint: String,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// None as long as it is under way, and for ever where a crash cut it off.
    pub answer: Option<Answer>,
}

/// An answer to give again. Holds no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    /// The version in its `ETag`.
    pub version: Option<u64>,
    pub location: Option<String>,
    pub body: serde_json::Value,
}

pub fn get(read: &dyn Read, digest: &Digest) -> Result<Option<Request>, Error> {
    read.get_row(IDEMPOTENCY, digest)?.map(|row| rows::from_json(IDEMPOTENCY, &row)).transpose()
}

/// Takes a request up, in place of an older one with the same key.
pub fn put(txn: &Txn, digest: &Digest, request: &Request) -> Result<(), Error> {
    remove(txn, digest)?;
    txn.put(IDEMPOTENCY_BY_TIME, &by_time(request.at, digest), &[])?;
    txn.put(IDEMPOTENCY, digest, &rows::to_json(request)?)
}

/// Keeps the answer of a request that was taken up before. Belongs into the transaction with its effect.
pub fn answer(txn: &Txn, digest: &Digest, answer: &Answer) -> Result<(), Error> {
    let Some(mut request) = get(txn, digest)? else {
        // Pruned while it was under way: nobody will ask for it by this key any more.
        return Ok(());
    };
    request.answer = Some(answer.clone());
    txn.put(IDEMPOTENCY, digest, &rows::to_json(&request)?)
}

/// Forgets a request, as if its key had never been used.
pub fn remove(txn: &Txn, digest: &Digest) -> Result<(), Error> {
    if let Some(request) = get(txn, digest)? {
        txn.delete(IDEMPOTENCY_BY_TIME, &by_time(request.at, digest))?;
        txn.delete(IDEMPOTENCY, digest)?;
    }
    Ok(())
}

/// Forgets some of the requests from before a time, and the oldest beyond `rows_max`.
pub fn prune(txn: &Txn, before: i64, rows_max: u64) -> Result<(), Error> {
    let mut surplus = txn.count(IDEMPOTENCY)?.saturating_sub(rows_max);
    let mut old: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    txn.scan_rows(
        IDEMPOTENCY_BY_TIME,
        (Bound::Unbounded, Bound::Unbounded),
        false,
        &mut |key, _| {
            let at = Parts(key).u64().and_then(|at| i64::try_from(at).ok()).unwrap_or_default();
            if (at >= before && surplus == 0) || old.len() == PRUNED_MAX {
                return Ok(ControlFlow::Break(()));
            }
            surplus = surplus.saturating_sub(1);
            old.push((key.to_vec(), key.get(8..).unwrap_or_default().to_vec()));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    for (by_time, digest) in old {
        txn.delete(IDEMPOTENCY_BY_TIME, &by_time)?;
        txn.delete(IDEMPOTENCY, &digest)?;
    }
    Ok(())
}

fn by_time(at: i64, digest: &Digest) -> Vec<u8> {
    let mut key = Key::new().u64(u64::try_from(at).unwrap_or_default()).bytes().to_vec();
    key.extend_from_slice(digest);
    key
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Options, Store};

    /// The digests that are left after pruning, of requests at these times under digests 0, 1, 2, ...
    #[track_caller]
    fn check(times: &[i64], before: i64, rows_max: u64, left: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Options::default()).unwrap();
        let times = times.to_vec();
        let count = u8::try_from(times.len()).unwrap();
        let written = store.write_blocking(move |txn| -> Result<(), Error> {
            for (number, at) in (0..).zip(&times) {
                let request = Request { fingerprint: String::new(), at: *at, answer: None };
                put(txn, &[number; 32], &request)?;
            }
            prune(txn, before, rows_max)
        });
        written.unwrap();
        let read = store.read().unwrap();
        let kept = (0..count).filter(|number| get(&read, &[*number; 32]).unwrap().is_some());
        assert_eq!(kept.collect::<Vec<_>>(), left);
    }

    #[test]
    fn the_expired_and_the_oldest_go() {
        check(&[10, 20, 30], 0, 9, &[0, 1, 2]);
        check(&[10, 20, 30], 20, 9, &[1, 2]);
        check(&[30, 10, 20], 0, 2, &[0, 2]);
        check(&[30, 10, 20], 25, 2, &[0]);
        check(&[10, 10, 10], 11, 9, &[]);
    }

    #[test]
    fn an_answer_outlives_nothing_that_was_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Options::default()).unwrap();
        let given =
            Answer { status: 201, version: Some(1), location: None, body: serde_json::json!({}) };
        let kept = given.clone();
        let found = store.write_blocking(move |txn| -> Result<_, Error> {
            let digest = [7; 32];
            answer(txn, &digest, &kept)?;
            let before = get(txn, &digest)?;
            put(txn, &digest, &Request { fingerprint: "f".to_owned(), at: 5, answer: None })?;
            answer(txn, &digest, &kept)?;
            let after = get(txn, &digest)?;
            remove(txn, &digest)?;
            Ok((before, after, txn.count(IDEMPOTENCY)?, txn.count(IDEMPOTENCY_BY_TIME)?))
        });
        let (before, after, rows, times) = found.unwrap();
        assert_eq!(before, None);
        assert_eq!(after.and_then(|request| request.answer), Some(given));
        assert_eq!((rows, times), (0, 0));
    }
}

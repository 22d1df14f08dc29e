//! Rows of the queue. What a job means and who may claim it is decided in `queue`.

use super::file::{Read, Txn, scan_prefix};
use super::keys::Key;
use super::tables::JOBS;
use super::{Error, meta, rows};
use crate::model::ids::JobId;
use crate::model::job::Job;
use std::ops::ControlFlow;

pub fn next_id(txn: &Txn) -> Result<JobId, Error> {
    meta::next(txn, "job").map(JobId)
}

pub fn get(read: &dyn Read, id: JobId) -> Result<Option<Job>, Error> {
    let row = read.get_row(JOBS, Key::new().u64(id.0).bytes())?;
    row.map(|row| rows::from_json(JOBS, &row)).transpose()
}

pub fn put(txn: &Txn, job: &Job) -> Result<(), Error> {
    txn.put(JOBS, Key::new().u64(job.id.0).bytes(), &rows::to_json(job)?)
}

pub fn delete(txn: &Txn, id: JobId) -> Result<(), Error> {
    txn.delete(JOBS, Key::new().u64(id.0).bytes())
}

/// All pending and running jobs, oldest first. Finished ones leave the table with the commit that finishes them.
pub fn all(read: &dyn Read) -> Result<Vec<Job>, Error> {
    let (mut found, mut failed) = (Vec::new(), None);
    scan_prefix(read, JOBS, &Key::new(), &mut |_, row| {
        match rows::from_json(JOBS, row) {
            Ok(job) => found.push(job),
            Err(error) => failed = Some(error),
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(found), Err)
}

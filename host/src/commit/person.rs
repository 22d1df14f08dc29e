//! What a person (or a program with a token) does to one record: an edit, and the decision of a held conflict.

use crate::model::ids::{ConflictId, EntityNo};
use crate::model::record::FieldMeta;
use crate::model::{ModifiedBy, OrgNo, Record, RecordId, RecordStatus, Value};
use crate::resolve::{self, Unfit};
use crate::store::conflicts::{self, HeldConflict, Resolution};
use crate::store::decisions::{self, Decision};
use crate::store::feed::FeedWriter;
use crate::store::records::{Cause, Change, ChangeKind};
use crate::store::{self, Store, Txn, links, records};
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("there is no such record")]
    NotFound,
    #[error("the record is at version {found} by now")]
    Stale { found: u64 },
    #[error("{0}")]
    Decided(String),
    /// What an undo needs is kept for a time.
    #[error("the details of the run went when they were old enough: it cannot be undone any more")]
    Gone,
    #[error("choice `value` needs a value")]
    NoValue,
    #[error("the value for `{field}` of {item} {unfit}")]
    BadValue { item: ConflictId, field: String, unfit: Unfit },
    #[error("a choice is one of remote, local, value; not {0:?}")]
    BadChoice(String),
}

/// A local edit. Fields that have the value already are left alone.
pub struct Edited {
    pub fields: Vec<(Arc<str>, Value)>,
    pub status: Option<RecordStatus>,
    pub at: i64,
    pub by: ModifiedBy,
    /// What it was, where it is no plain edit.
    pub cause: Option<Cause>,
}

/// Creates a record by hand.
pub fn create(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    entity: EntityNo,
    edit: Edited,
) -> Result<Record, PersonError> {
    let meta = FieldMeta { modified_at: edit.at, modified_by: edit.by };
    let record = records::create(txn, store, org, entity, edit.fields, meta)?;
    let mut feed = FeedWriter::new(org, None, edit.at);
    feed.push(
        txn,
        (record.id, record.version),
        ChangeKind::Created,
        record.shape.iter().map(|name| &**name),
    )?;
    feed.flush(txn)?;
    Ok(record)
}

/// Applies an edit to the version that the caller saw; `None` edits whatever is there.
pub fn edit(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    id: RecordId,
    version: Option<u64>,
    edit: Edited,
) -> Result<Record, PersonError> {
    let mut record = records::get(txn, store, org, id)?.ok_or(PersonError::NotFound)?;
    if version.is_some_and(|version| version != record.version) {
        return Err(PersonError::Stale { found: record.version });
    }
    let differs = |(name, value): &(Arc<str>, Value)| record.value(name) != value;
    let fields: Vec<_> =
        edit.fields.into_iter().filter(differs).map(|(n, v)| (n, v, None)).collect();
    let status = edit.status.filter(|status| *status != record.status);
    if fields.is_empty() && status.is_none() {
        return Ok(record);
    }
    let kind = match status {
        Some(RecordStatus::Inactive) => ChangeKind::Inactivated,
        Some(RecordStatus::Active) => ChangeKind::Reactivated,
        None => ChangeKind::Updated,
    };
    let change = Change {
        kind,
        fields,
        status,
        at: edit.at,
        by: edit.by,
        cause: edit.cause,
        own_link: None,
        new_link: None,
        aliases: Vec::new(),
    };
    apply(txn, store, org, &mut record, change)?;
    Ok(record)
}

fn apply(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    record: &mut Record,
    change: Change,
) -> Result<(), store::Error> {
    let (kind, at) = (change.kind, change.at);
    let entry = records::apply(txn, store, org, record, change)?;
    let mut feed = FeedWriter::new(org, None, at);
    let fields = entry.fields.iter().map(|field| field.field.as_str());
    feed.push(txn, (record.id, record.version), kind, fields)?;
    feed.flush(txn)
}

/// Decides a held conflict: the local value becomes the chosen one, and the base the remote's, so that the same
/// conflict does not return until the remote changes again.
pub fn resolve(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    id: ConflictId,
    (choice, value): (&str, Option<Value>),
    (at, by): (i64, ModifiedBy),
) -> Result<HeldConflict, PersonError> {
    let mut item = conflicts::get(txn, id)?.ok_or(PersonError::NotFound)?;
    if let Some(earlier) = &item.resolution {
        let words =
            format!("the conflict was decided before: {} by {}", earlier.choice, earlier.by);
        return Err(PersonError::Decided(words));
    }
    let mut record = records::get(txn, store, org, item.record)?.ok_or(PersonError::NotFound)?;
    let chosen = match (choice, value) {
        ("remote", _) => item.remote.clone(),
        ("local", _) => record.value(&item.field).clone(),
        ("value", Some(value)) => {
            if let Err(unfit) = resolve::check_choice(item.field_type, &value) {
                return Err(PersonError::BadValue { item: id, field: item.field, unfit });
            }
            value
        }
        ("value", None) => return Err(PersonError::NoValue),
        (other, _) => return Err(PersonError::BadChoice(other.to_owned())),
    };
    let who = name_of(&by);
    if *record.value(&item.field) != chosen {
        let field = Arc::from(item.field.as_str());
        let change = Change {
            kind: ChangeKind::Updated,
            fields: vec![(field, chosen.clone(), Some(item.strategy.clone()))],
            status: None,
            at,
            by,
            cause: Some(Cause::Conflict(id)),
            own_link: None,
            new_link: None,
            aliases: Vec::new(),
        };
        apply(txn, store, org, &mut record, change)?;
    }
    settle_base(txn, org, &item, &record)?;
    item.resolution = Some(Resolution { choice: choice.to_owned(), value: chosen, by: who, at });
    item.version += 1;
    conflicts::put(txn, org, &item)?;
    decisions::note(txn, org, item.record, &item.field, Decision::Item(id.0))?;
    Ok(item)
}

fn settle_base(
    txn: &Txn,
    org: OrgNo,
    item: &HeldConflict,
    record: &Record,
) -> Result<(), store::Error> {
    let entity = record.id.entity();
    let link = links::get(txn, org, item.connection, entity, &item.external_id)?;
    let position = record.position(&item.field).and_then(|at| u16::try_from(at).ok());
    let (Some(mut link), Some(position)) = (link, position) else {
        return Ok(());
    };
    link.overrides.retain(|(at, _)| *at != position);
    if *record.value(&item.field) != item.remote {
        link.overrides.push((position, item.remote.clone()));
    }
    links::put(txn, org, item.connection, entity, &item.external_id, &link)
}

/// The account or token behind an edit.
pub fn name_of(by: &ModifiedBy) -> String {
    match by {
        ModifiedBy::Person(name) | ModifiedBy::Machine(name) => name.clone(),
        ModifiedBy::Run(run) => run.to_string(),
    }
}

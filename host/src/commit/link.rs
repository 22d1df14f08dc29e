//! The link row that belongs to a record after a change: its bases, as a difference from the record.

use crate::model::record::Shape;
use crate::model::{Record, Value};
use crate::store::links::Link;

/// The base of each template field before a change; none where the two sides never agreed on one.
pub(super) fn bases(
    link: Option<&Link>,
    covered: Option<&Shape>,
    record: &Record,
    fields: &Shape,
) -> Vec<Option<Value>> {
    let base = |name: &str| {
        let (link, covered) = (link?, covered?);
        link.base(covered, record, record.position(name)?).cloned()
    };
    fields.iter().map(|name| base(name)).collect()
}

/// The overrides that say these bases beside the record as it is now.
pub(super) fn overrides(
    bases: &[Option<Value>],
    record: &Record,
    fields: &Shape,
) -> Vec<(u16, Value)> {
    let differing = fields.iter().zip(bases).filter_map(|(name, base)| {
        let position = record.position(name)?;
        let base = base.clone().unwrap_or_default();
        let local = record.values.get(position)?;
        (base != *local).then_some((u16::try_from(position).ok()?, base))
    });
    differing.collect()
}

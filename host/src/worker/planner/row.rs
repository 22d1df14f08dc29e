//! What one mapped row leaves in the plan besides its changes: its fingerprint, its warnings, or why it is put aside.

use crate::mapping::{Invalid, Mapped};
use crate::model::plan::{PlanFailure, PlanPage, PlanWarning};
use crate::model::rows::PackedRow;
use crate::store::links::Fingerprint;
use crate::worker::setup::EntitySetup;
use sha2::{Digest, Sha256};
use twox_hash::XxHash3_128;

/// How many warnings of one page are kept; the rest is counted.
const PAGE_WARNINGS_MAX: usize = 20;

pub(super) fn warn(page: &mut PlanPage, mapped: &Mapped<'_>) {
    page.counts.warnings += mapped.warnings.len() as u64;
    for warning in &mapped.warnings {
        if page.warnings.len() >= PAGE_WARNINGS_MAX {
            return;
        }
        page.warnings.push(PlanWarning {
            external_id: mapped.external_id.to_owned(),
            field: warning.field.to_string(),
            message: warning.message.clone(),
        });
    }
}

pub(super) fn invalid_failure(invalid: Invalid) -> PlanFailure {
    let words: Vec<String> = invalid
        .reasons
        .iter()
        .map(|reason| format!("{}: {}", reason.field, reason.message))
        .collect();
    PlanFailure {
        external_id: invalid.external_id,
        place: String::new(),
        stage: "validate".to_owned(),
        code: invalid.reasons.first().map_or("record.invalid", |reason| reason.code).to_owned(),
        message: words.join("; "),
        payload: invalid.payload.to_string(),
    }
}

/// What rows of one page said, in 16 bytes each: equal bytes mean that nothing needs to be compared, or even mapped.
pub(super) struct Fingerprints {
    /// Of what gives the cells their meaning: under another mapping, or with other columns, they say something else.
    meaning: [u8; 32],
    /// The row at hand.
    said: Vec<u8>,
}

impl Fingerprints {
    pub(super) fn new(setup: &EntitySetup, fields: &[String], alias_kinds: &[String]) -> Self {
        let mut names = Sha256::new_with_prefix(setup.mapping_digest);
        for list in [fields, alias_kinds] {
            names.update(list.len().to_le_bytes());
            for name in list {
                names.update(name.len().to_le_bytes());
                names.update(name);
            }
        }
        Fingerprints { meaning: names.finalize().into(), said: Vec::new() }
    }

    /// A row with warnings has a fingerprint of its own kind: such rows are mapped each time, so that every run tells of
    /// them. The hash is a fast one and no secret: whoever made two rows of one fingerprint would hide a change of what is
    /// their own from themselves.
    pub(super) fn of(&mut self, row: PackedRow<'_>, warned: bool) -> Fingerprint {
        let (cells, texts) = row.said();
        self.said.clear();
        self.said.extend_from_slice(&self.meaning);
        self.said.push(u8::from(warned));
        cells.iter().for_each(|cell| self.said.extend_from_slice(&cell.to_le_bytes()));
        self.said.extend_from_slice(texts.as_bytes());
        // All zero means "not in agreement".
        XxHash3_128::oneshot(&self.said).max(1).to_le_bytes()
    }
}

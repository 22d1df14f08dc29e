//! What one mapped row leaves in the plan besides its changes: its fingerprint, its warnings, or why it is put aside.

use crate::mapping::{Invalid, Mapped};
use crate::model::plan::{PlanFailure, PlanPage, PlanWarning};
use crate::model::rows::PackedRow;
use crate::store::links::Fingerprint;
use crate::worker::setup::EntitySetup;
use sha2::{Digest, Sha256};

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

/// How many cells are hashed together.
const CELLS_AT_ONCE: usize = 32;

/// What rows of one page said, in 16 bytes each: equal bytes mean that nothing needs to be compared, or even mapped.
pub(super) struct Fingerprints(Sha256);

impl Fingerprints {
    /// Under another mapping, or with other columns, the same cells say something else.
    pub(super) fn new(setup: &EntitySetup, fields: &[String], alias_kinds: &[String]) -> Self {
        let mut names = Sha256::new_with_prefix(setup.mapping_digest);
        for list in [fields, alias_kinds] {
            names.update(list.len().to_le_bytes());
            for name in list {
                names.update(name.len().to_le_bytes());
                names.update(name);
            }
        }
        Fingerprints(Sha256::new_with_prefix(names.finalize()))
    }

    /// A row with warnings has a fingerprint of its own kind: such rows are mapped each time, so that every run tells of
    /// them.
    pub(super) fn of(&self, row: PackedRow<'_>, warned: bool) -> Fingerprint {
        let ((cells, texts), mut said) = (row.said(), self.0.clone());
        for cells in cells.chunks(CELLS_AT_ONCE) {
            let mut bytes = [[0; 4]; CELLS_AT_ONCE];
            bytes.iter_mut().zip(cells).for_each(|(bytes, cell)| *bytes = cell.to_le_bytes());
            said.update(bytes.as_flattened().get(..cells.len() * 4).unwrap_or_default());
        }
        let digest = said.chain_update(texts).chain_update([u8::from(warned)]).finalize();
        let short = digest.first_chunk::<16>().copied().unwrap_or_default();
        // All zero means "not in agreement".
        if short == [0; 16] { [1; 16] } else { short }
    }
}

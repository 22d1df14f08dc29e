//! What one mapped row leaves in the plan besides its changes: its fingerprint, its warnings, or why it is put aside.

use crate::mapping::{Invalid, Mapped};
use crate::model::RecordStatus;
use crate::model::plan::{PlanFailure, PlanPage, PlanWarning};
use crate::worker::setup::EntitySetup;
use sha2::{Digest, Sha256};

/// How many warnings of one page are kept; the rest is counted.
const PAGE_WARNINGS_MAX: usize = 20;

pub(super) fn warn(page: &mut PlanPage, mapped: &Mapped) {
    page.counts.warnings += mapped.warnings.len() as u64;
    for warning in &mapped.warnings {
        if page.warnings.len() >= PAGE_WARNINGS_MAX {
            return;
        }
        page.warnings.push(PlanWarning {
            external_id: mapped.external_id.clone(),
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
        stage: "validate".to_owned(),
        code: invalid.reasons.first().map_or("record.invalid", |reason| reason.code).to_owned(),
        message: words.join("; "),
        payload: invalid.payload.to_string(),
    }
}

/// What the remote said, in 16 bytes: equal bytes mean that nothing needs to be compared.
pub(super) fn fingerprint(setup: &EntitySetup, mapped: &Mapped, encoded: &[u8]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(setup.fields_no.to_le_bytes());
    hash.update(encoded);
    hash.update([match mapped.status {
        None => 0,
        Some(RecordStatus::Active) => 1,
        Some(RecordStatus::Inactive) => 2,
    }]);
    for text in mapped.aliases.iter().flat_map(|(kind, value)| [kind, value]).chain(&mapped.version)
    {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let mut short = [0; 16];
    short.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    // All zero means "not in agreement".
    if short == [0; 16] { [1; 16] } else { short }
}

//! A delivery once more, because a person wants it.

use crate::model::OrgNo;
use crate::model::ids::HookId;
use crate::model::webhook::{Hook, HookDue, HookReplay};
use crate::store::{self, Txn, hook_outcomes};

/// Why a delivery cannot be processed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReplay {
    #[error("no body was kept of it: it was refused, or it repeats an earlier one")]
    NoBody,
    #[error("it waits to be processed already")]
    Waiting,
}

/// Has a delivery processed again, in the caller's transaction; ring the inbox's bell behind it. `only`: for this
/// organization alone.
pub fn replay(
    txn: &Txn,
    id: HookId,
    hook: &Hook,
    by: &str,
    only: Option<OrgNo>,
    now: i64,
) -> Result<Result<(), NoReplay>, store::Error> {
    if !hook.has_body() {
        return Ok(Err(NoReplay::NoBody));
    }
    let unprocessed = id > hook_outcomes::processed(txn)?;
    if unprocessed || hook_outcomes::due(txn, id)?.is_some() {
        return Ok(Err(NoReplay::Waiting));
    }
    let replay = Some(HookReplay { by: by.to_owned(), only });
    hook_outcomes::put_due(txn, id, &HookDue { due_at: now, attempts: 0, replay })?;
    Ok(Ok(()))
}

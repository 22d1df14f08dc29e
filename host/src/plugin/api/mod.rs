//! One adapter for each version of the contract: bindings, linkers and the way between guest types and the model.
//!
//! A later version is a new file here and one arm in `load`; an old file is only ever deleted.

pub(super) mod v0_1;

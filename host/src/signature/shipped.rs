//! The schemes that ship with the host, by the names that a connector's settings choose among. They are data: see
//! `schemes.json`.

use super::{SchemeFault, Verifier};
use crate::model::webhook::SignatureScheme;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

static TEXT: &str = include_str!("schemes.json");

type Shipped = BTreeMap<String, Arc<Verifier>>;

/// Empty where the file that was compiled in is broken, which a test rules out.
static SHIPPED: LazyLock<Shipped> = LazyLock::new(|| load().unwrap_or_default());

/// Their names, sorted.
pub static NAMES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| SHIPPED.keys().map(String::as_str).collect());

pub fn shipped(name: &str) -> Option<Arc<Verifier>> {
    SHIPPED.get(name).cloned()
}

pub(super) fn load() -> Result<Shipped, SchemeFault> {
    let schemes: BTreeMap<String, SignatureScheme> =
        serde_json::from_str(TEXT).map_err(|error| ("", error.to_string()))?;
    let read =
        |(name, scheme): (String, SignatureScheme)| Ok((name, Arc::new(Verifier::new(&scheme)?)));
    schemes.into_iter().map(read).collect()
}

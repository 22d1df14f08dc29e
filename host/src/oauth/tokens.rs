//! The tokens of a grant: sealed for their row, opened only to send them. No type here can be printed or serialized by
//! others.

use super::Error;
use crate::model::oauth::Holder;
use crate::secrets;
use crate::store::{self, Read, Txn};
use crate::vault::{Keyring, Place, Secret};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub(super) struct Tokens {
    /// The client that they were given to. Another one cannot use them.
    pub(super) client_id: String,
    /// Empty where only a refresh token is known.
    pub(super) access: Arc<Secret<String>>,
    pub(super) refresh: Option<Arc<Secret<String>>>,
    /// The refresh token before, until the present one has been used.
    pub(super) previous: Option<Arc<Secret<String>>>,
}

/// The sealed text.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase")]
struct Stored {
    client_id: String,
    access_token: String,
    refresh_token: Option<String>,
    previous_refresh_token: Option<String>,
}

impl Tokens {
    /// Stores them beside their grant.
    pub(super) fn put(
        &self,
        txn: &Txn,
        keys: &Keyring,
        holder: &Holder,
        now: i64,
    ) -> Result<(), Error> {
        let copy = |secret: &Option<Arc<Secret<String>>>| {
            secret.as_ref().map(|secret| secret.expose().clone())
        };
        let stored = Stored {
            client_id: self.client_id.clone(),
            access_token: self.access.expose().clone(),
            refresh_token: copy(&self.refresh),
            previous_refresh_token: copy(&self.previous),
        };
        let text = Zeroizing::new(serde_json::to_vec(&stored).map_err(|e| Error::inside(&e))?);
        secrets::put(txn, keys, holder.tokens_place(&holder.to_string()), &text, now)
            .map_err(|error| Error::inside(&error))
    }

    /// Those of a grant.
    pub(super) fn open(read: &dyn Read, keys: &Keyring, holder: &Holder) -> Result<Tokens, Error> {
        let opened = secrets::open(read, keys, holder.tokens_place(&holder.to_string()));
        let opened = opened
            .map_err(|error| Error::inside(&error))?
            .ok_or_else(|| Error::inside(&"the tokens of the grant are gone"))?;
        let mut stored: Stored = serde_json::from_slice(opened.expose())
            .map_err(|_| Error::inside(&"the stored tokens cannot be read"))?;
        let secret = |text: &mut Option<String>| text.take().map(|t| Arc::new(Secret::new(t)));
        Ok(Tokens {
            refresh: secret(&mut stored.refresh_token),
            previous: secret(&mut stored.previous_refresh_token),
            access: Arc::new(Secret::new(std::mem::take(&mut stored.access_token))),
            client_id: std::mem::take(&mut stored.client_id),
        })
    }
}

/// Takes them away with their grant.
pub(super) fn delete(txn: &Txn, holder: &Holder) -> Result<(), store::Error> {
    secrets::delete(txn, holder.tokens_place(&holder.to_string())).map(drop)
}

/// Where the verifier of an attempt is sealed; `row` is the hash of its state.
pub(super) fn verifier_place<'a>(holder: &'a Holder, row: &'a str) -> Place<'a> {
    Place { table: "oauth-attempts", organization: holder.organization(), row, field: "verifier" }
}

//! What a change of credentials means for the grant beside them. Runs in the transaction that stores the credentials.

use super::tokens::{self, Tokens};
use super::{Detached, Error};
use crate::credentials::Given;
use crate::model::oauth::{BlockedReason, Grant, Holder};
use crate::store::{Txn, grants};
use crate::vault::{Keyring, Secret};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Takes the tokens out of new credentials and makes a grant of them; answers what is left to be sealed. A grant of
/// another client is dropped. One of the same client stays where no tokens came along, and is tried again if the client
/// was refused.
pub fn adopt(
    txn: &Txn,
    keys: &Keyring,
    holder: &Holder,
    credentials: &Given,
    now: i64,
) -> Result<Given, Error> {
    let mut left = credentials.expose().clone();
    let mut take = |name: &str| {
        let value = left.as_object_mut()?.remove(name)?;
        value.as_str().filter(|text| !text.is_empty()).map(|text| text.trim().to_owned())
    };
    let (access, refresh) = (take("accessToken"), take("refreshToken"));
    let client_id = left.get("clientId").and_then(Value::as_str).unwrap_or_default().to_owned();
    if access.is_some() || refresh.is_some() {
        let grant = given(txn, keys, holder, client_id, access, refresh, now)?;
        grants::put(txn, &grant)?;
        return Ok(Given::new(left));
    }
    if let Some(mut grant) = grants::get(txn, holder)? {
        let same =
            Tokens::open(txn, keys, holder).is_ok_and(|tokens| tokens.client_id == client_id);
        if !same {
            tokens::delete(txn, holder)?;
            grants::delete(txn, holder)?;
        } else if grant.blocked.as_ref().is_some_and(|b| b.reason == BlockedReason::ClientRefused) {
            grant.blocked = None;
            grants::put(txn, &grant)?;
        }
    }
    Ok(Given::new(left))
}

/// A grant of tokens that came from elsewhere: nothing is known of their age. Without an access token the first request
/// gets one.
fn given(
    txn: &Txn,
    keys: &Keyring,
    holder: &Holder,
    client_id: String,
    access: Option<String>,
    refresh: Option<String>,
    now: i64,
) -> Result<Grant, Error> {
    let expires_at = access.is_none().then_some(now);
    let tokens = Tokens {
        client_id,
        access: Arc::new(Secret::new(access.unwrap_or_default())),
        refresh: refresh.map(|text| Arc::new(Secret::new(text))),
        previous: None,
    };
    tokens.put(txn, keys, holder, now)?;
    Ok(Grant {
        holder: holder.clone(),
        generation: grants::next_generation(txn)?,
        scope: None,
        extras: BTreeMap::new(),
        authorized_at: None,
        authorized_by: None,
        issued_at: now,
        expires_at,
        refresh_at: expires_at,
        refreshable: tokens.refresh.is_some(),
        refresh_expires_at: None,
        refresh_started_at: None,
        blocked: None,
        warned_days: None,
    })
}

/// Takes the grant of a holder away; what was there can then be revoked with [`super::Manager::revoke_later`].
pub fn detach(txn: &Txn, keys: &Keyring, holder: &Holder) -> Result<Option<Detached>, Error> {
    if grants::get(txn, holder)?.is_none() {
        return Ok(None);
    }
    let opened = Tokens::open(txn, keys, holder);
    tokens::delete(txn, holder)?;
    grants::delete(txn, holder)?;
    match opened {
        Ok(tokens) => Ok(Some(Detached { holder: holder.clone(), tokens: Arc::new(tokens) })),
        Err(error) => {
            tracing::warn!(%holder, %error, "cannot revoke the tokens");
            Ok(None)
        }
    }
}

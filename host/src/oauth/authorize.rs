//! From the start of an authorization to the grant: the address to send a person to, and what to make of the answer that
//! the platform sends back through the person's browser.
//!
//! The state is the only proof that an answer belongs to us. It is known as a hash, lives for ten minutes and is taken
//! out of the store before anything else is looked at, so that one answer is used once, also by two requests at a time.

use super::lives::lived;
use super::tokens::{Tokens, verifier_place};
use super::wire::{self, Issued, Refused};
use super::{Detached, Error, Manager, Profile, lock};
use crate::model::access::OrgKey;
use crate::model::ids::SessionId;
use crate::model::oauth::{Attempt, Grant, Holder, Initiator};
use crate::store::audit::{self, Actor, Entry};
use crate::store::{self, Read, Txn, directory, grants};
use crate::vault::{Secret, TokenHash};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;
use zeroize::Zeroizing;

const ATTEMPT_MILLIS_MAX: i64 = 10 * 60_000;
/// Authorizations under way; the oldest give way.
const ATTEMPTS_MAX: usize = 1_000;
const EXTRAS_MAX: usize = 8;
const EXTRA_NAME_BYTES_MAX: usize = 64;
const EXTRA_VALUE_BYTES_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 200;

/// An authorization to begin: where to send the person, once [`Start::keep`] has been committed.
pub struct Start {
    pub authorization_url: Url,
    pub state: Secret<String>,
    attempt: Attempt,
}

impl Start {
    pub fn expires_at(&self) -> i64 {
        self.attempt.expires_at
    }

    /// Part of the transaction that writes down who began.
    pub fn keep(&self, txn: &Txn) -> Result<(), store::Error> {
        grants::prune_attempts(txn, self.attempt.created_at, ATTEMPTS_MAX)?;
        grants::put_attempt(txn, TokenHash::of(self.state.expose()).as_bytes(), &self.attempt)
    }
}

/// The parameters of a callback, decoded, none of them twice.
pub struct Callback(pub BTreeMap<String, String>);

/// An authorization that ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    pub holder: Holder,
    pub authorized_at: i64,
    pub expires_at: Option<i64>,
}

impl Manager {
    /// Prepares an authorization. The platform will answer at `redirect_uri`.
    pub fn start(
        &self,
        holder: Holder,
        organization: Option<OrgKey>,
        initiator: Initiator,
        redirect_uri: String,
    ) -> Result<Start, Error> {
        let read = self.store.read()?;
        let (_, profile) = self.party(&read, &holder)?;
        let client = self.client(&read, &holder)?;
        drop(read);
        let missing = || Error::Config("the connector has no endpoint `authorizeUrl`".to_owned());
        let mut url = profile.authorize_url.clone().ok_or_else(missing)?;
        let (state, verifier) = (random()?, if profile.pkce { Some(random()?) } else { None });
        let hash = *TokenHash::of(state.expose()).as_bytes();
        let now = self.now();
        let sealed = verifier.as_ref().map(|verifier| {
            let row = hex::encode(hash);
            self.keys.seal(verifier_place(&holder, &row), verifier.expose().as_bytes(), now)
        });
        let attempt = Attempt {
            holder,
            organization,
            initiator,
            redirect_uri: redirect_uri.clone(),
            verifier: sealed.transpose().map_err(|error| Error::inside(&error))?,
            created_at: now,
            expires_at: now.saturating_add(ATTEMPT_MILLIS_MAX),
        };
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(&profile.authorize_parameters);
            query.append_pair("response_type", "code");
            query.append_pair("client_id", &client.id);
            query.append_pair("redirect_uri", &redirect_uri);
            if !profile.scopes.is_empty() {
                query.append_pair("scope", &profile.scopes.join(" "));
            }
            query.append_pair("state", state.expose());
            if let Some(verifier) = &verifier {
                query.append_pair("code_challenge", &challenge(verifier.expose()));
                query.append_pair("code_challenge_method", "S256");
            }
        }
        Ok(Start { authorization_url: url, state, attempt })
    }

    /// Ends an authorization with what the platform sent back, through the browser of `session`. In a task of its own: state
    /// and code are worth nothing a second time, and the browser may leave meanwhile.
    pub async fn complete(
        self: &Arc<Self>,
        callback: Callback,
        session: Option<SessionId>,
    ) -> Result<Completed, Error> {
        let (manager, work) = (Arc::clone(self), self.clock.work());
        let task = self.tasks.spawn(async move { (manager.redeem(callback, session).await, work) });
        match self.clock.rest(task).await {
            Ok((completed, _)) => completed,
            Err(error) => Err(Error::inside(&error)),
        }
    }

    async fn redeem(
        self: &Arc<Self>,
        callback: Callback,
        session: Option<SessionId>,
    ) -> Result<Completed, Error> {
        let Callback(mut parameters) = callback;
        let unknown = || {
            let reason = "this authorization is not known: it was used already, is older than ten minutes, or was \
                          never started here. Start it again";
            Error::Callback(reason.to_owned())
        };
        let state = Zeroizing::new(parameters.remove("state").unwrap_or_default());
        let hash = *TokenHash::of(&state).as_bytes();
        let taken = self.store.write(move |txn| grants::take_attempt(txn, &hash)).await?;
        let now = self.now();
        let attempt = taken.filter(|attempt| attempt.expires_at > now).ok_or_else(unknown)?;
        let holder = attempt.holder.clone();
        if attempt.initiator.session.is_some_and(|wanted| session != Some(wanted)) {
            let reason = "the answer did not come through the browser that asked, or its login has ended: log in \
                          and start again";
            return Err(Error::Callback(reason.to_owned()));
        }
        let result = self.conclude(attempt, hash, parameters).await;
        match &result {
            Ok(_) => tracing::info!(%holder, "access was authorized"),
            Err(error) => tracing::warn!(%holder, %error, "an authorization failed"),
        }
        result
    }

    async fn conclude(
        self: &Arc<Self>,
        attempt: Attempt,
        hash: [u8; 32],
        mut parameters: BTreeMap<String, String>,
    ) -> Result<Completed, Error> {
        let (profile, client) = {
            let read = self.store.read()?;
            still_wanted(&read, &attempt.holder)?;
            let (_, profile) = self.party(&read, &attempt.holder)?;
            (profile, self.client(&read, &attempt.holder)?)
        };
        check_issuer(&profile, parameters.remove("iss"))?;
        if let Some(code) = parameters.remove("error") {
            let words = wire::clean(&code, &[], DESCRIPTION_CHARS_MAX);
            let more = parameters.remove("error_description").unwrap_or_default();
            let more = wire::clean(&more, &[], DESCRIPTION_CHARS_MAX);
            return Err(Error::Declined(match more.is_empty() {
                true => words,
                false => format!("{words} ({more})"),
            }));
        }
        let code = parameters.remove("code").filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| Error::Callback("the answer has no `code`".to_owned()))?;
        let code = Zeroizing::new(code);
        let extras = extras(parameters)?;
        self.check_organization(&profile, &attempt.holder, &extras)?;
        let verifier = match &attempt.verifier {
            None => None,
            Some(sealed) => {
                let row = hex::encode(hash);
                let opened = self.keys.open(verifier_place(&attempt.holder, &row), sealed);
                let text = opened.map_err(|error| Error::inside(&error))?.into_text();
                Some(text.map_err(|_| Error::inside(&"the verifier is no text"))?)
            }
        };
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", attempt.redirect_uri.as_str()),
        ];
        if let Some(verifier) = &verifier {
            form.push(("code_verifier", verifier.expose()));
        }
        let (recorder, asked_at) = (wire::to_log(), self.clock.now());
        // A code is worth one exchange: it is not tried again.
        let asked = wire::ask(&self.egress, &profile, &client, &form, recorder, asked_at).await;
        let issued = asked.map_err(|refused| match refused {
            Refused::Dead(words) => Error::Declined(words),
            Refused::Client(words) => Error::ClientRefused(words),
            Refused::Unavailable(words, _) | Refused::Lie(words, _) => Error::Unavailable(words),
            Refused::Denied(reason) => Error::Config(reason),
        })?;
        self.grant(attempt, client.id, issued, extras, crate::clock::to_millis(asked_at)).await
    }

    /// Stores what was granted. Where its connection was removed meanwhile, it is handed back.
    async fn grant(
        self: &Arc<Self>,
        attempt: Attempt,
        client_id: String,
        issued: Issued,
        extras: BTreeMap<String, String>,
        asked_at: i64,
    ) -> Result<Completed, Error> {
        let Attempt { holder, organization, initiator, .. } = attempt;
        let (access, refresh) = (issued.access, issued.refresh);
        let refreshable = refresh.is_some();
        let tokens = Tokens { client_id, access, refresh, previous: None };
        let grant = Grant {
            holder: holder.clone(),
            generation: 0,
            scope: issued.scope,
            extras,
            authorized_at: Some(asked_at),
            authorized_by: Some(initiator.name.clone()),
            issued_at: asked_at,
            expires_at: None,
            refresh_at: None,
            refreshable,
            refresh_expires_at: issued.refresh_life_millis.map(|l| asked_at.saturating_add(l)),
            refresh_started_at: None,
            blocked: None,
            warned_days: None,
        };
        let grant = lived(grant, asked_at, issued.life_millis, self.chance(&holder));
        let completed = Completed {
            holder: holder.clone(),
            authorized_at: asked_at,
            expires_at: grant.expires_at,
        };
        let entry = entry(initiator, organization, &holder, self.now());
        let tokens = Arc::new(tokens);
        let unwanted = Detached { holder: holder.clone(), tokens: Arc::clone(&tokens) };
        let keys = Arc::clone(&self.keys);
        let stored = self.store.write(move |txn| -> Result<(), Error> {
            still_wanted(txn, &grant.holder)?;
            let generation = grants::next_generation(txn)?;
            tokens.put(txn, &keys, &grant.holder, entry.at)?;
            grants::put(txn, &Grant { generation, ..grant.clone() })?;
            Ok(audit::append(txn, entry.clone()).map(drop)?)
        });
        if let Err(error) = stored.await {
            self.revoke_later(unwanted);
            return Err(error);
        }
        lock(&self.pauses).remove(&holder);
        Ok(completed)
    }

    /// The platform's name for the organization must be the connection's, where the callback says it.
    fn check_organization(
        &self,
        profile: &Profile,
        holder: &Holder,
        extras: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let (Some(name), Some(of)) = (&profile.organization_parameter, &holder.connection) else {
            return Ok(());
        };
        let read = self.store.read()?;
        let organization = directory::organization(&read, &of.organization)?;
        let no = organization.map(|organization| organization.no).unwrap_or_default();
        let connection = directory::connection(&read, no, of.id)?;
        let wanted = connection.map(|found| found.federation_org_id).unwrap_or_default();
        match extras.get(name) {
            Some(found) if *found == wanted => Ok(()),
            Some(found) => Err(Error::Callback(format!(
                "access was authorized for {name} {found:?}, and the connection's federationOrgId is {wanted:?}: \
                 choose the right organization at the platform, or change the connection"
            ))),
            None => Err(Error::Callback(format!("the answer has no `{name}`"))),
        }
    }
}

/// Written down with the grant, as done by who started it: the browser that comes back has no name.
fn entry(initiator: Initiator, organization: Option<OrgKey>, holder: &Holder, now: i64) -> Entry {
    let Initiator { kind, id, name, .. } = initiator;
    Entry {
        seq: 0,
        at: now,
        actor: Actor { kind, id, name },
        address: None,
        action: "authorize".to_owned(),
        target: holder.to_string(),
        organization,
        before: serde_json::Value::Null,
        after: serde_json::Value::Null,
        request: None,
    }
}

/// Whether the connector, and the connection, are still there to be authorized.
fn still_wanted(read: &dyn Read, holder: &Holder) -> Result<(), Error> {
    match super::watch::is_used(read, holder)? {
        true => Ok(()),
        false => Err(Error::Callback(
            "the connector or the connection was removed meanwhile: nothing was authorized"
                .to_owned(),
        )),
    }
}

/// RFC 9207: an answer of another server than the one that was asked is not ours.
fn check_issuer(profile: &Profile, found: Option<String>) -> Result<(), Error> {
    let Some(issuer) = &profile.issuer else { return Ok(()) };
    match found {
        Some(found) if found == *issuer => Ok(()),
        Some(_) => Err(Error::Callback("the answer comes from another server (`iss`)".to_owned())),
        None => Err(Error::Callback("the answer does not say whom it is from (`iss`)".to_owned())),
    }
}

/// What the platform added to its answer, within bounds.
fn extras(parameters: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    let fits = |(name, value): (&String, &String)| {
        name.len() <= EXTRA_NAME_BYTES_MAX
            && value.len() <= EXTRA_VALUE_BYTES_MAX
            && !format!("{name}{value}").chars().any(char::is_control)
    };
    if parameters.len() > EXTRAS_MAX || !parameters.iter().all(fits) {
        return Err(Error::Callback("the answer has too many or too long parameters".to_owned()));
    }
    Ok(parameters)
}

/// 256 random bits as 43 characters: a state, or a verifier of RFC 7636.
fn random() -> Result<Secret<String>, Error> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| Error::inside(&error))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// The S256 challenge of a verifier.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn what_a_platform_adds_is_bounded() {
        let of = |pairs: &[(&str, &str)]| {
            extras(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
        };
        assert!(of(&[("realmId", "4620816365"), ("x", "")]).is_ok());
        assert!(of(&[("realmId", &"1".repeat(EXTRA_VALUE_BYTES_MAX + 1))]).is_err());
        assert!(of(&[(&"n".repeat(EXTRA_NAME_BYTES_MAX + 1), "1")]).is_err());
        assert!(of(&[("a", "b\nc")]).is_err());
        let many: Vec<String> = (0..=EXTRAS_MAX).map(|number| number.to_string()).collect();
        assert!(of(&many.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>()).is_err());
    }
}

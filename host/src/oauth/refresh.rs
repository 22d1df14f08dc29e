//! Access tokens: given out while they are good, refreshed ahead of their end, one refresh of a grant at a time.
//!
//! A refresh runs in a task of its own, so that a run that is cancelled does not throw away what the platform answers.
//! Its steps: mark the grant, ask, commit the new tokens, only then hand out the access token. `docs/administrator.md`
//! tells what a crash between two of them means.

use super::lives::{is_dead, is_due, lived, unblocked};
use super::tokens::Tokens;
use super::watch::{days_left, needs_reauth};
use super::wire::{self, Issued, Refused};
use super::{Detached, Error, Manager, Profile, Token, grant_in_force, lock};
use crate::credentials::OAuthClient;
use crate::egress::{Recorder, TokenAsk, TokenSource};
use crate::model::http::HttpFailure;
use crate::model::oauth::{BlockedReason, Grant, Holder};
use crate::store::{self, grants};
use crate::vault::Secret;
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;

/// After a failed refresh the next one waits this long, doubled with each failure.
const PAUSE_MILLIS_FIRST: i64 = 30_000;
const PAUSE_MILLIS_MAX: i64 = 15 * 60_000;

/// When a platform that gave no token is asked again.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    until: i64,
    failures: u32,
    reason: String,
}

/// Why a refresh is wanted.
#[derive(Clone)]
pub(super) enum Why {
    /// The token is about to expire.
    Due,
    /// The platform refused this token.
    Refused(Arc<Secret<String>>),
    /// A person asks for it.
    Asked,
    /// The refresh token is kept from lying idle.
    Idle,
}

impl Manager {
    /// Gives out the tokens of a run's requests. Fails at once where nobody authorized access, or somebody has to again.
    pub fn source(
        self: &Arc<Self>,
        holder: &Holder,
        federation_org_id: &str,
        recorder: Recorder,
    ) -> Result<TokenSource, Error> {
        let read = self.store.read()?;
        let grant = grant_in_force(&read, holder)?.ok_or(Error::NotAuthorized)?;
        let (_, profile) = self.party(&read, holder)?;
        unblocked(&grant)?;
        let named = profile.organization_parameter.and_then(|name| {
            let value = grant.extras.get(&name)?;
            (holder.connection.is_some() && value != federation_org_id).then_some((name, value))
        });
        if let Some((name, value)) = named {
            return Err(Error::Config(format!(
                "access was authorized for {name} {value:?}, and the connection's federationOrgId is \
                 {federation_org_id:?}: authorize this connection on its own"
            )));
        }
        let (manager, holder) = (Arc::clone(self), grant.holder);
        Ok(Arc::new(move |ask| {
            let (manager, holder) = (Arc::clone(&manager), holder.clone());
            let recorder = Arc::clone(&recorder);
            Box::pin(async move {
                let given = match ask {
                    TokenAsk::Current => manager.current(&holder, recorder).await,
                    TokenAsk::Replace(stale) => manager.replaced(&holder, stale, recorder).await,
                };
                given.map_err(|error| match error {
                    Error::Unavailable(_) | Error::Inside(_) => {
                        HttpFailure::Network(error.to_string())
                    }
                    other => HttpFailure::Denied(other.to_string()),
                })
            })
        }))
    }

    /// Why a holder's requests get no token, as far as that is known.
    pub fn trouble(&self, holder: &Holder) -> Option<Error> {
        let grant = grant_in_force(&self.store.read().ok()?, holder).ok()?;
        let Some(grant) = grant else { return Some(Error::NotAuthorized) };
        unblocked(&grant).err().or_else(|| {
            let paused = self.pause(&grant.holder, self.now());
            paused.filter(|_| is_dead(&grant, self.now()))
        })
    }

    /// Refreshes now because a person asks for it; the grant as it is then. `shared`: also the connector's, where the
    /// holder has none of its own.
    pub async fn refresh_now(
        self: &Arc<Self>,
        holder: &Holder,
        shared: bool,
    ) -> Result<Grant, Error> {
        let found = grant_in_force(&self.store.read()?, holder)?;
        let found = found.filter(|grant| shared || grant.holder == *holder);
        let found = found.ok_or(Error::NotAuthorized)?;
        self.flight(&found.holder, Why::Asked, wire::to_log()).await?;
        grants::get(&self.store.read()?, &found.holder)?.ok_or(Error::NotAuthorized)
    }

    pub(super) async fn keep_alive(self: &Arc<Self>, holder: &Holder) -> Result<(), Error> {
        self.flight(holder, Why::Idle, wire::to_log()).await.map(drop)
    }

    /// A token that is good now.
    async fn current(self: &Arc<Self>, holder: &Holder, recorder: Recorder) -> Token {
        let (grant, tokens) = self.look(holder)?;
        let now = self.now();
        if !is_due(&grant, now) {
            return Ok(tokens.access);
        }
        let result = match self.pause(holder, now) {
            Some(pause) => Err(pause),
            None => self.flight(holder, Why::Due, recorder).await,
        };
        match result {
            // It is replaced ahead of its end so that a platform that is down for a moment stops nobody.
            Err(Error::Unavailable(_)) if !is_dead(&grant, self.now()) => Ok(tokens.access),
            result => result,
        }
    }

    /// Another token than `stale`, which the platform refused.
    async fn replaced(
        self: &Arc<Self>,
        holder: &Holder,
        stale: Arc<Secret<String>>,
        recorder: Recorder,
    ) -> Token {
        let (_, tokens) = self.look(holder)?;
        if tokens.access.expose() != stale.expose() {
            return Ok(tokens.access);
        }
        if let Some(pause) = self.pause(holder, self.now()) {
            return Err(pause);
        }
        let why = Why::Refused(Arc::clone(&stale));
        let given = self.flight(holder, why.clone(), Arc::clone(&recorder)).await?;
        if given.expose() != stale.expose() {
            return Ok(given);
        }
        // It joined a refresh that found the token good, before the platform refused it.
        self.flight(holder, why, recorder).await
    }

    /// The stored grant and its tokens, unless it is blocked.
    fn look(&self, holder: &Holder) -> Result<(Grant, Tokens), Error> {
        let read = self.store.read()?;
        let grant = grants::get(&read, holder)?.ok_or(Error::NotAuthorized)?;
        unblocked(&grant)?;
        let tokens = Tokens::open(&read, &self.keys, holder)?;
        Ok((grant, tokens))
    }

    fn pause(&self, holder: &Holder, now: i64) -> Option<Error> {
        let pauses = lock(&self.pauses);
        let pause = pauses.get(holder).filter(|pause| pause.until > now)?;
        Some(Error::Unavailable(pause.reason.clone()))
    }

    /// Joins the refresh of this grant, or begins it.
    async fn flight(self: &Arc<Self>, holder: &Holder, why: Why, recorder: Recorder) -> Token {
        let flight = {
            let mut flights = lock(&self.flights);
            match flights.get(holder) {
                Some(flight) => flight.clone(),
                None => {
                    let (manager, holder_of_task) = (Arc::clone(self), holder.clone());
                    let work = self.clock.work();
                    let task = self.tasks.spawn(async move {
                        let landing = Landing(manager, holder_of_task);
                        (landing.0.refresh(&landing.1, why, recorder).await, work)
                    });
                    let done = task.map(|result| match result {
                        Ok((token, _)) => token,
                        Err(error) => Err(Error::inside(&error)),
                    });
                    let flight = done.boxed().shared();
                    flights.insert(holder.clone(), flight.clone());
                    flight
                }
            }
        };
        self.clock.rest(flight).await
    }

    /// One refresh to its end. Looks again first: whoever asked may have looked before the last one ended.
    async fn refresh(self: &Arc<Self>, holder: &Holder, why: Why, recorder: Recorder) -> Token {
        let read = self.store.read()?;
        let grant = grants::get(&read, holder)?.ok_or(Error::NotAuthorized)?;
        let by_hand = matches!(why, Why::Asked);
        match unblocked(&grant) {
            Err(Error::ClientRefused(_)) if by_hand => {}
            other => other?,
        }
        let tokens = Tokens::open(&read, &self.keys, holder)?;
        let wanted = match &why {
            Why::Due => is_due(&grant, self.now()),
            Why::Refused(stale) => tokens.access.expose() == stale.expose(),
            Why::Asked | Why::Idle => true,
        };
        if !wanted {
            return Ok(tokens.access);
        }
        let (_, profile) = self.party(&read, holder)?;
        let client = self.client(&read, holder)?;
        drop(read);
        if client.id != tokens.client_id {
            let reason = "the client id was changed since access was authorized";
            return self.block(&grant, BlockedReason::NeedsReauth, reason.to_owned()).await;
        }
        if tokens.refresh.is_none() {
            let reason = "the access token has ended and there is no refresh token";
            return self.block(&grant, BlockedReason::NeedsReauth, reason.to_owned()).await;
        }
        let interrupted = grant.refresh_started_at.is_some();
        if !self.mark(&grant).await? {
            return self.look(holder).map(|(_, tokens)| tokens.access);
        }
        let asked_at = self.now();
        let asked = self.ask(&profile, &client, &tokens, &recorder).await;
        match asked {
            Ok(issued) => self.keep(&grant, &tokens, issued, asked_at, (profile, client)).await,
            Err(Refused::Dead(words)) => {
                let reason = if interrupted {
                    format!("{words}; an earlier refresh was cut off before its answer was stored")
                } else {
                    words
                };
                let reason = format!("the platform withdrew access: {reason}");
                self.block(&grant, BlockedReason::NeedsReauth, reason).await
            }
            Err(Refused::Client(words)) => {
                self.block(&grant, BlockedReason::ClientRefused, words).await
            }
            Err(Refused::Denied(reason)) => Err(Error::Config(reason)),
            Err(Refused::Lie(words, refresh)) => {
                if let Some(refresh) = refresh {
                    self.keep_refresh_token(&grant, &tokens, refresh, (profile, client)).await?;
                }
                Err(self.put_off(holder, words, None))
            }
            Err(Refused::Unavailable(words, wait)) => Err(self.put_off(holder, words, wait)),
        }
    }

    /// Asks until there is an answer that stays. A token that the platform knows nothing of may have a predecessor that
    /// it still takes.
    async fn ask(
        &self,
        profile: &Profile,
        client: &OAuthClient,
        tokens: &Tokens,
        recorder: &Recorder,
    ) -> Result<Issued, Refused> {
        let first = self.ask_with(profile, client, tokens.refresh.as_deref(), recorder).await;
        match (first, &tokens.previous) {
            (Err(Refused::Dead(words)), Some(previous)) => {
                let second = self.ask_with(profile, client, Some(previous), recorder).await;
                match second {
                    Err(Refused::Dead(_)) => Err(Refused::Dead(words)),
                    second => second,
                }
            }
            (first, _) => first,
        }
    }

    async fn ask_with(
        &self,
        profile: &Profile,
        client: &OAuthClient,
        refresh: Option<&Secret<String>>,
        recorder: &Recorder,
    ) -> Result<Issued, Refused> {
        let token = refresh.map(|token| token.expose().as_str()).unwrap_or_default();
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let retry = &self.options.retry;
        let mut attempt = 1;
        loop {
            let now = self.clock.now();
            let recorder = Arc::clone(recorder);
            let asked = wire::ask(&self.egress, profile, client, &form, recorder, now).await;
            let Err(Refused::Unavailable(words, wait)) = asked else { return asked };
            let wait = wait.filter(|wait| !wait.is_zero());
            if attempt >= retry.attempts_max
                || wait.is_some_and(|wait| wait > self.options.retry_after_max)
            {
                return Err(Refused::Unavailable(words, wait));
            }
            let random = self.clock.chance(&format!("token {attempt}"));
            let wait = wait.unwrap_or_else(|| retry.wait(attempt, random));
            self.clock.rest(self.clock.sleep(wait)).await;
            attempt += 1;
        }
    }

    /// Write-ahead: from here on the platform may know a token that we do not. False where the grant is another by now.
    async fn mark(&self, grant: &Grant) -> Result<bool, Error> {
        let (holder, generation, now) = (grant.holder.clone(), grant.generation, self.now());
        let marked = self.store.write(move |txn| -> Result<bool, store::Error> {
            match grants::get(txn, &holder)? {
                Some(mut grant) if grant.generation == generation => {
                    grant.refresh_started_at = Some(now);
                    grants::put(txn, &grant)?;
                    Ok(true)
                }
                _ => Ok(false),
            }
        });
        Ok(marked.await?)
    }

    /// Stores new tokens; the access token is used only after that. Where somebody authorized anew meanwhile, theirs count.
    async fn keep(
        self: &Arc<Self>,
        grant: &Grant,
        old: &Tokens,
        issued: Issued,
        asked_at: i64,
        client: (Profile, OAuthClient),
    ) -> Token {
        let rotated = issued.refresh.is_some();
        let tokens = Tokens {
            client_id: old.client_id.clone(),
            access: Arc::clone(&issued.access),
            refresh: issued.refresh.clone().or_else(|| old.refresh.clone()),
            previous: if rotated { old.refresh.clone() } else { None },
        };
        let refresh_expires_at = match issued.refresh_life_millis {
            Some(life) => Some(asked_at.saturating_add(life)),
            None if rotated => None,
            None => grant.refresh_expires_at,
        };
        // Platforms with a last day tell it anew each time, a little off: the warning stays given.
        let days_left = refresh_expires_at.map(|at| days_left(at, asked_at));
        let still = |warned: &u32| days_left.is_some_and(|days| days <= *warned);
        let kept = Grant {
            scope: issued.scope.or_else(|| grant.scope.clone()),
            refresh_expires_at,
            refresh_started_at: None,
            blocked: None,
            warned_days: grant.warned_days.filter(still),
            ..lived(grant.clone(), asked_at, issued.life_millis, self.chance(&grant.holder))
        };
        if !self.replace(grant, kept, tokens, client).await? {
            return self.look(&grant.holder).map(|(_, tokens)| tokens.access);
        }
        lock(&self.pauses).remove(&grant.holder);
        tracing::info!(holder = %grant.holder, rotated, "refreshed an access token");
        Ok(issued.access)
    }

    /// An answer without a usable access token held a new refresh token: the old one may be dead by now.
    async fn keep_refresh_token(
        self: &Arc<Self>,
        grant: &Grant,
        old: &Tokens,
        refresh: Arc<Secret<String>>,
        client: (Profile, OAuthClient),
    ) -> Result<(), Error> {
        let tokens = Tokens {
            client_id: old.client_id.clone(),
            access: Arc::clone(&old.access),
            refresh: Some(refresh),
            previous: old.refresh.clone(),
        };
        let next = Grant { refresh_started_at: None, ..grant.clone() };
        self.replace(grant, next, tokens, client).await.map(drop)
    }

    /// Puts `next` with its tokens, under a generation of its own, in place of `grant`; false where that is not there any
    /// more. Where nothing is, somebody disconnected meanwhile, and nobody else knows the tokens: they are handed back.
    async fn replace(
        self: &Arc<Self>,
        grant: &Grant,
        next: Grant,
        tokens: Tokens,
        client: (Profile, OAuthClient),
    ) -> Result<bool, Error> {
        let (generation, now, keys) = (grant.generation, self.now(), Arc::clone(&self.keys));
        let tokens = Arc::new(tokens);
        let unwanted = Detached { holder: next.holder.clone(), tokens: Arc::clone(&tokens) };
        let replaced = self.store.write(move |txn| -> Result<Option<bool>, Error> {
            let Some(current) = grants::get(txn, &next.holder)? else { return Ok(None) };
            if current.generation != generation {
                return Ok(Some(false));
            }
            let generation = grants::next_generation(txn)?;
            tokens.put(txn, &keys, &next.holder, now)?;
            grants::put(txn, &Grant { generation, ..next.clone() })?;
            Ok(Some(true))
        });
        let replaced = replaced.await?;
        if replaced.is_none() {
            self.revoke_as(client, unwanted);
        }
        Ok(replaced == Some(true))
    }

    /// No more refreshes until somebody acts.
    async fn block(&self, grant: &Grant, reason: BlockedReason, message: String) -> Token {
        let (grant, now) = (grant.clone(), self.now());
        let holder = grant.holder.clone();
        let blocked = self.store.write(move |txn| {
            needs_reauth(txn, &grant.holder, grant.generation, reason, &message, now)
        });
        blocked.await?;
        // Says why, or gives the token of whoever authorized anew meanwhile.
        self.look(&holder).map(|(_, tokens)| tokens.access)
    }

    /// The platform gives no token at the moment: it is left alone for a while.
    fn put_off(&self, holder: &Holder, reason: String, wait: Option<Duration>) -> Error {
        let mut pauses = lock(&self.pauses);
        let failures = pauses.get(holder).map_or(0, |pause| pause.failures);
        let own = PAUSE_MILLIS_FIRST.saturating_mul(1 << failures.min(10)).min(PAUSE_MILLIS_MAX);
        let asked = wait.map_or(0, |wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        let until = self.now().saturating_add(own.max(asked));
        tracing::warn!(%holder, reason, "cannot refresh an access token at the moment");
        let failures = failures.saturating_add(1);
        pauses.insert(holder.clone(), Pause { until, failures, reason: reason.clone() });
        Error::Unavailable(reason)
    }
}

/// Takes a refresh off the list of those under way, however it ends.
struct Landing(Arc<Manager>, Holder);

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.0.flights).remove(&self.1);
    }
}

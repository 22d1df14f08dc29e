//! OAuth 2: how a person authorizes the host at a platform, and how its tokens stay fresh. Owns the flow from start to
//! callback, the single refresh at a time of each grant, and what is told of grants that die.
//!
//! A refresh token that a platform gave is durable before the access token beside it is used. Nothing here shows a token,
//! and plugins never see one: egress is handed a closure.

mod adopt;
mod authorize;
mod lives;
mod profile;
mod refresh;
mod revoke;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod tokens;
mod watch;
mod wire;

pub use adopt::{adopt, detach};
pub use authorize::{Callback, Completed, Start};
pub use profile::{ENDPOINTS, Overlay, Profile, is_own_parameter, of_plugins};
pub use revoke::Detached;
pub use watch::{Expiring, WARN_DAYS, expiring, needs_reauth};

use crate::backoff::RequestRetry;
use crate::clock::{self, Clock};
use crate::credentials;
use crate::egress::Egress;
use crate::model::directory::Connector;
use crate::model::oauth::{Grant, Holder};
use crate::store::{self, Read, Store, grants};
use crate::vault::{Keyring, Secret};
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Why there is no token, or no authorization. The case decides what happens next; the texts hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody has authorized the host yet.
    #[error("nobody has authorized access yet: start it with `syncline connector oauth start`")]
    NotAuthorized,
    #[error("{0}: authorize again with `syncline connector oauth start`")]
    NeedsReauth(String),
    /// The platform refuses the client: id, secret, redirect address or scopes.
    #[error("the platform refuses this client: {0}; set the credentials again, or refresh by hand")]
    ClientRefused(String),
    /// It can pass.
    #[error("the platform gives no token at the moment: {0}")]
    Unavailable(String),
    #[error("{0}")]
    Config(String),
    /// The authorization came back in a form that must not be trusted, or not at all.
    #[error("{0}")]
    Callback(String),
    /// The person, or the platform, said no.
    #[error("the platform did not authorize access: {0}")]
    Declined(String),
    #[error("{0}")]
    Inside(String),
}

impl Error {
    fn inside(cause: &dyn std::fmt::Display) -> Error {
        Error::Inside(cause.to_string())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        Error::inside(&error)
    }
}

impl From<credentials::Error> for Error {
    fn from(error: credentials::Error) -> Error {
        match error {
            credentials::Error::Store(error) => Error::inside(&error),
            other => Error::Config(other.to_string()),
        }
    }
}

/// The profile of a connector, from its plugin as it is active now.
pub type Profiles = Arc<dyn Fn(&Connector) -> Result<Profile, Error> + Send + Sync>;

/// An access token or why there is none.
type Token = Result<Arc<Secret<String>>, Error>;

/// Waits between attempts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Inside one refresh.
    pub retry: RequestRetry,
    /// A platform that asks for a longer pause is not waited for inside one refresh.
    pub retry_after_max: Duration,
}

/// The authorizations of a process. One per process: that is what makes a refresh the only one of its grant.
pub struct Manager {
    store: Store,
    egress: Arc<Egress>,
    keys: Arc<Keyring>,
    clock: Clock,
    options: Options,
    profiles: Profiles,
    /// The refreshes under way. At most one for each grant.
    flights: Mutex<HashMap<Holder, Shared<BoxFuture<'static, Token>>>>,
    /// The grants whose platform gives no tokens at the moment.
    pauses: Mutex<HashMap<Holder, refresh::Pause>>,
    /// Work that must not be cut off half-way when the server stops.
    tasks: TaskTracker,
}

impl Manager {
    pub fn new(
        store: Store,
        egress: Arc<Egress>,
        keys: Arc<Keyring>,
        clock: Clock,
        options: Options,
        profiles: Profiles,
    ) -> Arc<Manager> {
        Arc::new(Manager {
            store,
            egress,
            keys,
            clock,
            options,
            profiles,
            flights: Mutex::default(),
            pauses: Mutex::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Waits for refreshes and revocations under way; the caller bounds the wait.
    pub async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn now(&self) -> i64 {
        clock::to_millis(self.clock.now())
    }

    fn chance(&self, holder: &Holder) -> u32 {
        self.clock.chance(&holder.to_string())
    }

    /// The connector of a holder and how it does OAuth.
    fn party(&self, read: &dyn Read, holder: &Holder) -> Result<(Connector, Profile), Error> {
        let found = store::directory::connector(read, holder.connector)?;
        let connector = found.ok_or_else(|| Error::Config("the connector is gone".to_owned()))?;
        let profile = (self.profiles)(&connector)?;
        Ok((connector, profile))
    }

    fn client(&self, read: &dyn Read, holder: &Holder) -> Result<credentials::OAuthClient, Error> {
        let of = holder.connection.as_ref();
        let connection = of.map(|connection| (connection.organization.as_str(), connection.id));
        Ok(credentials::oauth_client(read, &self.keys, holder.connector, connection)?)
    }
}

/// The grant that a holder's requests use: its own, else its connector's. A connection with credentials of its own never
/// falls back on the connector's grant.
pub fn grant_in_force(read: &dyn Read, holder: &Holder) -> Result<Option<Grant>, store::Error> {
    if let Some(own) = grants::get(read, holder)? {
        return Ok(Some(own));
    }
    let Some(connection) = &holder.connection else { return Ok(None) };
    let of = Some((connection.organization.as_str(), connection.id));
    if credentials::updated_at(read, holder.connector, of)?.is_some() {
        return Ok(None);
    }
    grants::get(read, &Holder::of_connector(holder.connector))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Telling a platform that its tokens are not needed any more (RFC 7009). Best effort: what was disconnected here stays
//! disconnected, whatever the platform answers.

use super::tokens::Tokens;
use super::{Error, Manager, Profile, wire};
use crate::credentials::OAuthClient;
use crate::model::oauth::Holder;
use std::sync::Arc;
use std::time::Duration;

const ATTEMPTS_MAX: u32 = 3;
const WAIT_FIRST: Duration = Duration::from_secs(2);

/// A grant that is gone from the store and may still be known to the platform.
#[derive(Clone)]
pub struct Detached {
    pub(super) holder: Holder,
    pub(super) tokens: Arc<Tokens>,
}

impl Manager {
    /// Revokes in the background. The client is read now: its credentials may be deleted next.
    pub fn revoke_later(self: &Arc<Self>, detached: Detached) {
        let prepared = self.store.read().map_err(Error::from).and_then(|read| {
            let (_, profile) = self.party(&read, &detached.holder)?;
            Ok((profile, self.client(&read, &detached.holder)?))
        });
        match prepared {
            Ok(client) => self.revoke_as(client, detached),
            Err(error) => {
                tracing::warn!(holder = %detached.holder, %error, "cannot revoke the tokens");
            }
        }
    }

    /// The same as the client that they were given to.
    pub(super) fn revoke_as(
        self: &Arc<Self>,
        (profile, client): (Profile, OAuthClient),
        detached: Detached,
    ) {
        let Detached { holder, tokens } = detached;
        let manager = Arc::clone(self);
        self.tasks.spawn(self.clock.task(async move {
            let revoked = manager.revoke(&profile, &client, &tokens).await;
            match revoked {
                Ok(true) => tracing::info!(%holder, "revoked the tokens at the platform"),
                Ok(false) => tracing::info!(%holder, "the platform has no `revokeUrl`: its tokens end by themselves"),
                Err(reason) => tracing::warn!(%holder, reason, "cannot revoke the tokens: withdraw access at the platform"),
            }
        }));
    }

    /// The refresh token takes the access tokens with it; without one the access token itself. False: no address to ask.
    async fn revoke(
        &self,
        profile: &Profile,
        client: &OAuthClient,
        tokens: &Tokens,
    ) -> Result<bool, String> {
        let Some(url) = &profile.revoke_url else { return Ok(false) };
        let (token, hint) = match &tokens.refresh {
            Some(refresh) => (refresh, "refresh_token"),
            None => (&tokens.access, "access_token"),
        };
        let form = [("token", token.expose().as_str()), ("token_type_hint", hint)];
        let mut attempt = 1;
        loop {
            let recorder = wire::to_log();
            let revoked = wire::revoke(&self.egress, url, profile, client, &form, recorder).await;
            match revoked {
                Ok(()) => return Ok(true),
                Err(reason) if attempt == ATTEMPTS_MAX => return Err(reason),
                Err(_) => self.clock.rest(self.clock.sleep(WAIT_FIRST * attempt)).await,
            }
            attempt += 1;
        }
    }
}

//! Grants that die: the durable mark that stops their refreshes, the warnings before it comes to that, and the daily look
//! that keeps idle refresh tokens alive.

use super::{Error, Manager};
use crate::clock::{Clock, to_millis, to_text};
use crate::model::directory::{AuthType, ConnectorStatus};
use crate::model::notice::{Event, EventKind};
use crate::model::oauth::{Blocked, BlockedReason, Grant, Holder};
use crate::notify;
use crate::store::{self, Read, Txn, directory, grants};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const DAY_MILLIS: i64 = 86_400_000;
/// Days before the end of a refresh token at which somebody is warned.
pub const WARN_DAYS: [u32; 3] = [30, 7, 1];

/// A refresh token that ends soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    pub holder: Holder,
    pub refresh_expires_at: i64,
    /// Begun ones count; 0 when it has ended.
    pub days_left: u32,
}

/// Marks a grant, unless its tokens have been replaced since `generation`: no more refreshes until somebody acts. This is
/// the one place where a grant dies, and so the place to tell somebody.
pub fn needs_reauth(
    txn: &Txn,
    holder: &Holder,
    generation: u64,
    reason: BlockedReason,
    message: &str,
    now: i64,
) -> Result<(), store::Error> {
    let Some(mut grant) = grants::get(txn, holder)?.filter(|g| g.generation == generation) else {
        return Ok(());
    };
    if grant.blocked.as_ref().is_some_and(|blocked| blocked.reason == reason) {
        return Ok(());
    }
    tracing::warn!(%holder, ?reason, message, "no more access tokens until somebody acts");
    grant.blocked = Some(Blocked { reason, message: message.to_owned(), at: now });
    grants::put(txn, &grant)?;
    let code = match reason {
        BlockedReason::NeedsReauth => "oauth.needs-reauth",
        BlockedReason::ClientRefused => "oauth.client-refused",
    };
    let event = event(EventKind::CredentialsDead, holder, now);
    notify::raise(txn, event.fact(Event::CODE, code).fact(Event::REASON, message))
}

/// The refresh tokens of a connector and its connections that end within `days`.
pub fn expiring(grants: &[Grant], now: i64, days: u32) -> Vec<Expiring> {
    let soon = grants.iter().filter(|grant| grant.refreshable && grant.blocked.is_none());
    let soon = soon.filter_map(|grant| {
        let at = grant.refresh_expires_at?;
        let days_left = days_left(at, now);
        let holder = grant.holder.clone();
        (days_left <= days).then_some(Expiring { holder, refresh_expires_at: at, days_left })
    });
    soon.collect()
}

pub(super) fn days_left(at: i64, now: i64) -> u32 {
    let left = at.saturating_sub(now).max(0);
    u32::try_from(left.saturating_add(DAY_MILLIS - 1) / DAY_MILLIS).unwrap_or(u32::MAX)
}

impl Manager {
    /// Looks after the grants once a day, and at the start.
    pub async fn tend(self: Arc<Self>, stop: CancellationToken) {
        loop {
            // A look that takes long does not put the next one off.
            let next = tomorrow(&self.clock);
            if let Err(error) = self.look_after().await {
                tracing::warn!(%error, "cannot look after the authorizations");
            }
            let woken = async {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = self.clock.until(next) => {}
                }
            };
            self.clock.rest(woken).await;
            if stop.is_cancelled() {
                return;
            }
        }
    }

    async fn look_after(self: &Arc<Self>) -> Result<(), Error> {
        let (store, now) = (self.store.clone(), self.now());
        let live = tokio::task::spawn_blocking(move || -> Result<Vec<Grant>, store::Error> {
            let read = store.read()?;
            let mut live = Vec::new();
            for grant in grants::all(&read)? {
                if grant.blocked.is_none() && is_used(&read, &grant.holder)? {
                    live.push(grant);
                }
            }
            Ok(live)
        });
        for grant in live.await.map_err(|error| Error::inside(&error))?? {
            let idle = now.saturating_sub(grant.issued_at) >= DAY_MILLIS;
            if grant.refreshable && idle {
                // What goes wrong is told where it happens, and by the next run.
                let _ = self.keep_alive(&grant.holder).await;
            }
            self.warn(&grant.holder, now).await?;
        }
        Ok(())
    }

    /// Warns once for each of [`WARN_DAYS`].
    pub(super) async fn warn(&self, holder: &Holder, now: i64) -> Result<(), Error> {
        let holder = holder.clone();
        let warned = self.store.write(move |txn| -> Result<(), store::Error> {
            let Some(mut grant) = grants::get(txn, &holder)? else { return Ok(()) };
            let Some(soon) = expiring(std::slice::from_ref(&grant), now, WARN_DAYS[0]).pop() else {
                return Ok(());
            };
            let step = WARN_DAYS.iter().rev().find(|days| soon.days_left <= **days).copied();
            if step.is_none()
                || grant.warned_days.is_some_and(|warned| step.is_some_and(|step| warned <= step))
            {
                return Ok(());
            }
            grant.warned_days = step;
            grants::put(txn, &grant)?;
            warn_expiring(txn, &soon, now)
        });
        Ok(warned.await?)
    }
}

fn warn_expiring(txn: &Txn, soon: &Expiring, now: i64) -> Result<(), store::Error> {
    let (holder, days) = (&soon.holder, soon.days_left);
    tracing::warn!(%holder, days, "access has to be authorized again before its refresh token ends");
    let event = event(EventKind::CredentialsExpiring, holder, now);
    let until = to_text(soon.refresh_expires_at);
    notify::raise(txn, event.fact(Event::COUNT, &days.to_string()).fact(Event::UNTIL, &until))
}

fn event(kind: EventKind, holder: &Holder, now: i64) -> Event {
    let event = Event::new(kind, now).of_connector(holder.connector);
    match &holder.connection {
        Some(connection) => event.of_organization(&connection.organization),
        None => event,
    }
}

/// Whether anything still syncs with a grant.
pub(super) fn is_used(read: &dyn Read, holder: &Holder) -> Result<bool, store::Error> {
    let Some(connector) = directory::connector(read, holder.connector)? else { return Ok(false) };
    if connector.status == ConnectorStatus::Inactive || connector.auth_type != AuthType::OAuth2 {
        return Ok(false);
    }
    let Some(of) = &holder.connection else { return Ok(true) };
    let Some(organization) = directory::organization(read, &of.organization)? else {
        return Ok(false);
    };
    let connection = directory::connection(read, organization.no, of.id)?;
    Ok(connection.is_some_and(|connection| connection.disconnected_at.is_none()))
}

fn tomorrow(clock: &Clock) -> Timestamp {
    let now = clock.now();
    let next = to_millis(now).saturating_add(DAY_MILLIS);
    Timestamp::from_millisecond(next).unwrap_or(now + SignedDuration::from_hours(24))
}

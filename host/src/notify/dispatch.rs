//! The dispatcher: takes events out of the outbox, sends what is due, and keeps what became of it.
//!
//! One message at a time for each channel, so that a slow receiver delays nobody else. A receiver that fails is left
//! alone for a while that grows with its failures; a message that alone is at fault holds up no other. What a crash
//! interrupts is sent again under the same id.

use super::group::{self, Down};
use super::sink::{self, Attempt, Verdict};
use super::text::{self, Names};
use super::{Error, Options, recipients};
use crate::clock::{self, Clock, Work};
use crate::egress::Egress;
use crate::model::channel::{Channel, Delivery, DeliveryState};
use crate::model::ids::{ChannelId, DeliveryId};
use crate::model::notice::{Event, EventKind, Raised};
use crate::store::{self, Store, Txn, channels, directory, notices};
use crate::vault::Keyring;
use jiff::Timestamp;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

/// Messages on their way at once, over all channels.
const SENDS_MAX: usize = 8;
/// Due messages of one channel among which one that was not tried yet is looked for.
const LOOKED_AT_MAX: usize = 64;
/// Attempts at a message that the receiver does not want.
const REFUSED_TRIES_MAX: u32 = 5;

/// What the dispatcher stands on. Cheap to clone.
#[derive(Clone)]
pub struct Notifier {
    pub store: Store,
    pub egress: Arc<Egress>,
    pub keys: Arc<Keyring>,
    pub clock: Clock,
    /// Rung where something changed that no commit tells of.
    pub bell: Arc<Notify>,
    pub options: Arc<Options>,
}

/// What became of one attempt.
#[derive(Clone, Debug)]
pub struct Report {
    pub delivery: Delivery,
    /// What the receiver said, or why it could not be asked.
    pub words: String,
}

/// The state of the loop that does not need to survive it.
#[derive(Default)]
struct Rounds {
    sends: JoinSet<Work>,
    busy: HashMap<task::Id, ChannelId>,
}

/// Receivers that did not take the last message, by channel.
type Outages = Arc<std::sync::Mutex<HashMap<ChannelId, Down>>>;

impl Notifier {
    /// Works until `stop`; what is on its way then gets a moment to arrive.
    pub async fn work(self, stop: CancellationToken) {
        let (mut rounds, outages) = (Rounds::default(), Outages::default());
        // An event is raised in a commit, and a channel is changed in one.
        let mut commits = self.store.commits();
        while !stop.is_cancelled() {
            let next = match self.round(&mut rounds, &outages).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "notices cannot be dispatched");
                    None
                }
            };
            let woken = async {
                tokio::select! {
                    () = stop.cancelled() => None,
                    () = self.bell.notified() => None,
                    Ok(()) = commits.changed() => None,
                    Some(ended) = rounds.sends.join_next_with_id() => Some(ended),
                    () = self.until(next) => None,
                }
            };
            if let Some(ended) = self.clock.rest(woken).await {
                rounds.note(ended);
            }
        }
        let ended = async { while rounds.sends.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(self.options.drain_max, ended).await;
    }

    async fn until(&self, next: Option<i64>) {
        match next.and_then(|at| Timestamp::from_millisecond(at).ok()) {
            Some(at) => self.clock.until(at).await,
            None => std::future::pending().await,
        }
    }

    fn now(&self) -> i64 {
        clock::to_millis(self.clock.now())
    }

    fn window(&self) -> i64 {
        i64::try_from(self.options.window.as_millis()).unwrap_or(i64::MAX)
    }

    /// Routes what waits and starts what is due; answers when the next message is due.
    async fn round(
        &self,
        rounds: &mut Rounds,
        outages: &Outages,
    ) -> Result<Option<i64>, store::Error> {
        while notices::any_raised(&self.store.read()?)? {
            let (now, window) = (self.now(), self.window());
            self.store.write(move |txn| group::route(txn, now, window)).await?;
        }
        let (due, next) = self.due(rounds)?;
        for (id, channel) in due {
            let (now, window) = (self.now(), self.window());
            let down = lock(outages).get(&channel).copied();
            let sealed = self.store.write(move |txn| group::seal(txn, id, down, now, window));
            let Some((delivery, channel)) = sealed.await? else { continue };
            let (notifier, outages) = (self.clone(), Arc::clone(outages));
            let id = channel.id;
            let work = self.clock.work();
            let send = async move {
                notifier.one(delivery, channel, &outages).await;
                work
            };
            rounds.busy.insert(rounds.sends.spawn(send).id(), id);
        }
        Ok(next)
    }

    /// One due message for each channel that is not busy, and when the next one is due.
    #[allow(clippy::type_complexity, reason = "a list and a time")]
    fn due(
        &self,
        rounds: &Rounds,
    ) -> Result<(Vec<(DeliveryId, ChannelId)>, Option<i64>), store::Error> {
        let (now, read) = (self.now(), self.store.read()?);
        let (mut due, mut next) = (Vec::<(ChannelId, Vec<DeliveryId>)>::new(), None);
        let room = SENDS_MAX.saturating_sub(rounds.sends.len());
        channels::scan_due(&read, &mut |at, id, channel| {
            if at > now {
                next = Some(at);
                return ControlFlow::Break(());
            }
            let has_room = due.len() < room;
            match due.iter_mut().find(|(other, _)| *other == channel) {
                Some((_, ids)) if ids.len() < LOOKED_AT_MAX => ids.push(id),
                None if has_room && !rounds.busy.values().any(|busy| *busy == channel) => {
                    due.push((channel, vec![id]));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        let mut chosen = Vec::with_capacity(due.len());
        for (channel, ids) in due {
            chosen.extend(untried_first(&read, &ids)?.map(|id| (id, channel)));
        }
        Ok((chosen, next))
    }

    async fn one(self, delivery: Delivery, channel: Channel, outages: &Outages) {
        let id = delivery.id;
        let kept = match self.attempt(delivery, &channel).await {
            Ok((delivery, verdict)) => self.keep(delivery, &verdict).await.map(|_| verdict),
            Err(error) => Err(error),
        };
        match kept {
            Ok(verdict) => {
                let (mut outages, now) = (lock(outages), self.now());
                let before = outages.get(&channel.id).copied();
                let random = self.clock.chance(&format!("{} {now}", channel.id));
                match outage(before, &channel, &verdict, &self.options, random, now) {
                    Some(down) => outages.insert(channel.id, down),
                    None => outages.remove(&channel.id),
                };
            }
            Err(error) => tracing::error!(%error, notice = %id, "a notice is lost from sight"),
        }
    }

    /// One attempt; answers the message with what it cost, and the verdict.
    async fn attempt(
        &self,
        mut delivery: Delivery,
        channel: &Channel,
    ) -> Result<(Delivery, Verdict), Error> {
        let read = self.store.read()?;
        let names = names(&read, &delivery)?;
        let to = match &delivery.audience {
            Some(organization) => Some(recipients::admins_of(&read, organization.no)?),
            None => None,
        };
        let secret = sink::secret(&read, &self.keys, channel);
        drop(read);
        let message = text::message(&delivery, &names, &self.options.public_url);
        let id = format!("{}_{}", delivery.id, delivery.created_at);
        let attempt = Attempt {
            channel: channel.id,
            message: &message,
            id: &id,
            created_at: delivery.created_at,
            now: self.now(),
            to: to.as_deref(),
            tries: delivery.attempts,
            timeout: self.options.send_max,
        };
        let begun = Instant::now();
        let verdict = match secret {
            Ok(secret) => sink::send(&self.egress, channel, secret.as_ref(), &attempt).await,
            Err(error) => Verdict::Retry { reason: error.to_string(), after: None },
        };
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        delivery.latency_millis = Some(millis);
        delivery.attempts = delivery.attempts.saturating_add(1);
        delivery.subject = Some(message.subject);
        Ok((delivery, verdict))
    }

    /// Writes what became of an attempt, in one transaction.
    async fn keep(&self, delivery: Delivery, verdict: &Verdict) -> Result<Report, Error> {
        let (now, options, verdict) = (self.now(), Arc::clone(&self.options), verdict.clone());
        let random = self.clock.chance(&format!("{} {}", delivery.id, delivery.attempts));
        let kept = self.store.write(move |txn| -> Result<Report, store::Error> {
            let mut delivery = delivery.clone();
            let words = note(txn, &mut delivery, &verdict, &options, random, now)?;
            channels::put_delivery(txn, &delivery)?;
            Ok(Report { delivery, words })
        });
        let report = kept.await?;
        let Delivery { id, channel, state, attempts, .. } = &report.delivery;
        if *state == DeliveryState::Sent {
            tracing::info!(notice = %id, %channel, attempts, "a notice was delivered");
        } else {
            tracing::warn!(notice = %id, %channel, attempts, state = state.as_str(), reason = report.words, "a notice was not delivered");
        }
        Ok(report)
    }

    /// Sends a test message now, once, also over a channel that is switched off.
    pub async fn test(&self, channel: Channel, by: &str) -> Result<Report, Error> {
        let id = self.store.write(channels::next_delivery_id).await?;
        let now = self.now();
        let mut delivery = Delivery::new(id, &channel, None, now);
        let reason = format!("{by} pressed the test button");
        let mut event = Event::new(EventKind::ChannelTest, now).fact(Event::REASON, &reason);
        event.organization = channel.organization.as_ref().map(|own| own.id.clone());
        delivery.add(Raised { event, times: 1 });
        delivery.first_attempt_at = Some(now);
        let (delivery, verdict) = self.attempt(delivery, &channel).await?;
        let now = self.now();
        let report = self.store.write(move |txn| -> Result<Report, store::Error> {
            let mut delivery = delivery.clone();
            let (state, words) = match &verdict {
                Verdict::Sent { answer } => {
                    delivery.answer = Some(answer.clone());
                    (DeliveryState::Sent, answer)
                }
                Verdict::Retry { reason, .. }
                | Verdict::Refused { reason }
                | Verdict::Gone { reason } => {
                    delivery.last_error = Some(reason.clone());
                    (DeliveryState::Failed, reason)
                }
            };
            delivery.end(state, now);
            channels::put_delivery(txn, &delivery)?;
            Ok(Report { delivery, words: words.clone() })
        });
        Ok(report.await?)
    }
}

impl Rounds {
    fn note(&mut self, ended: Result<(task::Id, Work), task::JoinError>) {
        match ended {
            Ok((id, _)) => drop(self.busy.remove(&id)),
            Err(panic) => {
                self.busy.remove(&panic.id());
                tracing::error!(%panic, "sending a notice ended unexpectedly");
            }
        }
    }
}

fn lock(outages: &Outages) -> std::sync::MutexGuard<'_, HashMap<ChannelId, Down>> {
    outages.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The message that goes out next of those that are due: one that was tried already waits for those that were not, so
/// that it cannot keep them back for ever.
pub(super) fn untried_first(
    read: &dyn store::Read,
    ids: &[DeliveryId],
) -> Result<Option<DeliveryId>, store::Error> {
    for id in ids {
        if channels::delivery(read, *id)?.is_none_or(|delivery| !delivery.was_tried()) {
            return Ok(Some(*id));
        }
    }
    Ok(ids.first().copied())
}

/// How long a receiver is left alone behind an attempt. What a message is refused for says nothing of the receiver.
pub(super) fn outage(
    before: Option<Down>,
    channel: &Channel,
    verdict: &Verdict,
    options: &Options,
    random: u32,
    now: i64,
) -> Option<Down> {
    let before = before.filter(|down| down.version == channel.version);
    match verdict {
        Verdict::Sent { .. } | Verdict::Gone { .. } => None,
        Verdict::Refused { .. } => before,
        Verdict::Retry { after, .. } => {
            let failures = before.map_or(0, |down| down.failures).saturating_add(1);
            let until = now.saturating_add(wait_millis(options, failures, *after, random));
            Some(Down { until, version: channel.version, failures })
        }
    }
}

fn wait_millis(options: &Options, failures: u32, after: Option<Duration>, random: u32) -> i64 {
    let own = options.retry.wait(failures, random);
    let wait = after.map_or(own, |after| after.max(own)).as_millis();
    i64::try_from(wait).unwrap_or(i64::MAX)
}

/// Moves a message to its next state; answers the receiver's words.
pub(super) fn note(
    txn: &Txn,
    delivery: &mut Delivery,
    verdict: &Verdict,
    options: &Options,
    random: u32,
    now: i64,
) -> Result<String, store::Error> {
    match verdict {
        Verdict::Sent { answer } => {
            delivery.answer = Some(answer.clone());
            delivery.end(DeliveryState::Sent, now);
            Ok(answer.clone())
        }
        Verdict::Gone { reason } => {
            delivery.last_error = Some(reason.clone());
            delivery.end(DeliveryState::Failed, now);
            if let Some(mut channel) = channels::channel(txn, delivery.channel)? {
                channel.enabled = false;
                channel.disabled_reason = Some(format!("the receiver answered {reason}"));
                channel.version += 1;
                channels::put_channel(txn, &channel)?;
            }
            Ok(reason.clone())
        }
        Verdict::Refused { reason } if delivery.attempts >= REFUSED_TRIES_MAX => {
            delivery.last_error = Some(reason.clone());
            delivery.end(DeliveryState::Failed, now);
            Ok(reason.clone())
        }
        Verdict::Refused { reason } => Ok(put_off(delivery, reason, None, options, random, now)),
        Verdict::Retry { reason, after } => {
            Ok(put_off(delivery, reason, *after, options, random, now))
        }
    }
}

/// Until it is tried again; or gives it up where that would be too late.
fn put_off(
    delivery: &mut Delivery,
    reason: &str,
    after: Option<Duration>,
    options: &Options,
    random: u32,
    now: i64,
) -> String {
    delivery.last_error = Some(reason.to_owned());
    let due = now.saturating_add(wait_millis(options, delivery.attempts, after, random));
    let begun = delivery.first_attempt_at.unwrap_or(now);
    let last = i64::try_from(options.retry_for.as_millis()).unwrap_or(i64::MAX);
    if due > begun.saturating_add(last) {
        delivery.end(DeliveryState::Failed, now);
    } else {
        delivery.due_at = Some(due);
    }
    reason.to_owned()
}

/// The names of the rows that a message's events are about.
fn names(read: &dyn store::Read, delivery: &Delivery) -> Result<Names, store::Error> {
    let mut names = Names::default();
    for event in &delivery.events {
        if let Some(id) = &event.organization
            && let Some(row) = directory::organization(read, id)?
        {
            names.organizations.insert(id.clone(), row.name);
        }
        if let Some(id) = event.connector
            && let Some(row) = directory::connector(read, id)?
        {
            names.connectors.insert(id.to_string(), row.name);
        }
    }
    Ok(names)
}

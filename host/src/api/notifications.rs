//! `/notifications`: channels by which people are told, and the log of what was told.

use super::access::Reach;
use super::answer::Answer;
use super::audit::Act;
use super::etag::{IfMatch, tagged};
use super::notification_body::{self as body, SecretChange};
use super::paging::{Gathered, Parameters, Query, page_of};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller, organizations};
use crate::clock;
use crate::model::access::OrgKey;
use crate::model::channel::{Channel, Delivery, QuietHours, Sink};
use crate::model::ids::{ChannelId, DeliveryId};
use crate::model::notice::EventKind;
use crate::notify;
use crate::store::{Read, Txn, channels};
use crate::vault::Keyring;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};
use std::sync::Arc;

const KINDS: [&str; 3] = ["email", "slack", "webhook"];
const STATES: [&str; 5] = ["collecting", "pending", "sent", "failed", "cancelled"];
/// Channels of one installation: every event looks at all of them.
const CHANNELS_MAX: usize = 500;

fn row(channel: &Channel) -> Value {
    let secret = json!({
        "set": channel.secret_updated_at.is_some(),
        "updatedAt": channel.secret_updated_at.map(clock::to_text),
    });
    let config = match &channel.sink {
        Sink::Email(mail) => json!({
            "host": mail.host,
            "port": mail.port,
            "tls": mail.tls,
            "username": mail.username,
            "password": secret,
            "from": mail.from,
            "to": mail.to,
        }),
        Sink::Slack => json!({ "url": secret }),
        Sink::Webhook { url } => json!({ "url": url, "secret": secret }),
    };
    json!({
        "id": channel.id,
        "name": channel.name,
        "kind": channel.sink.kind(),
        "enabled": channel.enabled,
        "disabledReason": channel.disabled_reason,
        "organizationId": channel.organization.as_ref().map(|own| &own.id),
        "events": channel.events,
        "quietHours": channel.quiet_hours,
        "config": config,
        "createdAt": clock::to_text(channel.created_at),
        "updatedAt": clock::to_text(channel.updated_at),
        "version": channel.version,
    })
}

fn delivery_row(delivery: &Delivery) -> Value {
    let of = delivery.audience.as_ref().or(delivery.organization.as_ref());
    json!({
        "id": delivery.id,
        "channelId": delivery.channel,
        "organizationId": of.map(|organization| &organization.id),
        "toAdmins": delivery.audience.is_some(),
        "state": delivery.state,
        "events": delivery.kinds(),
        "eventCount": delivery.total(),
        "subject": delivery.subject,
        "attempts": delivery.attempts,
        "nextAttemptAt": delivery.due_at.map(clock::to_text),
        "lastError": delivery.last_error,
        "answer": delivery.answer,
        "latencyMs": delivery.latency_millis,
        "createdAt": clock::to_text(delivery.created_at),
        "endedAt": delivery.ended_at.map(clock::to_text),
    })
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no channel {id:?}"))
}

/// The channel, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<Channel, Problem> {
    let number: ChannelId = id.parse().map_err(|_| missing(id))?;
    channels::channel(read, number)?.ok_or_else(|| missing(id))
}

/// Whether a caller reaches a channel: those of the whole installation are for who reaches all of it.
pub(super) fn seen(reach: Reach, channel: &Channel) -> bool {
    match reach {
        Reach::All => true,
        Reach::One(own) => channel.belongs_to(own),
    }
}

/// Channels by which people are told.
#[utoipa::path(
    get, path = "/notifications/channels", tag = "notifications",
    params(schema::ChannelFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Channel>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["organization", "kind"])?;
    let (organization, kind) =
        (query.get("organization").map(str::to_owned), query.word("kind", &KINDS)?);
    let (rows, org) = api
        .read(move |read, _| {
            let org = caller.reach().narrow(read, organization.as_deref())?;
            Ok((channels::channels(read)?, org))
        })
        .await?;
    let kept = rows.iter().filter(|channel| {
        org.is_none_or(|org| channel.belongs_to(org))
            && kind.is_none_or(|wanted| channel.sink.kind() == wanted)
    });
    page_of(kept.map(row).collect(), &query)
}

/// One channel, without its secret.
#[utoipa::path(
    get, path = "/notifications/channels/{id}", tag = "notifications",
    responses((status = 200, body = schema::Channel))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = api.read(move |read, _| find(read, &id)).await?;
    Ok(tagged(found.version, row(&found)))
}

/// Creates a channel.
#[utoipa::path(
    post, path = "/notifications/channels", tag = "notifications",
    request_body = schema::NewChannel,
    responses(
        (status = 201, body = schema::Channel),
        (status = 409, description = "`channel.too-many`"),
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let wanted = body::read(&bytes, true)?;
    wanted.check_address(&api.deps.egress)?;
    let (now, keys) = (api.now(), Arc::clone(&api.deps.keys));
    api.commit(move |txn| {
        let organization = owner(txn, caller.reach(), wanted.organization.as_deref())?;
        if channels::channels(txn)?.len() >= CHANNELS_MAX {
            let detail = format!("there are {CHANNELS_MAX} channels already: delete one");
            return Err(Problem::conflict("channel.too-many", detail));
        }
        let mut channel = Channel {
            id: channels::next_channel_id(txn)?,
            name: String::new(),
            enabled: true,
            disabled_reason: None,
            organization,
            events: None,
            quiet_hours: None,
            sink: body::blank(wanted.kind.as_deref().unwrap_or_default()),
            secret_updated_at: None,
            created_at: now,
            updated_at: now,
            version: 0,
        };
        apply(txn, &keys, &mut channel, &wanted, now)?;
        let act = Act::new("createChannel", channel.id).of_key(channel.organization.clone());
        caller.log(txn, act.with(row(&channel)))?;
        Ok(Answer::created(channel.version, row(&channel)))
    })
    .await
}

/// Whose a new channel is: of who reaches one organization only, that one's.
fn owner(read: &dyn Read, reach: Reach, named: Option<&str>) -> Result<Option<OrgKey>, Problem> {
    let Some(id) = named else {
        return match reach {
            Reach::All => Ok(None),
            Reach::One(_) => {
                let message = "is missing: a channel for everything takes a platformAdmin";
                Err(Problem::invalid_at("/organizationId", message))
            }
        };
    };
    let found = reach.organization(read, id).map_err(|_| {
        Problem::invalid_at("/organizationId", format!("there is no organization {id:?}"))
    })?;
    Ok(Some(OrgKey { id: found.id, no: found.no }))
}

/// Changes a channel.
#[utoipa::path(
    patch, path = "/notifications/channels/{id}", tag = "notifications",
    request_body = schema::ChannelChange,
    responses((status = 200, body = schema::Channel))
)]
pub(super) async fn update(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let named = id.clone();
    api.read(move |read, _| find(read, &named)).await?;
    let if_match = IfMatch::required(&headers)?;
    let wanted = body::read(&bytes, false)?;
    wanted.check_address(&api.deps.egress)?;
    let (now, keys) = (api.now(), Arc::clone(&api.deps.keys));
    let updated = api
        .deps
        .store
        .write(move |txn| -> Result<Channel, Problem> {
            let mut channel = find(txn, &id)?;
            if_match.check(channel.version)?;
            let before = row(&channel);
            apply(txn, &keys, &mut channel, &wanted, now)?;
            channels::hurry(txn, channel.id, now)?;
            let act = Act::new("updateChannel", channel.id).of_key(channel.organization.clone());
            caller.log(txn, act.changed(&before, &row(&channel)))?;
            Ok(channel)
        })
        .await?;
    api.deps.notices.notify_one();
    Ok(tagged(updated.version, row(&updated)))
}

/// Lays the body over the channel and writes it.
fn apply(
    txn: &Txn,
    keys: &Keyring,
    channel: &mut Channel,
    wanted: &body::Wanted,
    now: i64,
) -> Result<(), Problem> {
    if let Some(config) = &wanted.config {
        match body::configure(channel, config.clone())? {
            SecretChange::Keep => {}
            SecretChange::Clear => {
                notify::delete_secret(txn, channel)?;
                channel.secret_updated_at = None;
            }
            SecretChange::Set(secret) => {
                notify::put_secret(txn, keys, channel, &secret, now)
                    .map_err(|error| Problem::internal(&error))?;
                channel.secret_updated_at = Some(now);
            }
        }
    }
    if let Some(name) = &wanted.name {
        channel.name.clone_from(name);
    }
    if let Some(enabled) = wanted.enabled {
        channel.enabled = enabled;
        channel.disabled_reason = None;
    }
    if let Some(events) = &wanted.events {
        channel.events.clone_from(events);
    }
    if let Some(hours) = &wanted.quiet_hours {
        let zone = match &channel.organization {
            Some(own) => organizations::find(txn, &own.id)?.timezone,
            None => "UTC".to_owned(),
        };
        channel.quiet_hours = hours.clone().map(|(from, to, timezone)| {
            let timezone = timezone.unwrap_or(zone);
            QuietHours { from, to, timezone }
        });
    }
    channel.updated_at = now;
    channel.version += 1;
    Ok(channels::put_channel(txn, channel)?)
}

/// Deletes a channel; messages on their way end as cancelled.
#[utoipa::path(
    delete, path = "/notifications/channels/{id}", tag = "notifications",
    responses((status = 204, description = "It is gone"))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let named = id.clone();
    api.read(move |read, _| find(read, &named)).await?;
    let if_match = IfMatch::required(&headers)?;
    let now = api.now();
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let channel = find(txn, &id)?;
            if_match.check(channel.version)?;
            let act = Act::new("deleteChannel", channel.id).of_key(channel.organization.clone());
            caller.log(txn, act.removed(row(&channel)))?;
            channels::hurry(txn, channel.id, now)?;
            notify::delete_secret(txn, &channel)?;
            Ok(channels::delete_channel(txn, channel.id)?)
        })
        .await?;
    api.deps.notices.notify_one();
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sends a message now; a refusal is an answer, not an error.
#[utoipa::path(
    post, path = "/notifications/channels/{id}/test", tag = "notifications",
    responses((status = 200, body = schema::ChannelTest))
)]
pub(super) async fn test(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let channel = api.read(move |read, _| find(read, &id)).await?;
    let act = Act::new("testChannel", channel.id).of_key(channel.organization.clone());
    caller.clone().log_alone(&api, act).await?;
    let report = api.notifier.test(channel, &caller.name).await;
    let report = report.map_err(|error| Problem::internal(&error))?;
    let error = &report.delivery.last_error;
    Ok(Json(json!({
        "ok": error.is_none(),
        "deliveryId": report.delivery.id,
        "latencyMs": report.delivery.latency_millis,
        "answer": report.delivery.answer,
        "error": error,
    })))
}

/// What was told, newest first.
#[utoipa::path(
    get, path = "/notifications/deliveries", tag = "notifications",
    params(schema::DeliveryFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Delivery>))
)]
pub(super) async fn deliveries(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["organization", "channel", "state", "event"])?;
    let (mut found, before) = (Gathered::new(query.limit()?), query.cursor::<DeliveryId>()?);
    let channel = query.parsed::<ChannelId>("channel", "the id of a channel")?;
    let event = query.parsed::<EventKind>("event", "a kind of event such as `runFailed`")?;
    let organization = query.get("organization").map(str::to_owned);
    let state = query.word("state", &STATES)?.map(str::to_owned);
    api.read(move |read, _| {
        let reach = caller.reach();
        let org = reach.narrow(read, organization.as_deref())?;
        channels::scan_newest(read, channel, before, &mut |delivery| {
            // What a platform's channel wrote to an organization's admins shows the platform's mail server.
            let to_admins = delivery.audience.iter().filter(|_| reach == Reach::All);
            let mut owners = delivery.organization.iter().chain(to_admins);
            let ours = org.is_none_or(|org| owners.any(|owner| owner.no == org));
            let state = state.as_ref().is_none_or(|wanted| wanted == delivery.state.as_str());
            let wanted =
                ours && state && event.is_none_or(|event| delivery.kinds().contains(&event));
            found.offer(delivery.id, delivery, wanted)
        })?;
        query.page(found, |delivery| Ok(delivery_row(&delivery)))
    })
    .await
}

//! Requests to a platform's token and revocation endpoints, and the reading of what they answer, which is not trusted:
//! sizes, forms and types are checked, and nothing of an answer is told before the secrets in it are masked.

use super::profile::Profile;
use crate::backoff;
use crate::clock;
use crate::credentials::OAuthClient;
use crate::egress::{Auth, Egress, Limits, Origin, Pace, Recorder, RunSettings};
use crate::model::http::{HttpFailure, HttpRequest, HttpResponse, Outbound};
use crate::model::manifest::ClientAuth;
use crate::vault::Secret;
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use url::Url;
use url::form_urlencoded::{self, byte_serialize};
use zeroize::Zeroizing;

/// No honest answer of a token endpoint is larger.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// A token is sent in a header, whose size servers limit.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// A longer life is a slip of the platform's, such as milliseconds.
const LIFE_SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;
const DESCRIPTION_CHARS_MAX: usize = 200;
const CODE_CHARS_MAX: usize = 64;
/// Shorter texts would also be found where nobody repeated them.
const MASKED_BYTES_MIN: usize = 4;

/// What a token endpoint gave.
pub(super) struct Issued {
    pub(super) access: Arc<Secret<String>>,
    /// None: the one in use stays.
    pub(super) refresh: Option<Arc<Secret<String>>>,
    pub(super) life_millis: Option<i64>,
    pub(super) refresh_life_millis: Option<i64>,
    pub(super) scope: Option<String>,
}

/// Why a token endpoint gave nothing, by what to do next. The texts hold no secret.
pub(super) enum Refused {
    /// What was presented (code or refresh token) is worth nothing any more.
    Dead(String),
    /// The platform does not accept the client, or the request as this connector makes it.
    Client(String),
    /// It can pass: try again, after this long where the platform said so.
    Unavailable(String, Option<Duration>),
    /// The answer is no token answer. It may have held a new refresh token all the same.
    Lie(String, Option<Arc<Secret<String>>>),
    /// The host does not send it.
    Denied(String),
}

/// One request to the token endpoint. `form` holds everything but the client; the values may be secret.
pub(super) async fn ask(
    egress: &Arc<Egress>,
    profile: &Profile,
    client: &OAuthClient,
    form: &[(&str, &str)],
    recorder: Recorder,
    now: Timestamp,
) -> Result<Issued, Refused> {
    let answer = post(egress, &profile.token_url, profile.client_auth, client, form, recorder);
    let answer = answer.await.map_err(|failure| match failure {
        HttpFailure::Denied(reason) => Refused::Denied(reason),
        HttpFailure::TooLarge(_) => Refused::Lie(failure.to_string(), None),
        other => Refused::Unavailable(other.to_string(), None),
    })?;
    let is_secret =
        |pair: &&(&str, &str)| matches!(pair.0, "code" | "code_verifier" | "refresh_token");
    let mut secrets: Vec<&str> = form.iter().filter(is_secret).map(|pair| pair.1).collect();
    secrets.push(client.secret.expose());
    let wait = header(&answer, "retry-after").and_then(|value| backoff::retry_after(value, now));
    read(answer.status, &answer.body, wait, &secrets)
}

/// Asks the platform to forget a token (RFC 7009). The error is for the log and holds no secret.
pub(super) async fn revoke(
    egress: &Arc<Egress>,
    url: &Url,
    profile: &Profile,
    client: &OAuthClient,
    form: &[(&str, &str)],
    recorder: Recorder,
) -> Result<(), String> {
    match post(egress, url, profile.client_auth, client, form, recorder).await {
        Ok(answer) if answer.status == 200 || answer.status == 204 => Ok(()),
        Ok(answer) => Err(format!("the platform answers {}", answer.status)),
        Err(failure) => Err(failure.to_string()),
    }
}

async fn post(
    egress: &Arc<Egress>,
    url: &Url,
    client_auth: ClientAuth,
    client: &OAuthClient,
    form: &[(&str, &str)],
    recorder: Recorder,
) -> Result<HttpResponse, HttpFailure> {
    let (auth, body) = authenticated(client_auth, client, form);
    let origin = Origin::of(url).ok_or_else(|| HttpFailure::Denied(format!("{url} is no URL")))?;
    let way = egress.run(RunSettings {
        base_url: url.clone(),
        granted: vec![origin],
        methods: vec![Method::POST],
        auth,
        // Pauses between refreshes are kept by grant: what is asked here is meant.
        pace: Pace {
            credential: format!("oauth/{}", client.id).into(),
            requests_per_minute: None,
            tries_pauses: true,
        },
        limits: Limits {
            response_bytes_max: ANSWER_BYTES_MAX,
            run_bytes_max: ANSWER_BYTES_MAX * 2,
            redirects_max: 0,
            ..egress.limits()
        },
        cancel: CancellationToken::new(),
        recorder,
    });
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    way.send(HttpRequest {
        method: "POST".to_owned(),
        url: url.to_string(),
        headers: vec![
            header("accept", "application/json"),
            header("content-type", "application/x-www-form-urlencoded"),
        ],
        body: Some(body.as_bytes().to_vec()),
        idempotency: None,
    })
    .await
}

/// The client's proof and the body, which holds the proof where the platform wants it there; never in both places.
fn authenticated(
    client_auth: ClientAuth,
    client: &OAuthClient,
    form: &[(&str, &str)],
) -> (Auth, Zeroizing<String>) {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    let auth = match client_auth {
        // RFC 6749, 2.3.1: both parts are form-encoded before they become a Basic header.
        ClientAuth::Basic => Auth::Basic {
            user: encoded(&client.id),
            password: Secret::new(encoded(client.secret.expose())),
        },
        ClientAuth::Post => {
            body.append_pair("client_id", &client.id);
            body.append_pair("client_secret", client.secret.expose());
            Auth::None
        }
    };
    (auth, Zeroizing::new(body.finish()))
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

fn header<'a>(answer: &'a HttpResponse, name: &str) -> Option<&'a str> {
    let found = answer.headers.iter().find(|(header, _)| header == name);
    found.map(|(_, value)| value.as_str())
}

/// What an answer means. Pure.
fn read(
    status: u16,
    body: &[u8],
    wait: Option<Duration>,
    secrets: &[&str],
) -> Result<Issued, Refused> {
    let members = members(body);
    let text = |name: &str| members.as_ref().and_then(|m| m.get(name)).and_then(Value::as_str);
    if status == 429 || status >= 500 {
        return Err(Refused::Unavailable(format!("the platform answers {status}"), wait));
    }
    if let Some(code) = text("error") {
        let words = words(code, text("error_description"), secrets);
        return Err(match code {
            "invalid_grant" | "consent_required" | "interaction_required" | "login_required" => {
                Refused::Dead(words)
            }
            "temporarily_unavailable" | "server_error" | "slow_down" => {
                Refused::Unavailable(words, wait)
            }
            _ => Refused::Client(words),
        });
    }
    if !(200..300).contains(&status) {
        let reason = format!("the platform answers {status} without a reason");
        return Err(Refused::Lie(reason, None));
    }
    let Some(members) = members else {
        return Err(Refused::Lie("the platform's answer is no token answer".to_owned(), None));
    };
    issued(&members)
}

/// A JSON object, or the form encoding that some platforms still answer with.
fn members(body: &[u8]) -> Option<Map<String, Value>> {
    if let Ok(Value::Object(members)) = serde_json::from_slice(body) {
        return Some(members);
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    let is_form = text.starts_with("access_token=") || text.contains("&access_token=");
    let is_form = is_form || text.starts_with("error=");
    is_form.then(|| {
        let pairs = form_urlencoded::parse(text.as_bytes());
        pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()
    })
}

fn issued(members: &Map<String, Value>) -> Result<Issued, Refused> {
    let token = |name: &str| {
        let text = members.get(name).and_then(Value::as_str).filter(|text| is_token(text));
        text.map(|text| Arc::new(Secret::new(text.to_owned())))
    };
    let refresh = token("refresh_token");
    let lie = |reason: &str| Err(Refused::Lie(reason.to_owned(), refresh.clone()));
    let Some(access) = token("access_token") else {
        return lie("the platform's answer has no usable access_token");
    };
    let kind = members.get("token_type").filter(|kind| !kind.is_null());
    if kind.is_some_and(|kind| !kind.as_str().is_some_and(|k| k.eq_ignore_ascii_case("bearer"))) {
        return lie("the platform's answer has a token_type other than Bearer");
    }
    let refresh_life = ["x_refresh_token_expires_in", "refresh_token_expires_in"]
        .iter()
        .chain(&["refresh_expires_in"])
        .find_map(|name| life_millis(members.get(*name)));
    Ok(Issued {
        access,
        refresh,
        life_millis: life_millis(members.get("expires_in")),
        refresh_life_millis: refresh_life,
        scope: members.get("scope").and_then(Value::as_str).map(str::to_owned),
    })
}

/// Whether it can stand in a header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= TOKEN_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Seconds, as a number or as a text of one. What is no positive number says nothing: the token is used until it is
/// refused.
fn life_millis(value: Option<&Value>) -> Option<i64> {
    let seconds = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    let known = seconds.is_finite() && seconds > 0.0;
    known.then(|| (seconds.min(LIFE_SECONDS_MAX) * 1000.0) as i64)
}

/// The platform's code and description for people: short, on one line, without the secrets that it was sent.
fn words(code: &str, description: Option<&str>, secrets: &[&str]) -> String {
    let code = clean(code, secrets, CODE_CHARS_MAX);
    match description.map(|text| clean(text, secrets, DESCRIPTION_CHARS_MAX)) {
        Some(text) if !text.is_empty() => format!("{code} ({text})"),
        _ => code,
    }
}

/// A text of the platform's as it may be shown.
pub(super) fn clean(text: &str, secrets: &[&str], chars_max: usize) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= MASKED_BYTES_MIN) {
        text = text.replace(secret, "***").replace(&encoded(secret), "***");
    }
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(chars_max).collect::<String>().trim().to_owned()
}

/// Token requests that belong to no run leave a line in the log.
pub(super) fn to_log() -> Recorder {
    Arc::new(|line| {
        let at = clock::to_text(line.at);
        let (status, failure) = (line.status, line.failure);
        tracing::debug!(%at, url = line.url, ?status, failure, "a request of OAuth");
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

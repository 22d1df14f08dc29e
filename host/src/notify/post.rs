//! Chat and webhooks: one POST through egress, which checks where it goes. Owns the signature of outgoing webhooks,
//! as Standard Webhooks define it.

use super::sink::{Attempt, Attempted, Verdict};
use crate::backoff;
use crate::egress::{Auth, Egress, Limits, Origin, Pace, RunSettings};
use crate::model::http::{HttpRequest, HttpResponse, Outbound};
use crate::vault::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::json;
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use url::Url;

/// What signing secrets begin with; the rest is the key in base64.
pub(super) const SECRET_PREFIX: &str = "whsec_";
/// Of a signing key, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Of a receiver's answer, in bytes: more than anybody reads.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// The key of a signing secret such as `whsec_AQIDBA...`; none unless it is 24 to 64 bytes in base64.
pub fn signing_key(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
    KEY_BYTES.contains(&key.len()).then_some(key)
}

/// `v1,` and the base64 of the HMAC over id, time in seconds and body.
fn signature(key: &[u8], id: &str, seconds: i64, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

pub(super) async fn webhook(
    egress: &Arc<Egress>,
    url: &str,
    secret: Option<&Secret<String>>,
    attempt: &Attempt<'_>,
) -> Attempted {
    let Some(key) = secret.and_then(|secret| signing_key(secret.expose())) else {
        return Attempted::retry("the channel has no usable secret: set it again".to_owned());
    };
    let message = attempt.message;
    let body = json!({
        "type": "syncline.notification",
        "timestamp": crate::clock::to_text(attempt.created_at),
        "data": message.data,
    });
    let (body, seconds) = (body.to_string(), attempt.now / 1_000);
    let Some(signature) = signature(&key, attempt.id, seconds, &body) else {
        return Attempted::retry("the message cannot be signed".to_owned());
    };
    let headers = vec![
        ("webhook-id".to_owned(), attempt.id.to_owned()),
        ("webhook-timestamp".to_owned(), seconds.to_string()),
        ("webhook-signature".to_owned(), signature),
    ];
    send(egress, url, headers, body, attempt).await
}

pub(super) async fn slack(
    egress: &Arc<Egress>,
    url: Option<&Secret<String>>,
    attempt: &Attempt<'_>,
) -> Attempted {
    let Some(url) = url else {
        return Attempted::retry("the channel has no address: set `config.url` again".to_owned());
    };
    let text = format!("{}\n\n{}", attempt.message.subject, attempt.message.text);
    let body = json!({ "text": escaped(&text), "mrkdwn": false });
    send(egress, url.expose(), Vec::new(), body.to_string(), attempt).await
}

/// The three characters that mean something in such a message.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

async fn send(
    egress: &Arc<Egress>,
    url: &str,
    mut headers: Vec<(String, String)>,
    body: String,
    attempt: &Attempt<'_>,
) -> Attempted {
    // The address may be the secret: what is wrong with it is said without it.
    let Some((url, origin)) = Url::parse(url).ok().and_then(|url| {
        let origin = Origin::of(&url)?;
        Some((url, origin))
    }) else {
        return Attempted::retry("the channel's address is no http or https address".to_owned());
    };
    headers.push(("content-type".to_owned(), "application/json".to_owned()));
    let client = egress.run(RunSettings {
        base_url: url.clone(),
        granted: vec![origin],
        methods: vec![http::Method::POST],
        auth: Auth::None,
        // Waits between attempts are the dispatcher's; a pause that a receiver asked for is over by then.
        pace: Pace {
            credential: attempt.channel.to_string().into(),
            requests_per_minute: None,
            tries_pauses: true,
        },
        limits: Limits {
            response_bytes_max: ANSWER_BYTES_MAX,
            request_timeout: attempt.timeout,
            ..egress.limits()
        },
        cancel: CancellationToken::new(),
        // The log of notices says what became of it; a line would hold the address.
        recorder: Arc::new(|_| ()),
    });
    // Without a handle for repetition a POST is sent once: the dispatcher decides when it is tried again.
    let request = HttpRequest {
        method: "POST".to_owned(),
        url: url.to_string(),
        headers,
        body: Some(body.into_bytes()),
        idempotency: None,
    };
    match client.send(request).await {
        Ok(response) => judged(&response, attempt.now),
        Err(failure) => Attempted::retry(failure.to_string()),
    }
}

/// 2xx took it, 410 wants no more, three others do not want this message, everything else may be tried again.
fn judged(response: &HttpResponse, now: i64) -> Attempted {
    let words = String::from_utf8_lossy(&response.body);
    let said = format!("{} {}", response.status, words.trim());
    let said = said.trim_end().to_owned();
    let verdict = match response.status {
        200..=299 => Verdict::Sent { answer: said },
        400 | 413 | 422 => Verdict::Refused { reason: said },
        410 => Verdict::Gone { reason: said },
        _ => Verdict::Retry { reason: said, after: retry_after(response, now) },
    };
    Attempted { answered: true, verdict }
}

fn retry_after(response: &HttpResponse, now: i64) -> Option<Duration> {
    let header = response.headers.iter().find(|(name, _)| name == "retry-after");
    let now = Timestamp::from_millisecond(now).ok()?;
    header.and_then(|(_, value)| backoff::retry_after(value, now))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of this form of signing that the project's other vectors go with.
    #[test]
    fn signatures_are_the_standard_ones() {
        let key = signing_key("whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY").unwrap();
        let body = r#"{"id":727,"status":"processing","total":"29.35"}"#;
        let signature = signature(&key, "msg_0001", 1_700_000_000, body).unwrap();
        assert_eq!(signature, "v1,TjTITuSV9MIlzr9z4BeTyQYeF/1cXXnbkP/OPgMAhXs=");
    }

    #[test]
    fn signing_secrets_have_a_prefix_and_a_length() {
        #[track_caller]
        fn check(secret: &str, length: Option<usize>) {
            assert_eq!(signing_key(secret).map(|key| key.len()), length, "{secret}");
        }
        check(&format!("whsec_{}", STANDARD.encode([7; 24])), Some(24));
        check(&format!("whsec_{}", STANDARD.encode([7; 64])), Some(64));
        check(&format!("whsec_{}", STANDARD.encode([7; 23])), None);
        check(&format!("whsec_{}", STANDARD.encode([7; 65])), None);
        check(&STANDARD.encode([7; 32]), None);
        check("whsec_not base64!", None);
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        let response = |status, body: &'static str, headers: &[(&str, &str)]| HttpResponse {
            status,
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: body.into(),
        };
        let verdict = |response| judged(&response, 0).verdict;
        let retry = |reason: &str, after: Option<u64>| Verdict::Retry {
            reason: reason.to_owned(),
            after: after.map(Duration::from_secs),
        };
        let sent = |answer: &str| Verdict::Sent { answer: answer.to_owned() };
        assert_eq!(verdict(response(200, "ok", &[])), sent("200 ok"));
        assert_eq!(verdict(response(204, "", &[])), sent("204"));
        assert_eq!(verdict(response(302, "", &[])), retry("302", None));
        assert_eq!(verdict(response(404, "no_team\n", &[])), retry("404 no_team", None));
        assert_eq!(verdict(response(503, "", &[("retry-after", "120")])), retry("503", Some(120)));
        let refused = Verdict::Refused { reason: "413 too long".to_owned() };
        assert_eq!(verdict(response(413, "too long", &[])), refused);
        let gone = Verdict::Gone { reason: "410 bye".to_owned() };
        assert_eq!(verdict(response(410, "bye", &[])), gone);
    }

    #[test]
    fn chat_text_is_plain() {
        assert_eq!(escaped("<!here> & <@U1>"), "&lt;!here&gt; &amp; &lt;@U1&gt;");
    }
}

//! Which headers a plugin may set and which it gets to see. Pure.

use crate::backoff;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

/// What belongs to the host: credentials, framing, routing, the encoding that the host itself undoes, and what makes some
/// servers take a request for one of another method than was granted.
const RESERVED: [&str; 22] = [
    "authorization",
    "cookie",
    "cookie2",
    "host",
    "forwarded",
    "accept-encoding",
    "api-key",
    "apikey",
    "x-api-key",
    "x-auth-token",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
];

/// The plugin's headers in the client's form. `reserved_too` is the header of the connector's own key. The error says
/// which header is wrong and never shows its value.
pub(super) fn checked(
    guest: &[(String, String)],
    reserved_too: Option<&HeaderName>,
    bytes_max: usize,
) -> Result<HeaderMap, String> {
    let bytes: usize = guest.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > bytes_max {
        return Err(format!(
            "the request's headers have {bytes} bytes, at most {bytes_max} may be"
        ));
    }
    let mut headers = HeaderMap::with_capacity(guest.len() + 1);
    for (name, value) in guest {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(format!("{name:?} is not a header name"));
        };
        let text = header.as_str();
        let reserved = RESERVED.contains(&text) || text.starts_with("proxy-");
        if reserved || reserved_too == Some(&header) {
            return Err(format!("the header {header} is set by the host and not by a plugin"));
        }
        let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else {
            return Err(format!("the header {header} has a line break or control character"));
        };
        headers.append(header, value);
    }
    Ok(headers)
}

/// The answer's headers for the plugin. Cookies are credentials and stay here. A plugin has no clock: where `Retry-After` is
/// a date, it is told the seconds until then.
pub(super) fn shown(headers: &HeaderMap, now: Timestamp) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "set-cookie" | "set-cookie2"))
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let seconds = (name == RETRY_AFTER).then(|| seconds_until(&value, now)).flatten();
            (name.as_str().to_owned(), seconds.unwrap_or_else(|| value.into_owned()))
        })
        .collect()
}

fn seconds_until(date: &str, now: Timestamp) -> Option<String> {
    let is_number = date.trim().bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number { None } else { backoff::retry_after(date, now) }?;
    Some(wait.as_millis().div_ceil(1_000).to_string())
}

/// The size of a header block, as it counts against the limit.
pub(super) fn size(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| name.as_str().len() as u64 + value.len() as u64 + 4).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, refused: Option<&str>) {
        let key = HeaderName::from_static("x-club-key");
        let guest = [(name.to_owned(), value.to_owned())];
        let found = checked(&guest, Some(&key), 1_000);
        match refused {
            None => assert_eq!(found.unwrap().get(name).unwrap().as_bytes(), value.as_bytes()),
            Some(reason) => {
                let error = found.unwrap_err();
                assert!(error.contains(reason), "{name}: {error}");
                assert!(!error.contains("canary"), "{name}: {error}");
            }
        }
    }

    #[test]
    fn ordinary_headers_pass() {
        check("Accept", "application/json", None);
        check("If-None-Match", "\"x\"", None);
        check("Prefer", "count=exact", None);
        check("X-Name", "Seán Ó Sé", None);
        check("User-Agent", "club/1", None);
    }

    #[test]
    fn headers_of_the_host_are_refused() {
        for name in RESERVED {
            check(name, "canary", Some("set by the host"));
            check(&name.to_uppercase(), "canary", Some("set by the host"));
        }
        for name in
            ["Proxy-Authorization", "proxy-connection", "Proxy-X", "X-Club-Key", "x-CLUB-key"]
        {
            check(name, "canary", Some("set by the host"));
        }
    }

    #[test]
    fn injections_are_refused() {
        check("X-A", "a\r\nX-B: canary", Some("line break"));
        check("X-A", "a\ncanary", Some("line break"));
        check("X-A", "a\rcanary", Some("line break"));
        check("X-A", "a\0canary", Some("control"));
        check("X-A\r\nX-B", "canary", Some("not a header name"));
        check("X A", "canary", Some("not a header name"));
        check("Host ", "canary", Some("not a header name"));
        check("", "canary", Some("not a header name"));
        check("X-A", &"canary".repeat(200), Some("at most 1000"));
    }

    #[test]
    fn cookies_are_not_shown() {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", HeaderValue::from_static("session=canary"));
        headers.append("etag", HeaderValue::from_static("\"1\""));
        headers.append("x-raw", HeaderValue::from_bytes(b"\xff").unwrap());
        let shown = shown(&headers, Timestamp::UNIX_EPOCH);
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[0], ("etag".to_owned(), "\"1\"".to_owned()));
        assert_eq!(shown[1].1, "\u{fffd}");
    }

    #[test]
    fn a_wait_is_shown_in_seconds() {
        let now: Timestamp = "2026-11-30T08:00:00.5Z".parse().unwrap();
        for (told, seen) in [
            ("Mon, 30 Nov 2026 08:10:00 GMT", "600"),
            ("Mon, 30 Nov 2026 07:59:00 GMT", "0"),
            ("120", "120"),
            ("99999999999999999999999", "99999999999999999999999"),
            ("soon", "soon"),
        ] {
            let told = HeaderValue::from_static(told);
            let headers = HeaderMap::from_iter([(RETRY_AFTER, told)]);
            assert_eq!(shown(&headers, now), [("retry-after".to_owned(), seen.to_owned())]);
        }
    }
}

//! The cookie of a session, and the rule that other sites cannot use it.

use super::gate::Options;
use super::problem::Problem;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

/// The prefix makes browsers insist on TLS and on this very host. Without TLS they would not keep such a cookie.
const NAME_SECURE: &str = "__Host-syncline";
const NAME_PLAIN: &str = "syncline";

fn name(options: &Options) -> &'static str {
    if options.secure { NAME_SECURE } else { NAME_PLAIN }
}

/// The secret that a request's cookie holds.
pub(super) fn presented<'a>(headers: &'a HeaderMap, options: &Options) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let pairs = all.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name(options)).map(|(_, secret)| secret)
}

/// The header that sets the cookie, or with an empty secret takes it away.
pub(super) fn set(secret: &str, options: &Options) -> Option<HeaderValue> {
    let secure = if options.secure { "; Secure" } else { "" };
    let ends = if secret.is_empty() { "; Max-Age=0" } else { "" };
    let name = name(options);
    let text = format!("{name}={secret}; Path=/; HttpOnly; SameSite=Lax{secure}{ends}");
    HeaderValue::from_str(&text).ok()
}

/// 403 for a change that another site's page asks for with the browser's cookie. Browsers say where a request comes
/// from; who says nothing is no browser.
pub(super) fn refuse_cross_site(
    method: &Method,
    headers: &HeaderMap,
    options: &Options,
) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST.as_str());
    let same = match (text("sec-fetch-site"), text(header::ORIGIN.as_str())) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => is_own(origin, host, options),
        (None, None) => true,
    };
    if same {
        return Ok(());
    }
    let detail = "a page of another site asked for this; use a token instead of the cookie";
    Err(Problem::new(403, "cross-site", detail))
}

fn is_own(origin: &str, host: Option<&str>, options: &Options) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    match &options.origin {
        Some(own) => url.origin().ascii_serialization() == *own,
        None => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some() && authority == host
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::http::HeaderName;
    use std::time::Duration;

    fn options(origin: Option<&str>) -> Options {
        Options {
            session_idle: Duration::from_secs(1),
            session_max: Duration::from_secs(1),
            secure: origin.is_some_and(|origin| origin.starts_with("https")),
            origin: origin.map(str::to_owned),
            requests_per_minute_max: 0,
            streams_max: 0,
            caller_streams_max: 0,
        }
    }

    #[test]
    fn changes_that_other_sites_ask_for_are_refused() {
        let check = |origin: Option<&str>, method: Method, headers: &[(&str, &str)], good: bool| {
            let host = (header::HOST, HeaderValue::from_static("h:8420"));
            let mut all = HeaderMap::from_iter([host]);
            for (name, value) in headers {
                all.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            let outcome = refuse_cross_site(&method, &all, &options(origin));
            assert_eq!(outcome.is_ok(), good, "{headers:?}");
        };
        check(None, Method::POST, &[], true);
        check(None, Method::POST, &[("sec-fetch-site", "same-origin")], true);
        check(None, Method::POST, &[("sec-fetch-site", "none")], true);
        check(None, Method::POST, &[("sec-fetch-site", "same-site")], false);
        check(None, Method::DELETE, &[("sec-fetch-site", "cross-site")], false);
        check(None, Method::GET, &[("sec-fetch-site", "cross-site")], true);
        check(None, Method::POST, &[("origin", "http://h:8420")], true);
        check(None, Method::POST, &[("origin", "http://h:8421")], false);
        check(None, Method::POST, &[("origin", "http://evil.example")], false);
        check(None, Method::POST, &[("origin", "null")], false);
        let public = Some("https://sync.example");
        check(public, Method::POST, &[("origin", "https://sync.example")], true);
        check(public, Method::POST, &[("origin", "http://sync.example")], false);
        check(public, Method::POST, &[("origin", "http://h:8420")], false);
    }

    #[test]
    fn the_cookie_is_bound_to_the_host_where_there_is_tls() {
        let secure = options(Some("https://sync.example"));
        let text = set("s3", &secure).unwrap();
        let wanted = "__Host-syncline=s3; Path=/; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(text.to_str().unwrap(), wanted);
        let text = set("", &options(None)).unwrap();
        assert_eq!(text.to_str().unwrap(), "syncline=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_static("a=b; __Host-syncline=x=y; c=d"));
        assert_eq!(presented(&headers, &secure), Some("x=y"));
        assert_eq!(presented(&headers, &options(None)), None);
    }
}

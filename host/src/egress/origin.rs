//! Where a request goes: granted origins and the resolution of what a plugin wrote against the base URL. Pure.

use super::Error;
use std::fmt;
use std::str::FromStr;
use url::Url;

/// An origin that a connector may reach: `scheme://host`, `scheme://host:port`, or with `*.` for exactly one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    /// Without the `*.` of a wildcard.
    host: String,
    any_label: bool,
    port: u16,
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Origin, Error> {
        let wrong = || Error::Origin(text.to_owned());
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let (any_label, authority) = match authority.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, authority),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains(['/', '?', '#', '@', '\\', '*']) {
            return Err(wrong());
        }
        let url = Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| wrong())?;
        let origin = Origin::of(&url).ok_or_else(wrong)?;
        // A wildcard over a whole top-level domain, or over an address, is never meant.
        if any_label
            && (!origin.host.contains('.') || !matches!(url.host(), Some(url::Host::Domain(_))))
        {
            return Err(wrong());
        }
        Ok(Origin { any_label, ..origin })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.any_label { "*." } else { "" };
        write!(f, "{}://{star}{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

impl Origin {
    /// The origin of a URL; `None` unless it is HTTP or HTTPS with a host.
    pub fn of(url: &Url) -> Option<Origin> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let host = url.host_str().filter(|host| !host.is_empty() && !host.ends_with('.'))?;
        Some(Origin {
            scheme: url.scheme().to_owned(),
            host: host.to_owned(),
            any_label: false,
            port: url.port_or_known_default()?,
        })
    }

    /// Whether a URL lies in this origin.
    pub fn covers(&self, url: &Url) -> bool {
        if url.scheme() != self.scheme || url.port_or_known_default() != Some(self.port) {
            return false;
        }
        let Some(host) = url.host_str() else {
            return false;
        };
        if !self.any_label {
            return host == self.host;
        }
        let label = host.strip_suffix(&self.host).and_then(|rest| rest.strip_suffix('.'));
        label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
    }
}

/// What the plugin wrote, as a whole URL: absolute, or a path and query below the base URL, whose own path stays.
/// The error says what is wrong in words for the plugin's author.
pub(super) fn resolve(base: &Url, text: &str) -> Result<Url, String> {
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err("the URL has blanks or control characters; percent-encode them".to_owned());
    }
    let url = if is_absolute(text) {
        Url::parse(text).map_err(|error| format!("{text:?} is not a URL: {error}"))?
    } else {
        below(base, text)?
    };
    checked(url)
}

/// A URL as it may be sent: HTTP or HTTPS, a plain host, no user name, no fragment. Every redirect passes here too.
pub(super) fn checked(mut url: Url) -> Result<Url, String> {
    url.set_fragment(None);
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{}:// is not allowed, only http:// and https:// are", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL must not carry a user name or password".to_owned());
    }
    if url.host_str().is_none_or(|host| host.is_empty() || host.ends_with('.')) {
        return Err("the host of a URL must be a name without a dot at its end".to_owned());
    }
    Ok(url)
}

fn is_absolute(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn below(base: &Url, text: &str) -> Result<Url, String> {
    if text.is_empty() {
        return Ok(base.clone());
    }
    let mut root = base.clone();
    root.set_query(None);
    root.set_fragment(None);
    if text.starts_with(['?', '#']) {
        return Url::parse(&format!("{root}{text}")).map_err(|error| error.to_string());
    }
    let root = root.as_str().trim_end_matches('/').to_owned() + "/";
    let path = text.strip_prefix('/').unwrap_or(text);
    let url = Url::parse(&format!("{root}{path}")).map_err(|error| format!("{text:?}: {error}"))?;
    // Dot segments, also encoded ones, have been resolved by now.
    if url.as_str().starts_with(&root) {
        Ok(url)
    } else {
        Err(format!("{text:?} leaves the base URL's path"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_one_spelling() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), expected);
        }
        check("https://API.Example.org", "https://api.example.org");
        check("https://api.example.org:443/", "https://api.example.org");
        check("http://api.example.org:8080", "http://api.example.org:8080");
        check("https://*.example.org", "https://*.example.org");
        check("http://[::1]:8080", "http://[::1]:8080");
        check("https://bücher.example", "https://xn--bcher-kva.example");
        for wrong in [
            "",
            "example.org",
            "ftp://example.org",
            "https://",
            "https://*",
            "https://*.org",
            "https://a.*.example.org",
            "https://*.1.2.3.4",
            "https://user@example.org",
            "https://example.org/path",
            "https://example.org?x",
            "https://example.org.",
            "https://*.*.example.org",
            "file:///etc",
            "https://exa mple.org",
        ] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn coverage_is_exact_or_one_label() {
        #[track_caller]
        fn check(origin: &str, url: &str, expected: bool) {
            let origin: Origin = origin.parse().unwrap();
            assert_eq!(origin.covers(&Url::parse(url).unwrap()), expected, "{origin} {url}");
        }
        check("https://api.example.org", "https://api.example.org/x?y", true);
        check("https://api.example.org", "https://API.EXAMPLE.ORG:443/x", true);
        check("https://api.example.org", "http://api.example.org/x", false);
        check("https://api.example.org", "https://api.example.org:8443/x", false);
        check("https://api.example.org", "https://evil-api.example.org/", false);
        check("https://api.example.org", "https://api.example.org.evil.net/", false);
        check("https://api.example.org", "https://аpi.example.org/", false);
        check("https://*.example.org", "https://shop.example.org/", true);
        check("https://*.example.org", "https://example.org/", false);
        check("https://*.example.org", "https://a.b.example.org/", false);
        check("https://*.example.org", "https://evilexample.org/", false);
        check("https://*.example.org", "https://.example.org/", false);
        check("http://127.0.0.1:80", "http://0x7f.1/", true);
    }

    #[test]
    fn urls_resolve_below_the_base() {
        #[track_caller]
        fn check(base: &str, text: &str, expected: &str) {
            let found = resolve(&Url::parse(base).unwrap(), text);
            assert_eq!(found.as_ref().map(Url::as_str), Ok(expected), "{base} {text}");
        }
        const BASE: &str = "https://x.org/api/v2";
        check(BASE, "/clubs/1/members?page=2", "https://x.org/api/v2/clubs/1/members?page=2");
        check(BASE, "clubs", "https://x.org/api/v2/clubs");
        check("https://x.org/api/v2/", "/clubs", "https://x.org/api/v2/clubs");
        check("https://x.org", "clubs", "https://x.org/clubs");
        check("https://x.org/m.csv?v=1", "", "https://x.org/m.csv?v=1");
        check("https://x.org/m.csv?v=1", "?v=2", "https://x.org/m.csv?v=2");
        check(BASE, "//evil.net/x", "https://x.org/api/v2//evil.net/x");
        check(BASE, "\\\\evil.net\\x", "https://x.org/api/v2///evil.net/x");
        check(BASE, "@evil.net", "https://x.org/api/v2/@evil.net");
        check(BASE, ".evil.net", "https://x.org/api/v2/.evil.net");
        check(BASE, "javascript:alert(1)", "https://x.org/api/v2/javascript:alert(1)");
        check(BASE, "x?next=https://y.org/", "https://x.org/api/v2/x?next=https://y.org/");
        check(BASE, "https://x.org/other#part", "https://x.org/other");
        check(BASE, "HTTPS://2130706433/", "https://127.0.0.1/");
        check(BASE, "http://0x7f.1:81/", "http://127.0.0.1:81/");
    }

    #[test]
    fn urls_that_mean_trouble_are_refused() {
        #[track_caller]
        fn check(text: &str, reason: &str) {
            let error = resolve(&Url::parse("https://x.org/api").unwrap(), text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        check("/../admin", "leaves the base");
        check("a/../../admin", "leaves the base");
        check("%2e%2e/admin", "leaves the base");
        check("..\\admin", "leaves the base");
        check("https://a:b@x.org/", "user name");
        check("https://x.org@evil.net/", "user name");
        check("https://x.org./", "dot at its end");
        check("file://x/etc", "not allowed");
        check("gopher://x.org/", "not allowed");
        check("https://", "not a URL");
        check("https://x.org:99999/", "not a URL");
        check("a b", "blanks");
        check("a\r\nHost: evil", "control");
        check("https://x.org/\tb", "control");
    }
}

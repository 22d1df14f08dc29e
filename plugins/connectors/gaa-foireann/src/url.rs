//! URLs from path templates: strict, so that a mistake is a config error and never a request to a wrong address.

use syncline_plugin_sdk::{Context, Error, Result};

use crate::config::Config;

/// The URL of an endpoint: its template (or the default one) expanded and joined with the base URL.
pub(crate) fn endpoint(
    context: &Context<Config>,
    (name, default): (&str, &str),
    member: Option<&str>,
) -> Result<String> {
    let template =
        context.endpoints.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let known = [("clubId", context.organization.as_deref()), ("memberId", member)];
    let path = expand(template.unwrap_or(default), &known)
        .map_err(|problem| Error::config("", format!("endpoint `{name}`: {problem}")))?;
    if path.starts_with("https://") || path.starts_with("http://") {
        return Ok(path);
    }
    let base = context.endpoint("baseUrl")?;
    if base.contains(['?', '#']) {
        return Err(Error::config(
            "",
            "endpoint `baseUrl`: it must not have a query or a fragment",
        ));
    }
    Ok(format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/')))
}

/// Appends query parameters, percent-encoded.
pub(crate) fn with_query(mut url: String, parameters: &[(&str, &str)]) -> String {
    for (name, value) in parameters {
        url.push(if url.contains('?') { '&' } else { '?' });
        encode(&mut url, name);
        url.push('=');
        encode(&mut url, value);
    }
    url
}

/// Whether an id cannot be part of a path: URL parsers drop dot segments even where they are percent-encoded.
pub(crate) fn is_unnameable(id: &str) -> bool {
    matches!(id, "" | "." | "..")
}

/// Replaces each `{name}`. Fails on a placeholder that is unknown or has no value here, and on a lone brace.
fn expand(template: &str, known: &[(&str, Option<&str>)]) -> Result<String, String> {
    let mut path = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("`{template}` has a `{{` without its `}}`"))?;
        let value = match known.iter().find(|(placeholder, _)| *placeholder == name) {
            None => return Err(format!("`{{{name}}}` is not a known placeholder")),
            Some((_, value)) => value.filter(|value| !is_unnameable(value)),
        };
        let Some(value) = value else {
            let hint = if name == "clubId" {
                ": the organization's federation id is missing or no path segment"
            } else {
                ""
            };
            return Err(format!("`{{{name}}}` has no value here{hint}"));
        };
        push_literal(&mut path, before, template)?;
        encode(&mut path, value);
        rest = after;
    }
    push_literal(&mut path, rest, template)?;
    Ok(path)
}

fn push_literal(path: &mut String, literal: &str, template: &str) -> Result<(), String> {
    if literal.contains('}') {
        return Err(format!("`{template}` has a `}}` without its `{{`"));
    }
    if literal.contains('#') {
        return Err(format!("`{template}` has a fragment, which a server never sees"));
    }
    path.push_str(literal);
    Ok(())
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encode(into: &mut String, text: &str) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(HEX[usize::from(byte >> 4)]);
            into.push(HEX[usize::from(byte & 15)]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, template: &str, club: Option<&str>, expect: Result<&str, &str>) {
        let context = Context {
            endpoints: [("baseUrl", base), ("membershipList", template)]
                .map(|(name, url)| (name.to_owned(), url.to_owned()))
                .into(),
            organization: club.map(str::to_owned),
            ..Context::default()
        };
        let url = endpoint(&context, crate::LIST, None);
        match (url, expect) {
            (Ok(url), Ok(expect)) => assert_eq!(url, expect),
            (Err(Error::Config(issues)), Err(part)) => {
                assert!(issues[0].message.contains(part), "{:?} does not say {part:?}", issues[0]);
            }
            (url, expect) => panic!("{url:?} is not {expect:?}"),
        }
    }

    #[test]
    fn joins_and_encodes() {
        let base = "https://api.test/v2";
        check(base, "", Some("c1"), Ok("https://api.test/v2/clubs/c1/members"));
        check(
            "https://api.test/v2/",
            "clubs/{clubId}",
            Some("c1"),
            Ok("https://api.test/v2/clubs/c1"),
        );
        check(
            base,
            "/a?club={clubId}",
            Some("a&b=c d/é"),
            Ok("https://api.test/v2/a?club=a%26b%3Dc%20d%2F%C3%A9"),
        );
        check(base, "/a/{clubId}/{clubId}", Some("1"), Ok("https://api.test/v2/a/1/1"));
        check(base, "https://other.test/{clubId}", Some("1"), Ok("https://other.test/1"));
        check(base, "/plain", None, Ok("https://api.test/v2/plain"));
    }

    #[test]
    fn refuses_what_it_cannot_fill() {
        let base = "https://api.test/v2";
        check(base, "/clubs/{club}/members", Some("1"), Err("`{club}` is not a known placeholder"));
        check(base, "/clubs/{memberId}", Some("1"), Err("`{memberId}` has no value here"));
        check(base, "", None, Err("`{clubId}` has no value here"));
        check(base, "", Some(""), Err("`{clubId}` has no value here"));
        check(base, "", Some(".."), Err("`{clubId}` has no value here"));
        check(base, "/clubs/{clubId", Some("1"), Err("without its `}`"));
        check(base, "/clubs/clubId}", Some("1"), Err("without its `{`"));
        check(base, "/clubs/{clubId}#x", Some("1"), Err("fragment"));
        check("https://api.test/v2?x=1", "", Some("1"), Err("query"));
        check("", "", Some("1"), Err("`baseUrl` is not set"));
    }

    #[test]
    fn appends_to_a_query() {
        let url =
            with_query("https://a.test/x?y=1".to_owned(), &[("page", "2"), ("per page", "10")]);
        assert_eq!(url, "https://a.test/x?y=1&page=2&per%20page=10");
    }
}

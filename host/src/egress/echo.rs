//! Servers that repeat what they were sent: the credentials are masked before anybody reads the answer.
//!
//! Errors are searched whole. Good answers are data, and large: their bodies are searched only where the keys stand in the
//! query, which servers repeat in the links that they make.

use super::Auth;
use crate::model::http::HttpResponse;
use crate::vault::Secret;
use bytes::Bytes;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

const MASK: &str = "***";
/// Shorter ones would also be found where nobody repeated them.
const SECRET_BYTES_MIN: usize = 4;
/// The same for data, where a text that is not the secret must stay what it is.
const SECRET_BYTES_MIN_IN_DATA: usize = 8;

/// The answer without the credentials.
pub(super) fn masked(
    answer: HttpResponse,
    auth: &Auth,
    token: Option<&Secret<String>>,
) -> HttpResponse {
    let failed = answer.status >= 400;
    let bytes_min = if failed { SECRET_BYTES_MIN } else { SECRET_BYTES_MIN_IN_DATA };
    let forms = forms(&auth.secrets(token), bytes_min);
    if forms.is_empty() {
        return answer;
    }
    let HttpResponse { status, headers, body } = answer;
    let headers = headers.into_iter().map(|(name, value)| (name, in_text(value, &forms))).collect();
    let searched = failed || matches!(auth, Auth::Query(_));
    let body = if searched { in_body(body, &forms) } else { body };
    HttpResponse { status, headers, body }
}

/// A URL, as the list of requests shows it, without the credentials.
pub(super) fn masked_url(shown: String, auth: &Auth) -> String {
    in_text(shown, &forms(&auth.secrets(None), SECRET_BYTES_MIN_IN_DATA))
}

/// The secrets as servers write them: as they are, encoded as forms are, and as RFC 3986 has it.
fn forms(secrets: &[Zeroizing<String>], bytes_min: usize) -> Vec<Zeroizing<String>> {
    let mut forms = Vec::new();
    for secret in secrets.iter().filter(|secret| secret.len() >= bytes_min) {
        let encoded: Zeroizing<String> =
            Zeroizing::new(byte_serialize(secret.as_bytes()).collect());
        let strict = encoded.replace('+', "%20").replace('*', "%2A").replace("%7E", "~");
        for form in [Zeroizing::new(strict), encoded] {
            if form.as_str() != secret.as_str() && !forms.contains(&form) {
                forms.push(form);
            }
        }
        forms.push(secret.clone());
    }
    forms
}

fn in_text(text: String, forms: &[Zeroizing<String>]) -> String {
    let mut text = text;
    for form in forms {
        if text.contains(form.as_str()) {
            text = text.replace(form.as_str(), MASK);
        }
    }
    text
}

/// The body without the secrets; without a copy where it holds none.
fn in_body(body: Bytes, forms: &[Zeroizing<String>]) -> Bytes {
    let mut body = body;
    for form in forms {
        if let Some(clean) = without(&body, form.as_bytes()) {
            body = clean.into();
        }
    }
    body
}

/// None where there is nothing to replace.
fn without(body: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let first = secret.first()?;
    let mut clean = Vec::new();
    let mut rest = body;
    // Most places are told by their first byte.
    let is_secret = |part: &[u8]| part.first() == Some(first) && part == secret;
    while let Some(at) = rest.windows(secret.len()).position(is_secret) {
        let (before, found) = rest.split_at(at);
        clean.extend_from_slice(before);
        clean.extend_from_slice(MASK.as_bytes());
        rest = found.get(secret.len()..).unwrap_or_default();
    }
    if rest.len() == body.len() {
        return None;
    }
    clean.extend_from_slice(rest);
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, secrets: &[&str], expected: &str) {
        let secrets: Vec<_> =
            secrets.iter().map(|secret| Zeroizing::new((*secret).to_owned())).collect();
        let forms = forms(&secrets, SECRET_BYTES_MIN);
        assert_eq!(in_body(Bytes::from(body.to_owned()), &forms), expected);
        assert_eq!(in_text(body.to_owned(), &forms), expected);
    }

    #[test]
    fn secrets_are_masked_and_the_rest_is_kept() {
        check("", &["canary"], "");
        check("nothing here", &["canary"], "nothing here");
        check("you sent canary", &["canary"], "you sent ***");
        check("canarycanary, canar", &["canary"], "******, canar");
        check("a canary, a token", &["canary", "token"], "a ***, a ***");
        check("a key of a", &["a"], "a key of a");
        check("a+b/c=, a%2Bb%2Fc%3D", &["a+b/c="], "***, ***");
        check("a b c, a+b+c, a%20b%20c", &["a b c"], "***, ***, ***");
        check("a~b/c*, a%7Eb%2Fc*, a~b%2Fc%2A", &["a~b/c*"], "***, ***, ***");
    }

    #[test]
    fn good_answers_are_searched_with_care() {
        let answer = |status| HttpResponse {
            status,
            headers: vec![("link".to_owned(), "</m?key=canary-7f3a&user=test>".to_owned())],
            body: Bytes::from_static(b"canary-7f3a test"),
        };
        let query =
            |secret: &str| Auth::Query(vec![("key".into(), Secret::new(secret.to_owned()))]);
        let bearer = |secret: &str| Auth::Bearer(Secret::new(secret.to_owned()));
        let told = |status, auth: &Auth| {
            let HttpResponse { headers, body, .. } = masked(answer(status), auth, None);
            (headers[0].1.clone(), String::from_utf8_lossy(&body).into_owned())
        };
        let (link, body) = ("</m?key=***&user=test>".to_owned(), "*** test".to_owned());
        assert_eq!(told(200, &query("canary-7f3a")), (link.clone(), body.clone()));
        assert_eq!(told(400, &bearer("canary-7f3a")), (link.clone(), body));
        assert_eq!(told(200, &bearer("canary-7f3a")), (link, "canary-7f3a test".to_owned()));
        // What is so short may be a word of the data.
        let untouched =
            ("</m?key=canary-7f3a&user=test>".to_owned(), "canary-7f3a test".to_owned());
        assert_eq!(told(200, &query("test")), untouched);
    }
}

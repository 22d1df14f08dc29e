//! Servers that repeat in an error what they were sent: the credentials are masked before anybody reads the answer.
//!
//! Must not touch good answers: those are data, and large.

use bytes::Bytes;
use zeroize::Zeroizing;

const MASK: &[u8] = b"***";
/// Shorter ones would also be found where nobody repeated them.
const SECRET_BYTES_MIN: usize = 4;

/// The body without the secrets; without a copy where it holds none.
pub(super) fn masked(body: Bytes, secrets: &[Zeroizing<String>]) -> Bytes {
    let mut body = body;
    for secret in secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
        if let Some(clean) = without(&body, secret.as_bytes()) {
            body = clean.into();
        }
    }
    body
}

/// None where there is nothing to replace.
fn without(body: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let mut clean = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
        let (before, found) = rest.split_at(at);
        clean.extend_from_slice(before);
        clean.extend_from_slice(MASK);
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
        assert_eq!(masked(Bytes::from(body.to_owned()), &secrets), expected);
    }

    #[test]
    fn secrets_are_masked_and_the_rest_is_kept() {
        check("", &["canary"], "");
        check("nothing here", &["canary"], "nothing here");
        check("you sent canary", &["canary"], "you sent ***");
        check("canarycanary, canar", &["canary"], "******, canar");
        check("a canary, a token", &["canary", "token"], "a ***, a ***");
        check("a key of a", &["a"], "a key of a");
    }
}

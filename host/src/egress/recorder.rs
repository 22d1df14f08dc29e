//! The line that each attempt leaves in its run, also when it is abandoned half-way. Owns what of a URL may be shown.

use super::client::Recorder;
use crate::model::http::{HttpFailure, RequestLine};
use std::time::{Duration, Instant};
use url::Url;

const URL_CHARS_MAX: usize = 500;
const HIDDEN: &str = "***";
/// A query parameter whose name has one of these in it keeps its value to itself.
const SECRET_WORDS: [&str; 12] = [
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "auth",
    "sig",
    "credential",
    "session",
    "code",
    "jwt",
];

/// An attempt under way, or one that waits to be sent. Dropped before it is finished, it still leaves its line.
pub(super) struct Attempt<'a> {
    recorder: &'a Recorder,
    line: Option<RequestLine>,
    waited: Duration,
    started: Instant,
    sent: bool,
}

impl<'a> Attempt<'a> {
    /// `waited` is how long the request has waited by now.
    pub(super) fn new(recorder: &'a Recorder, line: RequestLine, waited: Duration) -> Attempt<'a> {
        Attempt { recorder, line: Some(line), waited, started: Instant::now(), sent: false }
    }

    /// The request leaves at this time, in milliseconds since the epoch, having waited so much longer.
    pub(super) fn leaves(&mut self, at: i64, waited: Duration) {
        if let Some(line) = &mut self.line {
            line.at = at;
        }
        self.waited += waited;
        (self.started, self.sent) = (Instant::now(), true);
    }

    pub(super) fn answered(&mut self, status: u16) {
        if let Some(line) = &mut self.line {
            line.status = Some(status);
        }
    }

    pub(super) fn received(&mut self, bytes: u64) {
        if let Some(line) = &mut self.line {
            line.bytes += bytes;
        }
    }

    pub(super) fn failed(&mut self, failure: &HttpFailure, detail: Option<&str>) {
        if let Some(line) = &mut self.line {
            line.failure = Some(detail.map_or_else(|| failure.to_string(), str::to_owned));
        }
        self.finish();
    }

    pub(super) fn finish(&mut self) {
        if let Some(mut line) = self.line.take() {
            let elapsed = self.started.elapsed();
            if self.sent {
                line.millis = millis(elapsed);
            } else {
                self.waited += elapsed;
            }
            line.waited_millis = millis(self.waited);
            (self.recorder)(line);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(line) = &mut self.line {
            line.failure = Some("abandoned before it ended".to_owned());
        }
        self.finish();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A URL for people: secrets in the query replaced, cut to a readable length.
pub(super) fn shown(url: &Url) -> String {
    let mut text = match url.query() {
        None => url.as_str().to_owned(),
        Some(query) => {
            let mut bare = url.clone();
            bare.set_query(None);
            let pairs: Vec<String> = query.split('&').map(shown_pair).collect();
            format!("{bare}?{}", pairs.join("&"))
        }
    };
    if let Some((at, _)) = text.char_indices().nth(URL_CHARS_MAX) {
        text.truncate(at);
        text.push('…');
    }
    text
}

fn shown_pair(pair: &str) -> String {
    let Some((name, _)) = pair.split_once('=') else {
        return pair.to_owned();
    };
    // The name may be percent-encoded to slip by.
    let decoded = url::form_urlencoded::parse(name.as_bytes()).next();
    let plain = decoded.map_or_else(String::new, |(name, _)| name.to_ascii_lowercase());
    if SECRET_WORDS.iter().any(|word| plain.contains(word)) {
        format!("{name}={HIDDEN}")
    } else {
        pair.to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn query_secrets_are_hidden_and_the_rest_is_kept() {
        #[track_caller]
        fn check(url: &str, expected: &str) {
            assert_eq!(shown(&Url::parse(url).unwrap()), expected);
        }
        check("https://x.org/a", "https://x.org/a");
        check("https://x.org/a?page=2&limit=10", "https://x.org/a?page=2&limit=10");
        check("https://x.org/a?api_key=canary&page=2", "https://x.org/a?api_key=***&page=2");
        check("https://x.org/a?X-Amz-Signature=canary", "https://x.org/a?X-Amz-Signature=***");
        check("https://x.org/a?ACCESS_TOKEN=canary", "https://x.org/a?ACCESS_TOKEN=***");
        check("https://x.org/a?%74oken=canary", "https://x.org/a?%74oken=***");
        check("https://x.org/a?consumer_secret=a=b", "https://x.org/a?consumer_secret=***");
        check("https://x.org/a?flag&since=2026", "https://x.org/a?flag&since=2026");
        let long = shown(&Url::parse(&format!("https://x.org/{}", "a".repeat(2_000))).unwrap());
        assert_eq!(long.chars().count(), URL_CHARS_MAX + 1);
    }
}

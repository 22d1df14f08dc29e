//! For unit tests of plugins: a scripted remote ([`FakeHttp`]) and generated [`conflicts`]. Not part of a component.

pub mod conflicts;

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::http::{Failure, Request, Response};

thread_local! {
    static REMOTE: RefCell<Option<Remote>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Remote {
    script: VecDeque<(String, Result<Response, Failure>)>,
    requests: Vec<Request>,
    prefetches: Vec<Request>,
    logs: Vec<(String, String)>,
}

/// Answers the requests of this thread from a script, in order, for as long as it lives.
///
/// ```
/// use syncline_plugin_sdk::http;
/// use syncline_plugin_sdk::testing::FakeHttp;
///
/// let fake = FakeHttp::new().answer("https://api.test/a", 200, "hello");
/// assert_eq!(http::get("https://api.test/a").send().unwrap().body, b"hello");
/// fake.assert_done();
/// ```
#[must_use = "the script ends when this is dropped"]
pub struct FakeHttp(());

impl FakeHttp {
    /// An empty script.
    #[expect(
        clippy::new_without_default,
        reason = "it installs itself for the thread, which is not a default value"
    )]
    pub fn new() -> Self {
        REMOTE.with_borrow_mut(|remote| *remote = Some(Remote::default()));
        Self(())
    }

    /// The next request must be for this URL, and gets this status and body.
    pub fn answer(self, url: &str, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.respond(url, Response { status, headers: Vec::new(), body: body.into() })
    }

    /// The next request must be for this URL, and gets this answer.
    pub fn respond(self, url: &str, response: Response) -> Self {
        self.script(url, Ok(response))
    }

    /// The next request must be for this URL, and fails.
    pub fn fail(self, url: &str, failure: Failure) -> Self {
        self.script(url, Err(failure))
    }

    fn script(self, url: &str, answer: Result<Response, Failure>) -> Self {
        with(|remote| remote.script.push_back((url.to_owned(), answer)));
        self
    }

    /// All requests sent so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        with(|remote| remote.requests.clone()).unwrap_or_default()
    }

    /// The URLs of all hints given so far.
    #[must_use]
    pub fn prefetched(&self) -> Vec<String> {
        with(|remote| remote.prefetches.iter().map(|request| request.url.clone()).collect())
            .unwrap_or_default()
    }

    /// All (level, line) logged so far.
    #[must_use]
    pub fn logs(&self) -> Vec<(String, String)> {
        with(|remote| remote.logs.clone()).unwrap_or_default()
    }

    /// Fails the test if a scripted answer was not asked for.
    #[track_caller]
    pub fn assert_done(&self) {
        let left: Vec<String> =
            with(|remote| remote.script.iter().map(|(url, _)| url.clone()).collect())
                .unwrap_or_default();
        assert!(left.is_empty(), "never requested: {left:?}");
    }
}

impl Drop for FakeHttp {
    fn drop(&mut self) {
        REMOTE.with_borrow_mut(|remote| *remote = None);
    }
}

fn with<T>(f: impl FnOnce(&mut Remote) -> T) -> Option<T> {
    REMOTE.with_borrow_mut(|remote| remote.as_mut().map(f))
}

/// A request that the script does not expect fails the test rather than the plugin.
#[track_caller]
pub(crate) fn send(request: Request) -> Result<Response, Failure> {
    let expected = with(|remote| {
        remote.requests.push(request.clone());
        remote.script.pop_front()
    });
    match expected {
        None => Err(Failure::Denied("no FakeHttp is installed on this thread".to_owned())),
        Some(Some((url, answer))) => {
            assert_eq!(request.url, url, "another request was expected");
            answer
        }
        #[expect(clippy::panic, reason = "a test helper fails its test")]
        Some(None) => panic!("unexpected {} {}: the script has ended", request.method, request.url),
    }
}

pub(crate) fn prefetch(request: Request) {
    with(|remote| remote.prefetches.push(request));
}

pub(crate) fn record_log(level: &str, message: String) {
    with(|remote| remote.logs.push((level.to_owned(), message)));
}

//! One run's way out: sends a checked request, follows its redirects, tries it again where that is safe.

use super::checks::Prepared;
use super::echo;
use super::exchange::Hop;
use super::origin::{self, Origin};
use super::prefetch::{Prefetch, Slot};
use super::recorder::{Attempt, shown};
use super::{Auth, Egress, Limits, Pace, TokenAsk, WaitReason, Waits};
use crate::backoff;
use crate::clock::to_millis;
use crate::model::http::{HttpFailure, HttpRequest, HttpResponse, Outbound, RequestLine};
use crate::vault::Secret;
use http::Method;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Receives a line for each attempt. Called from async code: it must not block.
pub type Recorder = Arc<dyn Fn(RequestLine) + Send + Sync>;

/// What a run may reach, and how.
pub struct RunSettings {
    /// Relative URLs lie below it. Its origin must be granted like any other.
    pub base_url: Url,
    pub granted: Vec<Origin>,
    /// Besides GET and HEAD.
    pub methods: Vec<Method>,
    /// Added to every request to a granted origin, except after a redirect to another one.
    pub auth: Auth,
    pub pace: Pace,
    pub limits: Limits,
    /// Ends requests and waits at once.
    pub cancel: CancellationToken,
    pub recorder: Recorder,
}

/// What a run has used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub requests: u64,
    pub bytes: u64,
}

/// The way out for the plugin of one run.
pub struct RunClient {
    run: Arc<Run>,
    prefetched: Slot,
}

impl RunClient {
    pub(super) fn new(egress: Arc<Egress>, settings: RunSettings) -> RunClient {
        let (requests, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let (spent, tried) = (AtomicBool::new(false), AtomicBool::new(false));
        let waits = Arc::default();
        let run = Arc::new(Run { egress, settings, requests, bytes, spent, waits, tried });
        RunClient { run, prefetched: Slot::default() }
    }

    /// How long this run has waited, as it goes on.
    pub fn waits(&self) -> Arc<Waits> {
        Arc::clone(&self.run.waits)
    }

    pub fn usage(&self) -> Usage {
        Usage {
            requests: self.run.requests.load(Ordering::Relaxed),
            bytes: self.run.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Outbound for RunClient {
    fn send(
        &self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFailure>> + Send + '_>> {
        Box::pin(async move {
            match self.prefetched.take(&request) {
                Some(prefetch) => prefetch.answer().await,
                None => self.run.perform(request).await,
            }
        })
    }

    fn waited(&self) -> Duration {
        self.run.waits.total()
    }

    fn prefetch(&self, request: HttpRequest) {
        let plain = request.method == "GET" && request.body.is_none();
        if !plain || self.prefetched.holds(&request) || self.run.settings.cancel.is_cancelled() {
            return;
        }
        let run = Arc::clone(&self.run);
        let copy = request.clone();
        let clock = self.run.egress.clock.clone();
        let answer = async move { run.perform(copy).await };
        self.prefetched.put(Prefetch::start(request, clock, answer));
    }
}

/// What a run's requests, prefetched ones included, share.
pub(super) struct Run {
    pub(super) egress: Arc<Egress>,
    pub(super) settings: RunSettings,
    requests: AtomicU64,
    bytes: AtomicU64,
    /// The list of requests says already that there are no more.
    spent: AtomicBool,
    pub(super) waits: Arc<Waits>,
    /// A request of this run has tried whether a pause is over.
    pub(super) tried: AtomicBool,
}

type Token = Option<Arc<Secret<String>>>;

impl Run {
    /// One request to its end.
    pub(super) async fn perform(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let asked = request.method.clone();
        let prepared = match self.prepare(request) {
            Ok(prepared) => prepared,
            Err((url, reason)) => return Err(self.refuse(&asked, url.as_ref(), 1, reason)),
        };
        let mut token = self.token(&prepared, TokenAsk::Current).await?;
        let mut replaced = false;
        let (mut attempt, mut waited) = (1, Duration::ZERO);
        let mut patience = self.settings.limits.retry_after_max;
        loop {
            let (url, with_auth) = (prepared.url.clone(), true);
            let (prepared, sent) = (&prepared, token.as_deref());
            let mut hop =
                Hop { prepared, url, with_auth, token: sent, attempt, redirects: 0, waited };
            let result = self.follow(&mut hop, &mut patience).await;
            // Who was not sent the token has not refused it.
            let refused = hop.with_auth && !replaced;
            if let (Ok(HttpResponse { status: 401, .. }), Some(stale), true) =
                (&result, &token, refused)
            {
                token = self.token(prepared, TokenAsk::Replace(Arc::clone(stale))).await?;
                (replaced, waited) = (true, Duration::ZERO);
                continue;
            }
            let Some((wait, reason)) = self.wait_before_next(prepared, attempt, &result, patience)
            else {
                return result;
            };
            if reason == WaitReason::RateLimit {
                patience = patience.saturating_sub(wait);
            }
            let (waits, clock) = (self.waits.begin(reason), &self.egress.clock);
            let waited_for = async {
                tokio::select! {
                    biased;
                    () = self.settings.cancel.cancelled() => Err(HttpFailure::Stopped),
                    () = clock.sleep(wait) => Ok(()),
                }
            };
            clock.rest(waited_for).await?;
            drop(waits);
            (attempt, waited) = (attempt + 1, wait);
        }
    }

    /// The exchange and what it redirects to. A redirect to another origin goes without credentials from there on.
    async fn follow(
        &self,
        hop: &mut Hop<'_>,
        patience: &mut Duration,
    ) -> Result<HttpResponse, HttpFailure> {
        let (prepared, attempt) = (hop.prepared, hop.attempt);
        let auth = &self.settings.auth;
        loop {
            let response = self.exchange(hop, patience).await?;
            let Some(location) = redirect(&prepared.method, &response) else {
                return Ok(echo::masked(response, auth, hop.token));
            };
            let next = hop.url.join(location).map_err(|error| error.to_string());
            // The server may have repeated our keys: they are gone before anything is said of the address.
            let next = next.and_then(origin::checked).map(|next| auth.strip(next));
            let next = next.and_then(|next| {
                if hop.url.scheme() == "https" && next.scheme() == "http" {
                    let origin = Origin::of(&next).map_or_else(String::new, |it| it.to_string());
                    return Err(format!("{origin} leaves https:// for http://"));
                }
                self.destination(&next)?;
                Ok(next)
            });
            let reason = match next {
                Ok(next) if hop.redirects < self.settings.limits.redirects_max => {
                    hop.with_auth &= next.origin() == hop.url.origin();
                    hop.url = next;
                    hop.waited = Duration::ZERO;
                    hop.redirects += 1;
                    continue;
                }
                Ok(_) => format!("more than {} redirects", hop.redirects),
                Err(reason) => format!("the answer redirects to where it must not: {reason}"),
            };
            return Err(self.refuse(prepared.method.as_str(), Some(&hop.url), attempt, reason));
        }
    }

    /// How long to wait before the next attempt, and what for; `None` when this result is the last word.
    fn wait_before_next(
        &self,
        prepared: &Prepared,
        attempt: u32,
        result: &Result<HttpResponse, HttpFailure>,
        patience: Duration,
    ) -> Option<(Duration, WaitReason)> {
        let retry = &self.egress.options.retry;
        if attempt >= retry.attempts_max || !prepared.repeatable {
            return None;
        }
        // By the path alone: a simulation repeats, though its servers are elsewhere each time.
        let chance = self.egress.clock.chance(&format!("{} {attempt}", prepared.url.path()));
        let own = retry.wait(attempt, chance);
        match result {
            Ok(response) if matches!(response.status, 429 | 500 | 502 | 503 | 504) => {
                let now = self.egress.clock.now();
                let asked = header(response, "retry-after")
                    .and_then(|value| backoff::retry_after(value, now))
                    .unwrap_or_default();
                match asked {
                    Duration::ZERO => Some((own, WaitReason::Retry)),
                    _ if asked <= patience => Some((asked, WaitReason::RateLimit)),
                    _ => None,
                }
            }
            Err(HttpFailure::Network(_) | HttpFailure::Timeout) => Some((own, WaitReason::Retry)),
            Ok(_) | Err(_) => None,
        }
    }

    /// The access token where a source gives them out.
    async fn token(&self, prepared: &Prepared, ask: TokenAsk) -> Result<Token, HttpFailure> {
        let Auth::Token(source) = &self.settings.auth else {
            return Ok(None);
        };
        let given = tokio::select! {
            biased;
            () = self.settings.cancel.cancelled() => return Err(HttpFailure::Stopped),
            given = source(ask) => given,
        };
        given.map(Some).map_err(|failure| {
            let failure = match failure {
                HttpFailure::Denied(reason) => {
                    HttpFailure::Denied(format!("there is no access token: {reason}"))
                }
                other => other,
            };
            self.not_sent(prepared.method.as_str(), Some(&prepared.url), 1, failure)
        })
    }

    /// Leaves a line for a request that must not be sent.
    fn refuse(&self, method: &str, url: Option<&Url>, attempt: u32, reason: String) -> HttpFailure {
        self.not_sent(method, url, attempt, HttpFailure::Denied(reason))
    }

    /// Leaves a line for a request that was not sent.
    fn not_sent(
        &self,
        method: &str,
        url: Option<&Url>,
        attempt: u32,
        failure: HttpFailure,
    ) -> HttpFailure {
        if let Err(stopped) = self.admit() {
            return stopped;
        }
        let url = url.map_or_else(|| "(no valid URL)".to_owned(), |url| self.shown(url));
        let method = method.chars().take(20).collect();
        let line = self.line(method, url, attempt);
        Attempt::new(&self.settings.recorder, line, Duration::ZERO).failed(&failure, None);
        failure
    }

    /// Counts a request against the run's budgets; refused ones count too, so that the list stays bounded. The first
    /// one that is too many leaves a line that says so.
    pub(super) fn admit(&self) -> Result<(), HttpFailure> {
        let Limits { requests_max, run_bytes_max, .. } = self.settings.limits;
        if self.bytes.load(Ordering::Relaxed) > run_bytes_max {
            return Err(HttpFailure::Stopped);
        }
        let counted = self.requests.try_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < requests_max).then_some(count + 1)
        });
        if counted.is_err() && !self.spent.swap(true, Ordering::Relaxed) {
            let line = self.line(String::new(), String::new(), 0);
            let text = format!("the run's budget of {requests_max} requests is spent");
            (self.settings.recorder)(RequestLine { failure: Some(text), ..line });
        }
        counted.map(|_| ()).map_err(|_| HttpFailure::Stopped)
    }

    /// Counts received bytes against the run's budget.
    pub(super) fn spend(&self, bytes: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.settings.limits.run_bytes_max
    }

    pub(super) fn now(&self) -> i64 {
        to_millis(self.egress.clock.now())
    }

    /// A URL for people: without what a server put into it of our credentials.
    pub(super) fn shown(&self, url: &Url) -> String {
        echo::masked_url(shown(url), &self.settings.auth)
    }

    pub(super) fn line(&self, method: String, url: String, attempt: u32) -> RequestLine {
        RequestLine {
            at: self.now(),
            method,
            url,
            attempt,
            redirects: 0,
            waited_millis: 0,
            millis: 0,
            bytes: 0,
            status: None,
            failure: None,
        }
    }
}

fn redirect<'a>(method: &Method, response: &'a HttpResponse) -> Option<&'a str> {
    let followed = matches!(*method, Method::GET | Method::HEAD)
        && matches!(response.status, 301 | 302 | 303 | 307 | 308);
    followed.then(|| header(response, "location")).flatten()
}

fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    let mut found = response.headers.iter().filter(|(header, _)| header == name);
    found.next().map(|(_, value)| value.as_str())
}

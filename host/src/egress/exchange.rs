//! One request and its answer over the wire, within the limits of time and size.

use super::body::{self, Broken};
use super::checks::{Prepared, remedy};
use super::client::Run;
use super::headers;
use super::lanes::{Pass, TooLong};
use super::quota::Quota;
use super::recorder::Attempt;
use super::resolver::Refused;
use super::{WaitReason, tls};
use crate::clock::to_text;
use crate::model::http::{HttpFailure, HttpResponse, RequestLine};
use crate::vault::Secret;
use std::error::Error as StdError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use url::Url;

/// One exchange of an attempt: the request itself, or what it was redirected to.
pub(super) struct Hop<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) url: Url,
    pub(super) with_auth: bool,
    pub(super) token: Option<&'a Secret<String>>,
    pub(super) attempt: u32,
    /// How many were followed to get here.
    pub(super) redirects: u32,
    /// Before this attempt, for reasons of its own.
    pub(super) waited: Duration,
}

/// A failure, and what the line says about it if that is more.
struct Failed {
    failure: HttpFailure,
    detail: Option<String>,
}

impl From<HttpFailure> for Failed {
    fn from(failure: HttpFailure) -> Failed {
        Failed { failure, detail: None }
    }
}

impl Run {
    /// Waits for its turn, sends the request and reads the whole answer. Leaves one line in the run. What it waited is
    /// taken off `patience`.
    pub(super) async fn exchange(
        &self,
        hop: &Hop<'_>,
        patience: &mut Duration,
    ) -> Result<HttpResponse, HttpFailure> {
        self.admit()?;
        let method = hop.prepared.method.as_str().to_owned();
        let line = self.line(method, self.shown(&hop.url), hop.attempt);
        let line = RequestLine { redirects: hop.redirects, ..line };
        let mut attempt = Attempt::new(&self.settings.recorder, line, hop.waited);
        let work = async {
            let pass = self.pass(&hop.url, *patience).await?;
            *patience = patience.saturating_sub(pass.waited);
            attempt.leaves(self.now(), pass.waited);
            let limit = self.settings.limits.request_timeout;
            let transfer = tokio::time::timeout(limit, self.transfer(hop, &pass, &mut attempt));
            transfer.await.unwrap_or_else(|_| Err(HttpFailure::Timeout.into()))
        };
        let result = tokio::select! {
            biased;
            () = self.settings.cancel.cancelled() => Err(HttpFailure::Stopped.into()),
            result = work => result,
        };
        match result {
            Ok(response) => {
                attempt.finish();
                Ok(response)
            }
            Err(Failed { failure, detail }) => {
                attempt.failed(&failure, detail.as_deref());
                Err(failure)
            }
        }
    }

    /// The right to send to this host now. A wait that would be too long ends the run, which says when to try again.
    async fn pass(&self, url: &Url, patience: Duration) -> Result<Pass, Failed> {
        let port = url.port_or_known_default().unwrap_or_default();
        let host = format!("{}:{port}", url.host_str().unwrap_or_default());
        let (lanes, pace) = (&self.egress.lanes, &self.settings.pace);
        let ask = |trial| lanes.pass(pace, host.clone(), patience, &self.waits, trial);
        let passed = match ask(false).await {
            Err(TooLong { reason: WaitReason::RateLimit, .. }) if self.may_try() => ask(true).await,
            passed => passed,
        };
        passed.map_err(|TooLong { wait, reason }| {
            let wait_millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            let retry_at = self.now().saturating_add(wait_millis);
            self.waits.give_up(retry_at);
            let detail =
                format!("{} of {host} would take until {}", reason.as_str(), to_text(retry_at));
            Failed { failure: HttpFailure::Stopped, detail: Some(detail) }
        })
    }

    /// Once in a run that a person asked for.
    fn may_try(&self) -> bool {
        self.settings.pace.tries_pauses && !self.tried.swap(true, Ordering::Relaxed)
    }

    async fn transfer(
        &self,
        hop: &Hop<'_>,
        pass: &Pass,
        attempt: &mut Attempt<'_>,
    ) -> Result<HttpResponse, Failed> {
        let limits = &self.settings.limits;
        let excepted = self.destination(&hop.url).map_err(HttpFailure::Denied)?;
        let client = self.egress.client(excepted);
        let client = client.map_err(|error| HttpFailure::Network(error.to_string()))?;
        let request = self.request(hop).map_err(HttpFailure::Denied)?;
        let mut response =
            client.execute(request).await.map_err(|error| failure(&hop.url, error, limits))?;
        attempt.answered(response.status().as_u16());
        let busy = matches!(response.status().as_u16(), 429 | 503);
        let now = self.egress.clock.now();
        pass.learn(&Quota::read(response.status(), response.headers(), now), busy);
        if headers::size(response.headers()) > limits.response_header_bytes_max {
            return Err(HttpFailure::TooLarge(limits.response_header_bytes_max).into());
        }
        let count = |bytes| {
            attempt.received(bytes);
            self.spend(bytes)
        };
        let body = match body::read(&mut response, limits.response_bytes_max, count).await {
            Ok(body) => body,
            Err(Broken::TooLarge) => {
                return Err(HttpFailure::TooLarge(limits.response_bytes_max).into());
            }
            Err(Broken::OverBudget) => {
                let max = limits.run_bytes_max;
                let detail = format!("the run's budget of {max} bytes is spent");
                return Err(Failed { failure: HttpFailure::Stopped, detail: Some(detail) });
            }
            Err(Broken::Network(error)) => return Err(failure(&hop.url, error, limits).into()),
        };
        let status = response.status().as_u16();
        Ok(HttpResponse { status, headers: headers::shown(response.headers(), now), body })
    }

    fn request(&self, hop: &Hop<'_>) -> Result<reqwest::Request, String> {
        let mut url = hop.url.clone();
        let mut headers = hop.prepared.headers.clone();
        if hop.with_auth {
            self.settings.auth.apply(hop.token, &mut url, &mut headers)?;
        }
        let mut request = reqwest::Request::new(hop.prepared.method.clone(), url);
        *request.headers_mut() = headers;
        *request.body_mut() = hop.prepared.body.clone().map(Into::into);
        Ok(request)
    }
}

/// What an error of the client means. Its own text has the URL, keys included, in it: only its deepest cause is told.
fn failure(url: &Url, error: reqwest::Error, limits: &super::Limits) -> HttpFailure {
    let host = url.host_str().unwrap_or_default();
    let error = error.without_url();
    let mut cause: &(dyn StdError + 'static) = &error;
    loop {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            let port = url.port_or_known_default().unwrap_or_default();
            return HttpFailure::Denied(format!("{refused}; {}", remedy(host, port)));
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>()
            && error.is_parse_too_large()
        {
            return HttpFailure::TooLarge(limits.response_header_bytes_max);
        }
        if let Some(words) = tls::explained(cause) {
            return HttpFailure::Network(format!("{host}: {words}"));
        }
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    if error.is_timeout() {
        return HttpFailure::Timeout;
    }
    HttpFailure::Network(format!("{host}: {cause}"))
}

//! The one request that is sent before the plugin asks for it, because the plugin said that it will.

use crate::clock::{Clock, Work};
use crate::model::http::{HttpFailure, HttpRequest, HttpResponse};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_util::task::AbortOnDropHandle;

/// A GET under way. Dropped unredeemed, it is broken off.
pub(super) struct Prefetch {
    request: HttpRequest,
    clock: Clock,
    task: AbortOnDropHandle<(Result<HttpResponse, HttpFailure>, Work)>,
}

impl Prefetch {
    /// Starts on the `answer`, or does nothing outside a runtime: a hint may be ignored.
    pub(super) fn start(
        request: HttpRequest,
        clock: Clock,
        answer: impl Future<Output = Result<HttpResponse, HttpFailure>> + Send + 'static,
    ) -> Option<Prefetch> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let work = clock.work();
        let task = runtime.spawn(async move { (answer.await, work) });
        Some(Prefetch { request, clock, task: AbortOnDropHandle::new(task) })
    }

    pub(super) async fn answer(self) -> Result<HttpResponse, HttpFailure> {
        match self.clock.rest(self.task).await {
            Ok((result, _)) => result,
            Err(_) => Err(HttpFailure::Network("the request ended before its answer".to_owned())),
        }
    }
}

/// Room for one.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Prefetch>>);

impl Slot {
    pub(super) fn holds(&self, request: &HttpRequest) -> bool {
        self.lock().as_ref().is_some_and(|prefetch| prefetch.request == *request)
    }

    /// The newest hint is the best one: an older prefetch that nobody redeemed is broken off.
    pub(super) fn put(&self, prefetch: Option<Prefetch>) {
        let older = std::mem::replace(&mut *self.lock(), prefetch);
        drop(older);
    }

    /// The prefetch of exactly this request.
    pub(super) fn take(&self, request: &HttpRequest) -> Option<Prefetch> {
        self.lock().take_if(|prefetch| prefetch.request == *request)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Prefetch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The planner on a thread of its own: it goes from page to page while others are fetched, decided and staged.

use super::Failure;
use super::planner::{Draft, Planner};
use crate::clock::Work;
use crate::model::RemotePage;
use crate::store;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many pages that arrived may be with the planner: the one that it plans, and those that wait for it.
pub(super) const PAGES_MAX: usize = 3;

/// Where in the listing a page is.
pub(super) struct Place {
    /// From 1.
    pub(super) number: u64,
    /// Where the listing goes on behind it.
    pub(super) next: Option<String>,
}

/// A page that was planned. Whoever takes it goes on with the work.
pub(super) type Planned = (Place, Result<Draft, store::Error>, Work);

/// The planner on a thread of its own, which goes from page to page without asking here.
pub(super) struct Planning {
    /// How many pages that arrived are not planned yet.
    pub(super) pages: usize,
    waiting: mpsc::UnboundedSender<(RemotePage, Place, Work)>,
    planned: mpsc::UnboundedReceiver<Planned>,
    thread: JoinHandle<Planner>,
}

impl Planning {
    pub(super) fn start(mut planner: Planner) -> Planning {
        let (waiting, mut pages) = mpsc::unbounded_channel::<(RemotePage, Place, Work)>();
        let (to, planned) = mpsc::unbounded_channel();
        let thread = tokio::task::spawn_blocking(move || {
            while let Some((page, place, work)) = pages.blocking_recv() {
                if to.send((place, planner.page(page), work)).is_err() {
                    break;
                }
            }
            planner
        });
        Planning { pages: 0, waiting, planned, thread }
    }

    /// Adds a page that arrived.
    pub(super) fn take(&mut self, (page, place): (RemotePage, Place), work: Work) {
        self.pages += 1;
        // A thread that ended tells why when its answer is waited for.
        let _ = self.waiting.send((page, place, work));
    }

    /// The next page that is planned.
    pub(super) async fn planned(&mut self) -> Result<Planned, Failure> {
        let Some(planned) = self.planned.recv().await else {
            return Err(match (&mut self.thread).await {
                Err(panicked) => Failure::panicked(panicked),
                Ok(_) => Failure::new("run.internal", "the planner ended early".to_owned()),
            });
        };
        self.pages -= 1;
        Ok(planned)
    }

    /// Takes the planner back.
    pub(super) async fn end(self) -> Result<Planner, Failure> {
        drop(self.waiting);
        self.thread.await.map_err(Failure::panicked)
    }
}

//! Why a run did not get to its end, in a form that decides its status and tells a person.

use crate::model::RunStatus;
use crate::model::remote::GuestError;
use crate::{commit, plugin, store};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: RunStatus,
    /// Stable; a page of `docs/errors`.
    pub code: String,
    pub message: String,
    /// The page of the listing, from 1.
    pub page: Option<u64>,
    /// The credentials were refused.
    pub auth: bool,
}

impl Failure {
    pub fn new(code: &str, message: String) -> Failure {
        Failure {
            status: RunStatus::Failed,
            code: code.to_owned(),
            message,
            page: None,
            auth: false,
        }
    }

    pub fn cancelled() -> Failure {
        let failure = Failure::new("run.cancelled", "the run was cancelled".to_owned());
        Failure { status: RunStatus::Cancelled, ..failure }
    }

    pub fn at_page(self, page: u64) -> Failure {
        Failure { page: Some(page), ..self }
    }

    /// A page of the listing that could not be read.
    pub fn of_page(error: &plugin::Error, page: u64) -> Failure {
        let auth = matches!(error, plugin::Error::Guest(GuestError::Auth(_)));
        let failure = Failure::new(error.code(), format!("page {page}: {error}")).at_page(page);
        Failure { auth, ..failure }
    }

    /// A task of the run panicked: a bug of ours, kept away from the other runs.
    pub fn panicked(error: tokio::task::JoinError) -> Failure {
        Failure::new("run.internal", format!("a part of the run ended unexpectedly: {error}"))
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        Failure::new("run.storage", error.to_string())
    }
}

impl From<commit::Error> for Failure {
    fn from(error: commit::Error) -> Failure {
        Failure::new("run.commit", error.to_string())
    }
}

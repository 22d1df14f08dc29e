//! What tests of crashes need inside the program: named places at which the process ends as by a power cut
//! (`ABORT_SYNCLINE_AT=commit:links`), and bugs that are planted to see that they are found
//! (`PLANT_SYNCLINE_BUG=skip-fsync`).
//!
//! Builds without debug assertions, such as releases, hold none of it: neither the names nor the look at the variables.

/// A bug that the trials of `tests/` must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A write is answered before its commit: `store/writer.rs`.
    AckBeforeCommit = 1,
    /// A commit does not wait for the disk: `store/writer.rs`.
    SkipFsync,
    /// The process goes on after a storage error: `store/file.rs`.
    SurviveStorageError,
    /// A worker that lost its job holds it all the same: `queue/lease.rs`, `store/staging.rs`.
    IgnoreFence,
    /// A delivery of a webhook is answered before its commit: `store/hooks.rs`.
    HookBeforeCommit,
    /// A delivery and what it is known by are two transactions: `store/hooks.rs`.
    DedupApart,
    /// A fire that is made up for comes to nothing: `trigger/fire.rs`.
    FireLost,
}

impl Bug {
    pub const ALL: [Bug; 7] = [
        Bug::AckBeforeCommit,
        Bug::SkipFsync,
        Bug::SurviveStorageError,
        Bug::IgnoreFence,
        Bug::HookBeforeCommit,
        Bug::DedupApart,
        Bug::FireLost,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Bug::AckBeforeCommit => "ack-before-commit",
            Bug::SkipFsync => "skip-fsync",
            Bug::SurviveStorageError => "survive-storage-error",
            Bug::IgnoreFence => "ignore-fence",
            Bug::HookBeforeCommit => "hook-before-commit",
            Bug::DedupApart => "dedup-apart",
            Bug::FireLost => "fire-lost",
        }
    }
}

#[cfg(debug_assertions)]
pub use armed::{plant, planted, reached};

#[cfg(not(debug_assertions))]
pub use unarmed::{plant, planted, reached};

#[cfg(debug_assertions)]
mod armed {
    use super::Bug;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU8, Ordering};

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Ends the process here if a test asked for it.
    pub fn reached(name: &str) {
        static WANTED: OnceLock<Option<String>> = OnceLock::new();
        let wanted = WANTED.get_or_init(|| std::env::var("ABORT_SYNCLINE_AT").ok());
        if wanted.as_deref() == Some(name) {
            std::process::abort();
        }
    }

    /// Plants a bug in this process, or takes it out again; false where the build cannot hold one.
    pub fn plant(bug: Option<Bug>) -> bool {
        PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::SeqCst);
        true
    }

    /// Whether a test planted this bug.
    pub fn planted(bug: Bug) -> bool {
        static NAMED: OnceLock<Option<String>> = OnceLock::new();
        let named = NAMED.get_or_init(|| std::env::var("PLANT_SYNCLINE_BUG").ok());
        PLANTED.load(Ordering::SeqCst) == bug as u8 || named.as_deref() == Some(bug.name())
    }
}

#[cfg(not(debug_assertions))]
mod unarmed {
    use super::Bug;

    #[inline(always)]
    pub fn reached(_name: &str) {}

    pub fn plant(_bug: Option<Bug>) -> bool {
        false
    }

    #[inline(always)]
    pub fn planted(_bug: Bug) -> bool {
        false
    }
}

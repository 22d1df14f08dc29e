//! The only source of time. Everything else is handed an instant or a clock.

use jiff::Timestamp;
use std::sync::Arc;
use std::sync::Mutex;

/// Wall-clock time, real or set by a test.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed: Option<Arc<Mutex<Timestamp>>>,
}

impl Clock {
    pub fn system() -> Clock {
        Clock { fixed: None }
    }

    /// A clock that stands still until it is set.
    pub fn fixed(at: Timestamp) -> Clock {
        Clock { fixed: Some(Arc::new(Mutex::new(at))) }
    }

    pub fn now(&self) -> Timestamp {
        match &self.fixed {
            None => Timestamp::now(),
            Some(at) => *at.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        }
    }

    /// Moves a fixed clock; the system clock cannot be moved.
    pub fn set(&self, at: Timestamp) {
        if let Some(fixed) = &self.fixed {
            *fixed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = at;
        }
    }
}

/// Milliseconds since the epoch: the form in which instants are stored.
pub fn to_millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// RFC 3339 in UTC with milliseconds: the form in which instants leave the house.
pub fn to_text(millis: i64) -> String {
    let at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

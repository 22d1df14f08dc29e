//! The trait of a strategy, and a conflict as it sees it.

use crate::{Instant, StrategyManifest, Value};

/// Decides conflicts. Pure: it sees one conflict and nothing else, and the same conflict always gets the same answer.
pub trait Strategy {
    /// What the strategy is.
    fn manifest() -> StrategyManifest;

    /// Decides one field that both sides changed.
    fn decide(conflict: &Conflict) -> Decision;
}

/// One field of one record that both sides changed since they last agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub entity: String,
    pub field: String,
    /// `text`, `email`, `phone`, `date`, `instant`, `decimal`, `integer`, `boolean`, `json`.
    pub field_type: String,
    /// The value on which both sides last agreed; absent where they never did.
    pub base: Value,
    pub remote: Side,
    pub local: Side,
    /// Whom a tie goes to.
    pub source_of_truth: SourceOfTruth,
}

/// What one side of a conflict says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Side {
    pub value: Value,
    /// RFC 3339; `None` where nobody knows.
    pub modified_at: Option<String>,
    pub modified_by: Author,
}

impl Side {
    /// When this side changed, if it is known and can be read.
    #[must_use]
    pub fn modified(&self) -> Option<Instant> {
        self.modified_at.as_deref().and_then(Instant::parse)
    }
}

/// Who changed a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Author {
    Person,
    System,
    #[default]
    Unknown,
}

/// The side that an entity's owner trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceOfTruth {
    #[default]
    Remote,
    Local,
}

impl From<SourceOfTruth> for Choice {
    fn from(side: SourceOfTruth) -> Self {
        match side {
            SourceOfTruth::Remote => Self::Remote,
            SourceOfTruth::Local => Self::Local,
        }
    }
}

/// What to do about a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Remote,
    Local,
    /// Only for strategies whose manifest says `values: true`; the host checks it against the field's type.
    Value(Value),
    /// A person decides: both values stay as they are.
    Hold,
}

/// A choice and a short sentence for the people who read the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub choice: Choice,
    pub note: String,
}

impl Decision {
    pub fn new(choice: impl Into<Choice>, note: impl Into<String>) -> Self {
        Self { choice: choice.into(), note: note.into() }
    }

    /// Takes the remote value.
    pub fn remote(note: impl Into<String>) -> Self {
        Self::new(Choice::Remote, note)
    }

    /// Keeps the local value.
    pub fn local(note: impl Into<String>) -> Self {
        Self::new(Choice::Local, note)
    }

    /// Leaves it to a person.
    pub fn hold(note: impl Into<String>) -> Self {
        Self::new(Choice::Hold, note)
    }
}

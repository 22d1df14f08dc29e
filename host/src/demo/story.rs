//! What both sides change between the two runs, and what is to come of each change.
//!
//! The story only says what ought to happen; that it did is for the caller to see.

use super::roster::Member;

/// Members that the story needs. Some carry two scenes: what happens to one field leaves the other alone.
pub const SLOTS: u32 = 10;

/// What a scene shows. The names appear in `demo --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    RemoteChange,
    LocalChange,
    Converged,
    FederationWins,
    LocalWins,
    MergePerson,
    MergeSystem,
    NewestRemote,
    NewestLocal,
    ManualResolved,
    ManualOpen,
    UnknownStatus,
    Lapsed,
    Gone,
    Quarantined,
    Created,
}

impl Kind {
    /// In words for people.
    pub fn title(self) -> &'static str {
        match self {
            Kind::RemoteChange => "changed there only",
            Kind::LocalChange => "changed here only",
            Kind::Converged => "same change on both sides",
            Kind::FederationWins => "conflict, theirs taken",
            Kind::LocalWins => "conflict, ours kept",
            Kind::MergePerson => "conflict, person's kept",
            Kind::MergeSystem => "conflict, system's yields",
            Kind::NewestRemote => "conflict, theirs is newer",
            Kind::NewestLocal => "conflict, ours is newer",
            Kind::ManualResolved => "conflict, decided by hand",
            Kind::ManualOpen => "conflict, waits for a hand",
            Kind::UnknownStatus => "unknown status, unmoved",
            Kind::Lapsed => "membership lapsed",
            Kind::Gone => "no longer listed",
            Kind::Quarantined => "malformed, in quarantine",
            Kind::Created => "new member",
        }
    }

    /// The strategy that decides the conflict of this scene; none if there is no conflict.
    pub fn strategy(self) -> Option<&'static str> {
        match self {
            Kind::FederationWins => Some("federation_wins"),
            Kind::LocalWins => Some("local_wins"),
            Kind::MergePerson | Kind::MergeSystem => Some("merge"),
            Kind::NewestRemote | Kind::NewestLocal => Some("newest_wins"),
            Kind::ManualResolved | Kind::ManualOpen => Some("manual"),
            _ => None,
        }
    }
}

/// Who edits a record here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    Person,
    System,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    pub value: String,
    pub by: Author,
}

/// What the federation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    Nothing,
    Set(String),
    /// An edit of the day before that is only published now.
    SetYesterday(String),
    Remove,
    Add,
}

/// Which value the record holds in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Base,
    Remote,
    Local,
}

/// One field of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    pub kind: Kind,
    /// Which member, of [`SLOTS`]; the new one is behind the last.
    pub slot: u32,
    /// Empty where the whole record is meant.
    pub field: &'static str,
    pub remote: Remote,
    pub local: Option<Local>,
    pub expect: Expect,
    /// Whether the record is active in the end.
    pub active: bool,
}

/// The whole story. `member` gives a slot's member as it is before.
pub fn scenes(member: impl Fn(u32) -> Member) -> Vec<Scene> {
    let set = |value: &str| Remote::Set(value.to_owned());
    let person = |value: &str| Some(Local { value: value.to_owned(), by: Author::Person });
    let system = |value: &str| Some(Local { value: value.to_owned(), by: Author::System });
    let last = |slot: u32| member(slot).last_name;
    let scene = |kind, slot, field, remote, local, expect| Scene {
        kind,
        slot,
        field,
        remote,
        local,
        expect,
        active: !matches!(kind, Kind::Lapsed | Kind::Gone),
    };
    let in_irish = "12 Bóthar na Trá, Gaillimh";
    let in_english = "12 Seapoint Promenade, Galway";
    let to_federation = |slot: u32| Remote::Set(format!("{}-Walsh", last(slot)));
    let to_us = |slot: u32| person(&format!("{} Breathnach", last(slot)));
    vec![
        scene(Kind::RemoteChange, 0, "phone", set("+353 20 915 0001"), None, Expect::Remote),
        scene(
            Kind::UnknownStatus,
            0,
            "membershipStatus",
            set("On sabbatical"),
            None,
            Expect::Remote,
        ),
        scene(
            Kind::LocalChange,
            1,
            "email",
            Remote::Nothing,
            person("nua@club.example"),
            Expect::Local,
        ),
        scene(Kind::Converged, 1, "address", set(in_irish), person(in_irish), Expect::Remote),
        scene(
            Kind::FederationWins,
            2,
            "email",
            set("new@fed.example"),
            person("new@club.example"),
            Expect::Remote,
        ),
        scene(
            Kind::LocalWins,
            2,
            "phone",
            set("+353 20 915 0002"),
            person("+353 20 915 0003"),
            Expect::Local,
        ),
        scene(Kind::MergePerson, 3, "address", set(in_english), person(in_irish), Expect::Local),
        scene(Kind::MergeSystem, 4, "address", set(in_english), system(in_irish), Expect::Remote),
        scene(
            Kind::NewestRemote,
            5,
            "joinDate",
            set("2024-03-17"),
            person("2024-02-01"),
            Expect::Remote,
        ),
        scene(
            Kind::NewestLocal,
            6,
            "joinDate",
            Remote::SetYesterday("2024-03-17".to_owned()),
            person("2024-02-01"),
            Expect::Local,
        ),
        scene(Kind::ManualResolved, 3, "lastName", to_federation(3), to_us(3), Expect::Remote),
        scene(Kind::ManualOpen, 4, "lastName", to_federation(4), to_us(4), Expect::Local),
        scene(Kind::Lapsed, 7, "membershipStatus", set("Lapsed"), None, Expect::Remote),
        scene(Kind::Gone, 8, "", Remote::Remove, None, Expect::Base),
        scene(Kind::Quarantined, 9, "dateOfBirth", set("31/02/1987"), None, Expect::Base),
        scene(Kind::Created, SLOTS, "", Remote::Add, None, Expect::Remote),
    ]
}

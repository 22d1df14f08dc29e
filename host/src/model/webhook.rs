//! Incoming webhooks: how a remote signs them, what a delivery is, what it names, what became of it.

use super::ids::{ConnectionId, ConnectorId, HookId, OrgNo, RunId};
use super::run::Mode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// How a remote proves that a delivery is its own: plain data, in a manifest or among the schemes that ship with the
/// host. `signature` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureScheme {
    /// Where the signature is; the first place that a delivery has counts.
    pub signature: Vec<SignaturePlace>,
    pub algorithm: Algorithm,
    #[serde(default)]
    pub encoding: Encoding,
    #[serde(default)]
    pub secret: SecretForm,
    /// What is signed, part behind part. Empty for a token.
    #[serde(default)]
    pub signed: Vec<Segment>,
    #[serde(default)]
    pub timestamp: Option<TimestampSpec>,
    /// What tells one delivery from another; it must be covered by the signature.
    #[serde(default)]
    pub delivery_id: Option<IdPlace>,
    /// Pointer to the member of the body that names the connector, for addresses that do not.
    #[serde(default)]
    pub connector: Option<String>,
    /// Deliveries without a signature that the remote sends to see whether somebody is there.
    #[serde(default)]
    pub handshakes: Vec<Handshake>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignaturePlace {
    pub from: SignatureSource,
    #[serde(default)]
    pub format: Format,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SignatureSource {
    /// Names that mean the same; the first that is there counts.
    Header(Vec<String>),
    /// JSON pointer to a member at the top of the body.
    Pointer(String),
}

/// How the signature is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    #[default]
    Bare,
    /// Behind these words.
    Prefix(String),
    /// `t=1700000000,v1=...`: pairs with these names for the signatures and the time.
    Pairs { signature: String, timestamp: String },
    /// `v1,... v1,...`: those of this version.
    List(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Algorithm {
    HmacSha256,
    HmacSha512,
    /// The secret is the sender's public key.
    Ed25519,
    /// The secret itself.
    Token,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
    Base64Url,
}

/// How the key is made of the secret's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretForm {
    #[serde(default)]
    pub encoding: SecretEncoding,
    /// Taken off before, where it is there.
    #[serde(default)]
    pub strip_prefix: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretEncoding {
    #[default]
    Utf8,
    Base64,
    Hex,
    /// UTF-8 after `&amp;`, `&lt;`, `&gt;`, `&quot;` and `&#039;` became what they stand for.
    HtmlEntities,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Segment {
    Literal(String),
    Header(Vec<String>),
    /// The time as it is written.
    Timestamp,
    Body,
    /// Members of the body as compact JSON with sorted keys. The body must have these, the signature, and no others.
    CanonicalJson(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimestampSpec {
    /// Header names; left out where the signature's own format carries the time.
    #[serde(default)]
    pub header: Vec<String>,
    #[serde(default)]
    pub format: TimeFormat,
    /// Further off than this, to either side, a delivery is one that somebody plays again.
    pub tolerance_seconds: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeFormat {
    #[default]
    UnixSeconds,
    UnixMillis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IdPlace {
    /// One that is also among the signed parts.
    Header(Vec<String>),
    /// JSON pointer into the signed body.
    Pointer(String),
}

/// An unsigned delivery that is answered and does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Handshake {
    /// What the body begins with; the rest must be digits.
    pub body_prefix: String,
}

/// What became of a delivery, or of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Accepted,
    Duplicate,
    BadSignature,
    /// Well signed, and too old or from the future.
    Replayed,
    RateLimited,
    TooLarge,
    /// No connection of the connector has the organization that it names.
    UnknownOrganization,
    /// Nothing in it that the connector knows, or nothing that it could read.
    UnknownEvent,
}

impl Verdict {
    pub const ALL: [Verdict; 8] = [
        Verdict::Accepted,
        Verdict::Duplicate,
        Verdict::BadSignature,
        Verdict::Replayed,
        Verdict::RateLimited,
        Verdict::TooLarge,
        Verdict::UnknownOrganization,
        Verdict::UnknownEvent,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Accepted => "accepted",
            Verdict::Duplicate => "duplicate",
            Verdict::BadSignature => "badSignature",
            Verdict::Replayed => "replayed",
            Verdict::RateLimited => "rateLimited",
            Verdict::TooLarge => "tooLarge",
            Verdict::UnknownEvent => "unknownEvent",
            Verdict::UnknownOrganization => "unknownOrganization",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verdict {
    type Err = ();

    fn from_str(text: &str) -> Result<Verdict, ()> {
        Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == text).ok_or(())
    }
}

/// A delivery as it came. Written once; what became of it is an [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub connector: ConnectorId,
    /// Set where the address named one.
    pub connection: Option<ConnectionId>,
    /// Milliseconds since the epoch.
    pub received_at: i64,
    /// What intake said; [`Verdict::Accepted`] goes on to its connector.
    pub verdict: Verdict,
    pub scheme: String,
    /// Network address of the sender.
    pub address: Option<String>,
    /// Of the body as it came.
    pub body_bytes: u64,
    /// As the signature covers it.
    pub delivery_id: Option<String>,
    pub duplicate_of: Option<HookId>,
    /// Of a duplicate: its signed id is that of an earlier delivery, and its body another one.
    pub body_differs: bool,
    /// Deliveries of this verdict and connector since the last one that got a row.
    pub unlogged: u64,
    /// Without signature and credentials.
    pub headers: Vec<(String, String)>,
    /// The number of the key under which the body is sealed; 0 where no body was kept.
    pub body_key: u32,
}

impl Hook {
    /// Whether it can be parsed, now and again.
    pub fn has_body(&self) -> bool {
        self.body_key != 0
    }
}

/// One thing that a delivery says, as its connector read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookEvent {
    /// The remote's id of the organization; none where the delivery names none.
    pub organization: Option<String>,
    pub entity: String,
    pub id: String,
    /// `created`, `updated`, `deleted`, `merged`.
    pub kind: String,
    /// Tells the event from others; only if the signature covers it.
    pub event_id: Option<String>,
    /// Of `merged`: the id that survives.
    pub merged_into: Option<String>,
}

/// What a connector's plugin makes of deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// One for each delivery, in order; fewer where it is wasteful.
    pub parsed: Vec<Parsed>,
    /// What the connector can do about them, by entity.
    pub entities: Vec<Refetch>,
    /// Whether the component wasted so much time that it should be left alone for a while.
    pub wasteful: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    Events(Vec<HookEvent>),
    /// It could not be tried: code and sentence. Again later.
    Later(String, String),
    /// It was tried and cannot be read.
    Unreadable(String, String),
}

/// How a record of an entity is looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refetch {
    pub entity: String,
    /// `ids` where single records can be fetched, else the smallest listing.
    pub mode: Mode,
}

/// What a delivery came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub verdict: Verdict,
    /// Milliseconds since the epoch: when the sender was answered; none where a crash came between.
    pub acknowledged_at: Option<i64>,
    pub processed_at: i64,
    pub events: Vec<EventOutcome>,
    /// Events beyond those that are kept.
    pub events_more: u64,
    pub runs: Vec<HookRun>,
    /// Every organization that it concerned, this time or before.
    pub orgs: BTreeSet<OrgNo>,
    /// Why it could not be read: code and sentence.
    #[serde(default)]
    pub error: Option<(String, String)>,
    pub attempts: u32,
    /// How often a person had it processed again, and who did last.
    #[serde(default)]
    pub replays: u32,
    #[serde(default)]
    pub replayed_by: Option<String>,
}

/// What one event came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventOutcome {
    pub organization: Option<String>,
    pub entity: String,
    pub id: String,
    pub kind: String,
    pub event_id: Option<String>,
    pub result: EventResult,
    /// The organizations that it concerned.
    pub orgs: Vec<OrgNo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventResult {
    /// A job asks the remote about the record.
    Queued,
    /// The connector is not active, the connection takes no webhooks, or only pushes this entity.
    SwitchedOff,
    Duplicate,
    UnknownOrganization,
    UnknownEntity,
}

/// The run that a delivery asked for or joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookRun {
    pub run: RunId,
    pub organization: String,
    pub org_no: OrgNo,
    pub connection: ConnectionId,
}

/// A delivery that waits to be processed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookDue {
    pub due_at: i64,
    pub attempts: u32,
    /// Set where a person asked for it.
    pub replay: Option<HookReplay>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookReplay {
    pub by: String,
    /// Only for this organization: whoever asked reaches no other.
    pub only: Option<OrgNo>,
}

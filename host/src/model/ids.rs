//! Identifiers: numbers inside, also in binary rows, opaque strings with a prefix outside (`run_42`).

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The text is not an identifier of this kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}NUMBER")]
pub struct BadId {
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix($prefix)
                    .filter(|digits| digits.len() == 1 || !digits.starts_with(['0', '+']))
                    .and_then(|digits| digits.parse().ok())
                    .map(Self)
                    .ok_or(BadId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    <$inner>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

id!(
    /// An organization's number; outside it is known by its own id text.
    OrgNo, u32, "orgno_"
);
id!(ConnectorId, u32, "con_");
id!(ConnectionId, u32, "link_");
id!(TemplateId, u32, "tpl_");
id!(RecordId, u64, "rec_");
id!(RunId, u64, "run_");
id!(JobId, u64, "job_");
id!(FailureId, u64, "fail_");
id!(ConflictId, u64, "conf_");
id!(ScheduleId, u32, "sch_");
id!(UserId, u32, "usr_");
id!(TokenId, u32, "tok_");
id!(SessionId, u64, "ses_");
id!(ChannelId, u32, "chan_");
id!(DeliveryId, u64, "note_");
id!(
    /// A delivery that came in.
    HookId, u64, "hook_"
);

/// The number of an entity (`member`, `order`): its name is in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityNo(pub u16);

impl RecordId {
    /// Records of one entity lie together: the upper 16 bits are the entity's number.
    pub fn new(entity: EntityNo, sequence: u64) -> RecordId {
        RecordId(u64::from(entity.0) << 48 | sequence & (u64::MAX >> 16))
    }

    pub fn entity(self) -> EntityNo {
        EntityNo((self.0 >> 48) as u16)
    }
}

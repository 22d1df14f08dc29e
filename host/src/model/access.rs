//! Who may use the server: roles and what they reach, users, tokens, sessions. Stored as JSON rows; times are
//! milliseconds since the epoch. Secrets are known only as hashes.

use super::ids::{OrgNo, SessionId, TokenId, UserId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What a caller may do, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Reads, one organization or all.
    Viewer,
    /// Manages one organization and what is below it.
    OrgAdmin,
    /// Manages everything.
    PlatformAdmin,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Viewer, Role::OrgAdmin, Role::PlatformAdmin];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::OrgAdmin => "orgAdmin",
            Role::PlatformAdmin => "platformAdmin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Role, ()> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(())
    }
}

/// One organization. The number tells it from a later one that was given the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrgKey {
    pub id: String,
    pub no: OrgNo,
}

/// A role and where it holds. `organization` is none for a platform admin, always set for an organization admin, and
/// for a viewer narrows what is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    pub role: Role,
    pub organization: Option<OrgKey>,
}

impl Grant {
    pub fn platform_admin() -> Grant {
        Grant { role: Role::PlatformAdmin, organization: None }
    }

    /// Whether who has this grant may hand out `other`.
    pub fn covers(&self, other: &Grant) -> bool {
        let in_reach = self.organization.is_none() || self.organization == other.organization;
        self.role >= other.role && in_reach
    }
}

/// A person with a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub id: UserId,
    /// As it was typed; compared without regard to case.
    pub email: String,
    pub name: String,
    #[serde(flatten)]
    pub grant: Grant,
    pub disabled: bool,
    /// Never leaves the house.
    pub password_hash: String,
    pub created_at: i64,
    pub last_login_at: Option<i64>,
    pub version: u64,
}

/// An API token; its secret is known only as a hash, which is its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    #[serde(flatten)]
    pub grant: Grant,
    /// An edit by a machine does not count as made by a person.
    pub machine: bool,
    /// The name of who made it.
    pub created_by: String,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    /// Some minutes late: a request is no reason to write.
    pub last_used_at: Option<i64>,
}

impl Token {
    /// A token for everything that never expires. Its id is given when it is stored.
    pub fn platform_admin(name: &str, machine: bool, created_at: i64) -> Token {
        Token {
            id: TokenId::default(),
            name: name.to_owned(),
            grant: Grant::platform_admin(),
            machine,
            created_by: "init".to_owned(),
            created_at,
            expires_at: None,
            last_used_at: None,
        }
    }
}

/// A login in a browser; its secret is known only as a hash, which is its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    pub created_at: i64,
    /// Some seconds late: a request is no reason to write.
    pub seen_at: i64,
    /// The network address of the login.
    pub address: Option<String>,
}

/// Whom an address stands for: of IPv6 everybody has a whole /64, and as many addresses in it as they like.
pub fn network_of(address: IpAddr) -> IpAddr {
    const HOST_BITS: u32 = 64;
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> HOST_BITS << HOST_BITS).into()),
        v4 => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_sender() {
        #[track_caller]
        fn check(address: &str, expected: &str) {
            let network = network_of(address.parse().unwrap());
            assert_eq!(network, expected.parse::<IpAddr>().unwrap());
        }
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("2001:db8:1:2:ffff::", "2001:db8:1:2::");
    }
}

//! The club's members: the same ones each time.

use super::names;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

/// A member as the federation's API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub member_id: String,
    pub first_name: String,
    pub last_name: String,
    pub date_of_birth: String,
    pub gender: String,
    pub email: String,
    pub phone: String,
    pub address: String,
    pub membership_number: String,
    pub membership_status: String,
    pub join_date: String,
    /// RFC 3339.
    pub updated_at: String,
}

impl Member {
    /// The member with this number, from 0.
    pub(super) fn invent(number: u32) -> Member {
        let name = names::name(number);
        let (first, last) = (names::plain(name.first), names::plain(name.last));
        let born = day(Date::constant(1948, 1, 1), number * 7919 % 21_900);
        let joined = day(Date::constant(2009, 1, 1), number * 631 % 5_700);
        let status = match number % 7 {
            2 => "Registered",
            5 => "Current",
            _ => "Active",
        };
        Member {
            member_id: format!("IE-{}", 1_000_001 + number),
            first_name: name.first.to_owned(),
            last_name: name.last.to_owned(),
            date_of_birth: born.to_string(),
            gender: if name.woman { "female" } else { "male" }.to_owned(),
            email: format!("{first}.{last}{number}@club.example"),
            // A range that is kept free for invented numbers.
            phone: format!("+353 20 91{} {:04}", number * 3 % 10, number * 37 % 10_000),
            address: format!("{} {}", 1 + number * 13 % 88, names::street(number)),
            membership_number: format!(
                "{:03}-{:05}-{:03}",
                128 + number / 100_000,
                number % 100_000,
                number * 37 % 1000
            ),
            membership_status: status.to_owned(),
            join_date: joined.to_string(),
            updated_at: format!("2026-01-{:02}T09:{:02}:00Z", 1 + number % 28, number % 60),
        }
    }

    pub fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    /// A field by its name in the API; empty if no scene is about it.
    pub fn get(&self, field: &str) -> &str {
        match field {
            "lastName" => &self.last_name,
            "dateOfBirth" => &self.date_of_birth,
            "email" => &self.email,
            "phone" => &self.phone,
            "address" => &self.address,
            "membershipStatus" => &self.membership_status,
            "joinDate" => &self.join_date,
            _ => "",
        }
    }

    pub(super) fn set(&mut self, field: &str, value: String, at: Timestamp) {
        let place = match field {
            "lastName" => &mut self.last_name,
            "dateOfBirth" => &mut self.date_of_birth,
            "email" => &mut self.email,
            "phone" => &mut self.phone,
            "address" => &mut self.address,
            "membershipStatus" => &mut self.membership_status,
            "joinDate" => &mut self.join_date,
            _ => return,
        };
        *place = value;
        self.updated_at = format!("{at:.3}");
    }
}

fn day(first: Date, after: u32) -> Date {
    first.saturating_add(jiff::Span::new().days(i64::from(after)))
}

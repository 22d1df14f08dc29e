//! Countries by their codes of ISO 3166 and their English names.

use std::collections::HashMap;
use std::sync::LazyLock;

/// `AA AAA Name|Other name`, a line for each country.
const LINES: &str = include_str!("countries.txt");

/// By everything that a country is called, in lower case.
static CODES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let mut codes = HashMap::new();
    for line in LINES.lines() {
        let mut parts = line.splitn(3, ' ');
        if let (Some(two), Some(three), Some(names)) = (parts.next(), parts.next(), parts.next()) {
            for name in names.split('|').chain([two, three]) {
                codes.insert(name.to_lowercase(), two);
            }
        }
    }
    codes
});

/// The two letters of a country.
pub(super) fn code(text: &str) -> Result<&'static str, &'static str> {
    let known = CODES.get(&text.trim().to_lowercase()).copied();
    known.ok_or("is no country that is known by this name or code")
}

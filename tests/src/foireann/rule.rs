//! Rules: which request goes wrong, and how often.
//!
//! Owns matching and counting. What can go wrong is in [`super::fault`].

use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// One scripted fault.
///
/// JSON: `{"match": {"page": 3, "times": 1}, "fault": {"kind": "status", "status": 503}}`. Of the
/// rules that match a request, the first with a turn left fires, and only that one; so two rules
/// with `times` 1 on the same page fire one after the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(rename = "match", default)]
    pub when: When,
    pub fault: Fault,
}

/// What a request must look like; a field that is not set matches everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct When {
    /// The path below the base, with `*` for any run of characters: `/clubs/*/members`.
    pub path: Option<String>,
    pub club: Option<String>,
    /// The page of a listing; a request without `page` asks for page 1.
    pub page: Option<u64>,
    /// The member of a detail request.
    pub member_id: Option<String>,
    /// Fire from the n-th matching request on (1-based, counted from when the rule was added).
    pub nth: Option<u64>,
    /// Fire so often, then never again. Default: once with `nth`, else without end.
    pub times: Option<u64>,
}

impl Rule {
    /// For every request of the API.
    pub fn any(fault: Fault) -> Rule {
        Rule { when: When::default(), fault }
    }

    /// For the listings of every club, whatever the page.
    pub fn listing(fault: Fault) -> Rule {
        Rule::path("/clubs/*/members", fault)
    }

    /// For a page (1-based) of any listing.
    pub fn page(page: u64, fault: Fault) -> Rule {
        Rule { when: When { page: Some(page), ..When::default() }, fault }
    }

    /// For the detail request of a member.
    pub fn member(id: &str, fault: Fault) -> Rule {
        Rule { when: When { member_id: Some(id.to_owned()), ..When::default() }, fault }
    }

    /// For a path below the base, `*` matching anything: `/members.csv`.
    pub fn path(path: &str, fault: Fault) -> Rule {
        Rule { when: When { path: Some(path.to_owned()), ..When::default() }, fault }
    }

    /// Only for this club.
    pub fn club(mut self, club: &str) -> Rule {
        self.when.club = Some(club.to_owned());
        self
    }

    /// From the n-th matching request on (1-based).
    pub fn nth(mut self, nth: u64) -> Rule {
        self.when.nth = Some(nth);
        self
    }

    /// So often, then never again.
    pub fn times(mut self, times: u64) -> Rule {
        self.when.times = Some(times);
        self
    }

    /// One shot.
    pub fn once(self) -> Rule {
        self.times(1)
    }
}

/// What the rules look at.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Below the base path, without the query.
    pub path: String,
    pub club: Option<String>,
    pub page: Option<u64>,
    pub member_id: Option<String>,
}

/// The rules in force, with their counts.
#[derive(Default)]
pub struct RuleBook {
    entries: Vec<Entry>,
}

struct Entry {
    rule: Rule,
    matched: u64,
    fired: u64,
}

/// A rule as the control surface shows it.
#[derive(Debug, Serialize)]
pub struct RuleState<'a> {
    #[serde(flatten)]
    pub rule: &'a Rule,
    /// Requests that matched, whether it fired or not.
    pub matched: u64,
    pub fired: u64,
}

impl RuleBook {
    pub fn add(&mut self, rule: Rule) {
        self.entries.push(Entry { rule, matched: 0, fired: 0 });
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn states(&self) -> impl Iterator<Item = RuleState<'_>> {
        self.entries.iter().map(|entry| RuleState {
            rule: &entry.rule,
            matched: entry.matched,
            fired: entry.fired,
        })
    }

    /// Counts a request and tells what goes wrong with it, if anything does.
    pub fn strike(&mut self, target: &Target) -> Option<Fault> {
        let mut fault = None;
        for entry in &mut self.entries {
            if !entry.rule.when.matches(target) {
                continue;
            }
            entry.matched += 1;
            if fault.is_none() && entry.has_turn() {
                entry.fired += 1;
                fault = Some(entry.rule.fault.clone());
            }
        }
        fault
    }
}

impl Entry {
    fn has_turn(&self) -> bool {
        let When { nth, times, .. } = self.rule.when;
        let times_max = times.or_else(|| nth.map(|_| 1)).unwrap_or(u64::MAX);
        self.matched >= nth.unwrap_or(1) && self.fired < times_max
    }
}

impl When {
    fn matches(&self, target: &Target) -> bool {
        fn same<T: PartialEq>(wanted: Option<&T>, seen: Option<&T>) -> bool {
            wanted.is_none() || wanted == seen
        }
        same(self.club.as_ref(), target.club.as_ref())
            && same(self.page.as_ref(), target.page.as_ref())
            && same(self.member_id.as_ref(), target.member_id.as_ref())
            && self.path.as_deref().is_none_or(|pattern| glob(pattern, &target.path))
    }
}

/// `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            text.char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .any(|at| glob(rest, &text[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(page: u64) -> Target {
        Target {
            path: "/clubs/club-1/members".to_owned(),
            club: Some("club-1".to_owned()),
            page: Some(page),
            member_id: None,
        }
    }

    fn struck(book: &mut RuleBook, pages: &[u64]) -> Vec<u16> {
        let status = |fault| match fault {
            Some(Fault::Status { status, .. }) => status,
            Some(_) => 1,
            None => 200,
        };
        pages.iter().map(|&page| status(book.strike(&listing(page)))).collect()
    }

    #[test]
    fn rules_take_turns_and_count_down() {
        let busy = || Fault::status(503);
        let table: [(Vec<Rule>, &[u64], &[u16]); 6] = [
            (vec![Rule::page(2, busy()).once()], &[1, 2, 2], &[200, 503, 200]),
            (
                vec![Rule::page(1, busy()).once(), Rule::page(1, Fault::status(429)).once()],
                &[1, 1, 1],
                &[503, 429, 200],
            ),
            (vec![Rule::listing(busy()).nth(2)], &[1, 2, 3], &[200, 503, 200]),
            (vec![Rule::listing(busy()).nth(2).times(2)], &[1, 2, 3, 4], &[200, 503, 503, 200]),
            (vec![Rule::any(busy())], &[1, 9], &[503, 503]),
            (vec![Rule::any(busy()).club("club-2"), Rule::member("GAA-1", busy())], &[1], &[200]),
        ];
        for (case, (rules, pages, statuses)) in table.into_iter().enumerate() {
            let mut book = RuleBook::default();
            rules.into_iter().for_each(|rule| book.add(rule));
            assert_eq!(struck(&mut book, pages), statuses, "case {case}");
        }
    }

    #[test]
    fn paths_match_by_glob() {
        for (pattern, path, matches) in [
            ("/members.csv", "/members.csv", true),
            ("/clubs/*/members", "/clubs/club-9/members", true),
            ("/clubs/*/members", "/clubs/club-9/members.csv", false),
            ("/members/*", "/members/GAA-000001", true),
            ("*", "/anything", true),
        ] {
            assert_eq!(glob(pattern, path), matches, "{pattern} on {path}");
        }
    }

    #[test]
    fn rules_are_plain_json() {
        for text in [
            r#"{"match":{"page":3,"times":1},"fault":{"kind":"status","status":503}}"#,
            r#"{"fault":{"kind":"status","status":429,"retryAfter":{"seconds":2}}}"#,
            r#"{"fault":{"kind":"cut","moment":{"afterBytes":100},"reset":true}}"#,
            r#"{"fault":{"kind":"endlessCursor","cursor":"newIds"}}"#,
            r#"{"match":{"memberId":"GAA-000001"},"fault":{"kind":"slowLoris","pieceBytes":1,"pauseMs":50}}"#,
            r#"{"fault":{"kind":"shuffle","shuffle":{"move":{"from":0,"to":20}}}}"#,
        ] {
            let rule: Rule = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let again = serde_json::to_string(&rule).unwrap();
            serde_json::from_str::<Rule>(&again).unwrap_or_else(|e| panic!("{again}: {e}"));
        }
        assert!(serde_json::from_str::<Rule>(r#"{"fault":{"kind":"status","code":503}}"#).is_err());
        assert!(
            serde_json::from_str::<Rule>(r#"{"match":{"pge":3},"fault":{"kind":"hang"}}"#).is_err()
        );
    }
}

//! Rows in which something is doubtful and nothing is missing: the member comes, and the run tells of the doubt.

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Rule};

use crate::fixture::{Setup, assert_counts, member, members};

fn warnings_of(setup: &Setup, run: &Value) -> Vec<String> {
    let path = format!("/sync/status/{}/logs", run["syncId"].as_str().expect("an id"));
    let lines = setup.host.list(&path).into_iter();
    let warned = lines.filter(|line| line["level"] == "warn");
    warned.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A listing of these rows, as they are written.
fn listing_of(rows: &[String], total: u64) -> Rule {
    let rows = rows.join(",");
    let text = format!(r#"{{"members":[{rows}],"totalCount":{total},"hasMore":false}}"#);
    let content_type = "application/json".to_owned();
    Rule::listing(Fault::Body { status: 200, content_type, text, hex: None })
}

/// What federations list of their members, by the bundled template.
#[test]
fn a_doubtful_address_keeps_no_member_out() {
    let rows = [
        member(1, json!({})),
        member(2, json!({"email": null})),
        member(3, json!({"phone": ""})),
        member(4, json!({"membershipStatus": "Lapsed"})),
        member(5, json!({"email": "aoife@example"})),
        member(6, json!({"phone": "not-a-phone-number"})),
        member(7, json!({"address": "Ennis"})),
        member(8, json!({"membershipNumber": null})),
        member(9, json!({"firstName": "Caoimhín", "lastName": "O'Neill-McCarthy"})),
        member(10, json!({"membershipNumber": "12"})),
        member(11, json!({"joinDate": "last year"})),
        member(12, json!({"address": {"town": "Ennis"}})),
    ];
    let setup = Setup::new(&rows);
    let run = setup.synced();
    assert_counts(&run, json!({"created": 12, "invalid": 0, "quarantined": 0, "warnings": 5}));
    assert_eq!(setup.field("M-5", "email"), "aoife@example");
    assert_eq!(setup.field("M-6", "phone"), "not-a-phone-number");
    assert_eq!(setup.field("M-10", "membershipNumber"), "12");
    assert_eq!(setup.field("M-11", "joinDate"), Value::Null, "a day that is none is left out");
    assert_eq!(setup.field("M-12", "address"), Value::Null, "so is what is no text");
    assert_eq!(setup.record("M-4")["status"], "inactive");
    let told = warnings_of(&setup, &run);
    assert_eq!(told.len(), 5, "{told:#?}");
    // Each run tells of them, and changes nothing.
    assert_counts(&setup.synced(), json!({"unchanged": 12, "warnings": 5}));
}

/// A time that cannot be read is no time: the record counts as one without.
#[test]
fn a_time_in_another_form_keeps_no_member_out() {
    let setup = Setup::new(&[
        member(1, json!({"updatedAt": "28/02/2026 10:30"})),
        member(2, json!({"updatedAt": ""})),
        member(3, json!({"updatedAt": "2026-02-28T10:30:00Z"})),
    ]);
    let run = setup.synced();
    assert_counts(&run, json!({"created": 3, "invalid": 0, "warnings": 1}));
    assert!(warnings_of(&setup, &run)[0].contains("RFC 3339"), "{run:#}");
}

/// Of two rows with one id the one that can be read counts, wherever it stands, and the other waits for somebody.
#[test]
fn a_malformed_double_of_a_row_takes_nothing_from_it() {
    let broken = |number| member(number, json!({"dateOfBirth": "x"})).to_string();
    let torn = r#"{"memberId": "M-3", "firstName": [1], "lastName": "b"}"#.to_owned();
    let mut rows: Vec<String> = members(4).iter().map(Value::to_string).collect();
    rows.insert(0, broken(1));
    rows.insert(3, broken(2));
    rows.insert(4, torn);
    let setup = Setup::new(&[]);
    // The remote counts its members, and not the rows that it wrote twice.
    setup.sim.fault(listing_of(&rows, 4));
    for wanted in [json!({"created": 4}), json!({"unchanged": 4, "created": 0})] {
        let run = setup.synced();
        assert_counts(&run, wanted);
        assert_eq!(run["counts"]["quarantined"], 3, "{run:#}");
        assert_eq!(run["listingComplete"], true, "{run:#}");
        assert_eq!(setup.records().len(), 4);
        assert_eq!(setup.failures().len(), 3);
    }
}

/// A remote that lists who is gone may count them in its total, or not.
#[test]
fn a_listing_with_tombstones_adds_up_either_way() {
    let setup = Setup::new(&members(3));
    setup.synced();
    let gone = json!({"memberId": "M-2", "deleted": true}).to_string();
    for total in [3, 2] {
        let rows =
            [member(1, json!({})).to_string(), gone.clone(), member(3, json!({})).to_string()];
        setup.sim.clear_faults();
        setup.sim.fault(listing_of(&rows, total));
        let run = setup.sync();
        assert_eq!(run["status"], "completed", "{total}: {run:#}");
        assert_eq!(run["listingComplete"], true, "{total}: {run:#}");
        assert_eq!(setup.record("M-2")["status"], "inactive");
    }
}

//! Which local record a remote one belongs to: by external id, secondary id, match rule, or none.

use serde_json::{Value, json};
use syncline_tests::foireann::members_csv::{CsvStyle, Header};
use syncline_tests::foireann::{Fault, Rule};

use crate::fixture::{CLUB, ORG, Setup, assert_counts, member, members, text};

/// Adds a connection that reads the simulator's members file; answers (connector, connection).
fn csv_connection(setup: &Setup) -> (String, String) {
    setup.sim.set_csv(&CsvStyle { header: Header::Api, ..CsvStyle::default() });
    let file = json!({
        "name": "Members file",
        "federationCode": "members_file",
        "plugin": "csv-members",
        "endpoints": {"baseUrl": format!("{}/members.csv", setup.sim.base_url())},
        "config": {},
    });
    let connector = setup.host.create_connector("", file);
    let connection = setup.host.connect(ORG, &connector, CLUB, json!({}));
    (connector, connection)
}

fn create(setup: &Setup, fields: Value) -> String {
    let body = json!({"entity": "member", "fields": fields});
    let path = format!("/organizations/{ORG}/records");
    text(&setup.host.call("POST", &path, &body, 201), "id")
}

fn person(first: &str, last: &str, born: &str) -> Value {
    json!({"firstName": first, "lastName": last, "dateOfBirth": born})
}

#[test]
fn a_record_is_found_by_its_external_id_whatever_else_changes() {
    let setup = Setup::new(&members(1));
    setup.synced();
    let id = setup.record("M-1")["id"].clone();
    let changed = member(
        1,
        json!({
            "firstName": "Niamh", "lastName": "Other", "dateOfBirth": "1980-02-03",
            "membershipNumber": "200-00001-001", "email": "other@example.ie",
        }),
    );
    setup.sim.set_members(CLUB, &[changed]);
    assert_counts(&setup.synced(), json!({"updated": 1, "created": 0, "linked": 0}));
    let record = setup.record("M-1");
    assert_eq!(record["id"], id);
    assert_eq!(record["externalIds"]["membershipNumber"], "200-00001-001");
}

#[test]
fn records_of_another_connector_are_linked_by_membership_number_and_not_doubled() {
    let setup = Setup::generated(40);
    let (csv, csv_connection) = csv_connection(&setup);
    let first = setup.host.sync(ORG, &csv, json!({}));
    assert_eq!(first["status"], "completed", "{first:#}");
    assert_counts(&first, json!({"created": 40}));
    let before = setup.last_change();
    let second = setup.synced();
    assert_counts(&second, json!({"linked": 40, "created": 0, "updated": 0}));
    let records = setup.records();
    assert_eq!(records.len(), 40);
    for record in &records {
        let ids = &record["externalIds"];
        assert_eq!(ids[&csv_connection], ids[&setup.connection], "{record:#}");
    }
    let changes = setup.host.changes(ORG, before);
    assert_eq!(changes.len(), 40);
    assert!(changes.iter().all(|row| row["kind"] == "linked"), "{:#}", changes[0]);
    // Both connections agree from now on.
    assert_counts(&setup.synced(), json!({"unchanged": 40}));
    let again = setup.host.sync(ORG, &csv, json!({}));
    assert_counts(&again, json!({"unchanged": 40, "updated": 0}));
}

#[test]
fn the_membership_number_links_even_under_another_name() {
    let setup = Setup::new(&members(1));
    let (csv, _) = csv_connection(&setup);
    setup.host.sync(ORG, &csv, json!({}));
    setup.sim.patch_member("M-1", json!({"lastName": "Ní Shé", "memberId": "M-77"}));
    assert_counts(&setup.synced(), json!({"linked": 1, "created": 0}));
    assert_eq!(setup.field("M-77", "lastName"), "Ní Shé");
    assert_eq!(setup.records().len(), 1);
}

#[test]
fn name_and_date_of_birth_link_a_record_made_by_hand() {
    let remote = member(1, json!({"firstName": "Seán", "lastName": "O'Brien"}));
    let setup = Setup::new(&[remote]);
    let id = create(&setup, person("  seán ", "O'BRIEN", "1990-01-02"));
    let other = create(&setup, person("Seán", "O'Brien", "1991-01-02"));
    assert_counts(&setup.synced(), json!({"linked": 1, "created": 0}));
    let record = setup.record("M-1");
    assert_eq!(record["id"], *id);
    assert_ne!(record["id"], *other);
    let path = format!("/organizations/{ORG}/records/{id}/history");
    let history = setup.host.list(&path);
    assert_eq!(history[0]["kind"], "linked", "{history:#?}");
}

#[test]
fn without_a_match_a_record_is_created() {
    let setup = Setup::new(&members(1));
    create(&setup, person("Aoife", "Member1", "1999-09-09"));
    assert_counts(&setup.synced(), json!({"created": 1, "linked": 0}));
    assert_eq!(setup.records().len(), 2);
}

#[test]
fn an_ambiguous_match_waits_for_review_and_closes_when_it_is_clear() {
    let setup = Setup::new(&members(6));
    let twins: Vec<String> =
        (0..2).map(|_| create(&setup, person("Aoife", "Member1", "1990-01-02"))).collect();
    let run = setup.synced();
    assert_counts(&run, json!({"created": 5, "linked": 0, "quarantined": 1, "valid": 6}));
    assert!(setup.find("M-1").is_none(), "never a guess");
    let failures = setup.failures();
    assert_eq!(failures.len(), 1, "{failures:#?}");
    assert_eq!(failures[0]["externalId"], "M-1");
    assert_eq!(failures[0]["code"], "match.ambiguous");
    assert_eq!(failures[0]["attempts"], 1);
    // Seen again it is the same failure.
    setup.synced();
    let again = setup.failures();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["id"], failures[0]["id"]);
    assert_eq!(again[0]["attempts"], 2);
    assert_eq!(again[0]["firstSeenAt"], failures[0]["firstSeenAt"]);
    // A person tells the two apart.
    setup.host.edit(ORG, &twins[0], json!({"dateOfBirth": "1960-01-01"}));
    assert_counts(&setup.synced(), json!({"linked": 1, "unchanged": 5, "quarantined": 0}));
    assert_eq!(setup.record("M-1")["id"], *twins[1]);
    assert!(setup.failures().is_empty(), "{:#?}", setup.failures());
    let closed = setup.host.get(&format!("/sync/failures/{}", text(&failures[0], "id")));
    assert!(closed["resolvedAt"].is_string(), "{closed:#}");
}

#[test]
fn two_remote_records_with_one_membership_number_are_not_merged() {
    let mut rows = members(6);
    rows[1]["membershipNumber"] = rows[0]["membershipNumber"].clone();
    let setup = Setup::new(&rows);
    let run = setup.synced();
    assert_counts(&run, json!({"created": 5, "quarantined": 1}));
    assert_eq!(setup.failures()[0]["externalId"], "M-2");
    assert_eq!(setup.field("M-1", "email"), "member1@example.ie");
    // The federation gives the second one a number of its own.
    setup.sim.patch_member("M-2", json!({"membershipNumber": "300-00002-001"}));
    assert_counts(&setup.synced(), json!({"created": 1, "quarantined": 0}));
    assert!(setup.failures().is_empty());
}

#[test]
fn two_people_of_one_name_and_birthday_in_one_listing_are_two_records() {
    let mut rows = members(2);
    for name in ["lastName", "dateOfBirth"] {
        rows[1][name] = rows[0][name].clone();
    }
    let setup = Setup::new(&rows);
    assert_counts(&setup.synced(), json!({"created": 2}));
    assert_counts(&setup.synced(), json!({"unchanged": 2}));
}

#[test]
fn each_connection_keeps_bases_of_its_own() {
    let setup = Setup::new(&members(1));
    let (csv, _) = csv_connection(&setup);
    setup.synced();
    assert_counts(&setup.host.sync(ORG, &csv, json!({})), json!({"linked": 1}));
    // The file brings a new value first; the list, which follows, has come to the same one.
    setup.sim.patch_member("M-1", json!({"email": "new@example.ie"}));
    assert_counts(&setup.host.sync(ORG, &csv, json!({})), json!({"updated": 1}));
    let run = setup.synced();
    assert_counts(&run, json!({"unchanged": 1, "updated": 0, "conflictsDetected": 0}));
    // Both agree now; the next change of either is taken without a conflict.
    setup.sim.patch_member("M-1", json!({"email": "newer@example.ie"}));
    assert_counts(&setup.synced(), json!({"updated": 1, "conflictsDetected": 0}));
    let run = setup.host.sync(ORG, &csv, json!({}));
    assert_counts(&run, json!({"unchanged": 1, "conflictsDetected": 0}));
    assert_eq!(setup.field("M-1", "email"), "newer@example.ie");
}

/// A roster that was there before the federation: its members have a number, and no secondary id.
#[test]
fn the_membership_number_of_a_record_made_by_hand_links_it_under_another_name() {
    let setup = Setup::new(&members(2));
    let number = members(1)[0]["membershipNumber"].clone();
    let mut fields = person("Aoife", "Ní Shé", "1971-02-03");
    fields["membershipNumber"] = number;
    let id = create(&setup, fields);
    assert_counts(&setup.synced(), json!({"linked": 1, "created": 1}));
    assert_eq!(setup.record("M-1")["id"], *id);
    assert_counts(&setup.synced(), json!({"unchanged": 2}));
}

#[test]
fn two_rows_that_fit_one_record_are_not_told_apart_by_their_order() {
    let mut rows = members(6);
    for name in ["firstName", "lastName", "dateOfBirth"] {
        rows[1][name] = rows[0][name].clone();
    }
    let setup = Setup::new(&rows);
    let id = create(&setup, person("Aoife", "Member1", "1990-01-02"));
    let run = setup.synced();
    assert_counts(&run, json!({"linked": 1, "created": 4, "quarantined": 1}));
    assert_eq!(setup.record("M-1")["id"], *id);
    let failures = setup.failures();
    assert_eq!(failures.len(), 1, "{failures:#?}");
    assert_eq!(failures[0]["externalId"], "M-2");
    assert_eq!(failures[0]["code"], "match.ambiguous");
}

/// Records that come while a run reads: by number one of them, the other by name and birthday.
#[test]
fn a_record_that_comes_while_a_run_reads_is_linked_and_not_doubled() {
    let config = json!({"config": {"pageSize": 2, "requestsPerMinute": 1_000_000}});
    let setup = Setup::with(&members(4), config, json!({}));
    setup.sim.fault(Rule::page(2, Fault::Delay { ms: 3_000 }));
    let run = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    setup.host.run_when(&run, "to have planned a page", |run| run["progress"]["fetched"] == 2);
    let mut by_number = person("Aoife", "Ní Shé", "1971-02-03");
    by_number["membershipNumber"] = members(1)[0]["membershipNumber"].clone();
    let numbered = create(&setup, by_number);
    let named = create(&setup, person("Aoife", "Member2", "1990-01-03"));
    let run = setup.host.ended(&run);
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_counts(&run, json!({"linked": 2, "created": 2}));
    assert_eq!(setup.record("M-1")["id"], *numbered);
    assert_eq!(setup.record("M-2")["id"], *named);
    assert_eq!(setup.records().len(), 4);
}

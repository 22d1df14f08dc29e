//! Undo of a run: an edit by a person that puts back what nobody touched since.

use serde_json::{Value, json};

use crate::fixture::{CLUB, ORG, Setup, assert_counts, member, members, text};

fn undo(setup: &Setup, run: &Value, status: u16) -> Value {
    let path = format!("/sync/status/{}/undo", text(run, "syncId"));
    setup.host.call("POST", &path, &Value::Null, status)
}

/// A run that updated members 1 and 2, deactivated 3 and created 5.
fn undoable() -> (Setup, Value) {
    let setup = Setup::new(&members(4));
    setup.synced();
    let mut rows = members(4);
    rows[0]["address"] = json!("moved");
    rows[0]["email"] = json!("new@example.ie");
    rows[1]["address"] = json!("moved");
    rows.remove(2);
    rows.push(member(5, json!({})));
    setup.sim.set_members(CLUB, &rows);
    let run = setup.synced();
    assert_counts(&run, json!({"updated": 2, "deactivated": 1, "created": 1, "unchanged": 1}));
    (setup, run)
}

#[test]
fn undo_puts_back_updates_creations_and_deactivations() {
    let (setup, run) = undoable();
    let before = setup.last_change();
    let report = undo(&setup, &run, 200);
    assert_eq!(report["reverted"], 4, "{report:#}");
    assert_eq!(report["skipped"], json!([]));
    assert!(report["undoneAt"].is_string(), "{report:#}");
    assert_eq!(setup.field("M-1", "address"), "1 Main Street, Ennis");
    assert_eq!(setup.field("M-1", "email"), "member1@example.ie");
    assert_eq!(setup.field("M-2", "address"), "2 Main Street, Ennis");
    assert_eq!(setup.record("M-3")["status"], "active");
    assert_eq!(setup.record("M-5")["status"], "inactive");
    let record = setup.record("M-1");
    assert_eq!(record["fieldMeta"]["address"]["modifiedBy"]["kind"], "person", "{record:#}");
    let changes = setup.host.changes(ORG, before);
    assert_eq!(changes.len(), 4, "{changes:#?}");
    assert!(changes.iter().all(|row| row["runId"] == Value::Null), "{changes:#?}");
}

#[test]
fn an_undone_run_says_who_undid_it_and_cannot_be_undone_again() {
    let (setup, run) = undoable();
    undo(&setup, &run, 200);
    let shown = setup.host.run(&text(&run, "syncId"));
    assert!(shown["undoneBy"].is_string() && shown["undoneAt"].is_string(), "{shown:#}");
    let again = undo(&setup, &run, 409);
    assert_eq!(again["code"], "already-decided", "{again:#}");
    assert!(text(&again, "detail").starts_with("the run was undone by "), "{again:#}");
}

#[test]
fn fields_edited_since_are_skipped_and_listed() {
    let (setup, run) = undoable();
    setup.edit("M-1", json!({"address": "edited since"}));
    setup.edit("M-5", json!({"email": "edited@example.ie"}));
    let report = undo(&setup, &run, 200);
    let skipped = report["skipped"].as_array().unwrap();
    let of = |id: &str| {
        let record = setup.record(id)["id"].clone();
        let found = skipped.iter().filter(|skip| skip["recordId"] == record);
        found.map(|skip| text(skip, "field")).collect::<Vec<_>>()
    };
    assert_eq!(of("M-1"), ["address"], "{report:#}");
    assert_eq!(of("M-5"), ["status"], "{report:#}");
    assert_eq!(skipped.len(), 2, "{report:#}");
    assert!(skipped.iter().all(|skip| skip["reason"].is_string()));
    assert_eq!(setup.field("M-1", "address"), "edited since");
    assert_eq!(setup.field("M-1", "email"), "member1@example.ie");
    assert_eq!(setup.record("M-5")["status"], "active");
}

#[test]
fn fields_that_a_later_run_changed_are_skipped() {
    let (setup, run) = undoable();
    setup.sim.patch_member("M-1", json!({"address": "moved again"}));
    setup.synced();
    let report = undo(&setup, &run, 200);
    assert_eq!(report["skipped"][0]["field"], "address", "{report:#}");
    assert_eq!(setup.field("M-1", "address"), "moved again");
    assert_eq!(setup.field("M-1", "email"), "member1@example.ie");
}

#[test]
fn the_next_sync_does_not_do_again_what_was_undone() {
    let (setup, run) = undoable();
    undo(&setup, &run, 200);
    let next = setup.synced();
    assert_counts(
        &next,
        json!({"updated": 0, "created": 0, "deactivated": 0, "conflictsDetected": 0}),
    );
    assert_eq!(setup.field("M-1", "address"), "1 Main Street, Ennis");
    assert_eq!(setup.record("M-5")["status"], "inactive");
    // The bases stayed, so the remote's next word is a conflict with the undo.
    setup.sim.patch_member("M-1", json!({"address": "moved again"}));
    let run = setup.synced();
    assert_counts(&run, json!({"conflictsDetected": 1}));
    assert_eq!(setup.conflicts_of(&run)[0]["baseValue"], "moved");
}

#[test]
fn an_undone_deactivation_waits_until_the_record_is_seen_again() {
    let (setup, run) = undoable();
    undo(&setup, &run, 200);
    assert_counts(&setup.synced(), json!({"deactivated": 0}));
    assert_eq!(setup.record("M-3")["status"], "active");
    // Seen again, and then gone again: now it counts.
    setup.sim.add_members(CLUB, &[member(3, json!({}))]);
    assert_counts(&setup.synced(), json!({"deactivated": 0}));
    setup.sim.delete_member("M-3");
    assert_counts(&setup.synced(), json!({"deactivated": 1}));
    assert_eq!(setup.record("M-3")["status"], "inactive");
}

#[test]
fn a_first_sync_can_be_undone_whole() {
    let setup = Setup::generated(50);
    let run = setup.synced();
    assert_eq!(undo(&setup, &run, 200)["reverted"], 50);
    assert!(setup.records().iter().all(|record| record["status"] == "inactive"));
    assert_counts(&setup.synced(), json!({"created": 0}));
}

#[test]
fn a_run_that_applied_nothing_cannot_be_undone() {
    let mut rows = members(4);
    rows[..3].iter_mut().for_each(|row| row["lastName"] = json!(""));
    let setup = Setup::new(&rows);
    let run = setup.sync();
    assert_eq!(run["status"], "failed");
    undo(&setup, &run, 409);
    setup.host.call("POST", "/sync/status/run_99999/undo", &Value::Null, 404);
}

//! People and runs at the same time: an edit while a run is under way is seen before its commit.

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Rule};

use crate::fixture::{ORG, Setup, assert_counts, members, text};

/// A run that has planned its first page, of members 1 and 2, and waits for the second, of 3 and 4.
fn under_way(strategy: &str, remote: &Value) -> (Setup, String) {
    let config = json!({"config": {"requestsPerMinute": 1_000_000, "pageSize": 2}});
    let setup = Setup::with(&members(4), config, json!({"strategy": strategy}));
    setup.synced();
    setup.sim.patch_member("M-1", remote.clone());
    setup.sim.fault(Rule::page(2, Fault::Delay { ms: 2000 }).once());
    let asked = setup.host.ask(ORG, &setup.connector, json!({}));
    let id = text(&asked, "syncId");
    let planned = |run: &Value| run["counts"]["fetched"] == 2;
    setup.host.run_when(&id, "to plan its first page", planned);
    (setup, id)
}

#[test]
fn an_edit_during_a_run_is_compared_again_before_the_commit() {
    let remote = json!({"email": "remote@example.ie", "address": "moved"});
    for (strategy, email) in
        [("federation_wins", "remote@example.ie"), ("local_wins", "local@example.ie")]
    {
        let (setup, id) = under_way(strategy, &remote);
        setup.edit("M-1", json!({"email": "local@example.ie", "phone": "085 111 1111"}));
        setup.edit("M-3", json!({"phone": "085 333 3333"}));
        let run = setup.host.ended(&id);
        assert_eq!(run["status"], "completed", "{run:#}\n{}", setup.host.log());
        assert_counts(&run, json!({"updated": 1, "unchanged": 3, "conflictsDetected": 1}));
        let line = &setup.conflicts_of(&run)[0];
        assert_eq!(line["localValue"], "local@example.ie", "{line:#}");
        let fields = &setup.record("M-1")["fields"];
        assert_eq!(fields["email"], email, "{strategy}");
        assert_eq!(fields["address"], "moved");
        assert_eq!(fields["phone"], "085 111 1111");
        assert_eq!(setup.field("M-3", "phone"), "085 333 3333");
    }
}

/// The decision for the local value leaves the record as it is, and the run has planned to hold the conflict again.
#[test]
fn a_decision_during_a_run_is_not_asked_for_again() {
    let local = "local@example.ie";
    for body in [json!({"choice": "local"}), json!({"choice": "value", "value": local})] {
        let config = json!({"config": {"requestsPerMinute": 1_000_000, "pageSize": 2}});
        let setup = Setup::with(&members(4), config, json!({"strategy": "manual"}));
        setup.synced();
        setup.edit("M-1", json!({"email": local}));
        setup.sim.patch_member("M-1", json!({"email": "remote@example.ie"}));
        assert_counts(&setup.synced(), json!({"conflictsHeld": 1}));
        let item = setup.inbox().remove(0);
        setup.sim.fault(Rule::page(2, Fault::Delay { ms: 2000 }).once());
        let id = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
        let planned = |run: &Value| run["counts"]["conflictsHeld"] == 1;
        setup.host.run_when(&id, "to plan its first page", planned);
        let path = format!("/conflicts/{}/resolve", text(&item, "id"));
        setup.host.call("POST", &path, &body, 200);
        let run = setup.host.ended(&id);
        assert_eq!(run["status"], "completed", "{run:#}\n{}", setup.host.log());
        assert_counts(&run, json!({"conflictsDetected": 0, "updated": 0, "unchanged": 4}));
        assert_eq!(setup.inbox(), Vec::<Value>::new(), "{body}");
        assert_eq!(setup.field("M-1", "email"), local);
        let decided = setup.host.get(&format!("/conflicts/{}", text(&item, "id")));
        assert_eq!(decided["resolution"]["choice"], body["choice"], "{decided:#}");
    }
}

/// Nor does the strategy that the policy has by now overrule it.
#[test]
fn a_decision_during_a_run_stands_against_a_later_policy() {
    let config = json!({"config": {"requestsPerMinute": 1_000_000, "pageSize": 2}});
    let setup = Setup::with(&members(4), config, json!({"strategy": "manual"}));
    setup.synced();
    setup.edit("M-1", json!({"email": "local@example.ie"}));
    setup.sim.patch_member("M-1", json!({"email": "remote@example.ie"}));
    assert_counts(&setup.synced(), json!({"conflictsHeld": 1}));
    let item = setup.inbox().remove(0);
    let path = format!("/organizations/{ORG}/connections/{}", setup.connection);
    setup.host.change("PATCH", &path, &json!({"strategy": "federation_wins"}), 200);
    setup.sim.fault(Rule::page(2, Fault::Delay { ms: 2000 }).once());
    let id = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    let planned = |run: &Value| run["counts"]["conflictsResolved"] == 1;
    setup.host.run_when(&id, "to plan its first page", planned);
    let path = format!("/conflicts/{}/resolve", text(&item, "id"));
    setup.host.call("POST", &path, &json!({"choice": "local"}), 200);
    let run = setup.host.ended(&id);
    assert_counts(&run, json!({"conflictsDetected": 0, "updated": 0}));
    assert_eq!(setup.field("M-1", "email"), "local@example.ie");
    assert_eq!(setup.inbox(), Vec::<Value>::new());
}

#[test]
fn nothing_of_a_run_is_seen_before_its_end() {
    let (setup, id) = under_way("federation_wins", &json!({"address": "moved"}));
    let last = setup.last_change();
    assert_eq!(setup.field("M-1", "address"), "1 Main Street, Ennis");
    setup.host.ended(&id);
    assert_eq!(setup.field("M-1", "address"), "moved");
    assert_eq!(setup.last_change(), last + 1);
}

#[test]
fn a_run_that_is_cancelled_between_pages_applies_nothing() {
    let (setup, id) = under_way("federation_wins", &json!({"address": "moved"}));
    let path = format!("/sync/status/{id}/cancel");
    setup.host.call("POST", &path, &Value::Null, 202);
    let run = setup.host.ended(&id);
    assert_eq!(run["status"], "cancelled", "{run:#}");
    assert_eq!(setup.field("M-1", "address"), "1 Main Street, Ennis");
    assert_eq!(setup.record("M-1")["version"], 1);
}

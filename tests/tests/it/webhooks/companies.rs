//! One address for the books of many companies: one delivery concerns several of them, in either form.

use serde_json::{Value, json};
use syncline::signature;
use syncline_tests::foireann::{Options, Sim};

use super::{Delivery, FAST, SECRET, now_millis};
use crate::access::world::json_of;
use crate::fixture::{Host, checked, federation, text};

/// Two companies of one connector.
struct Books {
    host: Host,
    connector: String,
    _nobody: Sim,
}

impl Books {
    #[track_caller]
    fn start() -> Books {
        let nobody = federation(Options::members(0));
        let host = Host::with_config(&[nobody.host_port()], FAST);
        let installed = json_of(&crate::plugins::upload(&host, crate::hostile::books()));
        host.call("POST", "/plugins/books/approve", &json!({"sha256": installed["sha256"]}), 200);
        let body = json!({
            "name": "Books", "federationCode": "books", "plugin": "books", "authType": "none",
            "endpoints": {"baseUrl": nobody.base_url()}, "syncConfig": {"enabled": false},
            "credentials": {"webhookSecret": SECRET},
        });
        let connector = text(&host.call("POST", "/connectors", &body, 201), "id");
        for (organization, realm) in [("one", "1001"), ("two", "1002")] {
            host.create_organization(organization);
            host.connect(organization, &connector, realm, json!({}));
        }
        Books { host, connector, _nobody: nobody }
    }

    /// The row of a delivery, with the names of what it left behind in each organization.
    #[track_caller]
    fn told(&self, body: &Value) -> Value {
        let verifier = signature::shipped("intuit").expect("a scheme");
        let body = body.to_string();
        let signed = signature::sign(&verifier, SECRET, "", now_millis(), body.as_bytes());
        let signed = signed.expect("it can be signed");
        let path = format!("/webhooks/{}", self.connector);
        let delivery = Delivery { path, headers: signed.headers, body: signed.body };
        let mut connection =
            syncline_tests::http::Connection::open(self.host.address()).expect("a connection");
        let answer = super::send_on(&mut connection, &delivery).expect("an answer");
        let id = text(&checked("POST", "a delivery", &answer, 200), "deliveryId");
        let path = format!("/webhooks/deliveries/{id}");
        let row = self.host.until(&path, "to be processed", |row| row["status"] == "ended");
        for run in row["runs"].as_array().expect("runs") {
            let run = self.host.ended(&text(run, "syncId"));
            assert_eq!(run["status"], "completed", "{run:#}");
        }
        row
    }

    /// Names of the records of an organization and whether they are active.
    #[track_caller]
    fn names(&self, organization: &str) -> Vec<(String, String)> {
        let path = format!("/organizations/{organization}/records?entity=customer");
        let row = |row: &Value| (text(&row["fields"], "name"), text(row, "status"));
        let mut names: Vec<(String, String)> = self.host.list(&path).iter().map(row).collect();
        names.sort();
        names
    }
}

fn active(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).to_owned(), "active".to_owned())).collect()
}

fn results(row: &Value) -> Vec<&str> {
    let events = row["events"].as_array().expect("events");
    events.iter().map(|event| event["result"].as_str().expect("a result")).collect()
}

#[test]
fn cloud_events_of_several_companies_go_to_each_of_them_once() {
    let books = Books::start();
    let event = |id: &str, realm: &str, customer: &str, kind: &str| {
        json!({
            "specversion": "1.0", "id": id, "source": "intuit.dsnjkx", "type": kind,
            "datacontenttype": "application/json", "time": "2026-07-01T10:00:00Z",
            "intuitaccountid": realm, "intuitentityid": customer, "data": {},
        })
    };
    let created = "qbo.customer.created.v1";
    let row = books.told(&json!([
        event("e1", "1001", "7", created),
        event("e2", "1002", "7", "qbo.customer.updated.v1"),
        event("e3", "1001", "8", "qbo.customer.emailed.v1"),
        // A company that is not connected, a kind of record that nobody here knows, and one of the others again.
        event("e4", "1009", "7", created),
        event("e5", "1001", "7", "qbo.budget.created.v1"),
        event("e1", "1001", "7", created),
    ]));
    assert_eq!(row["verdict"], "accepted", "{row:#}");
    assert_eq!(results(&row), ["queued", "queued", "queued", "unknownOrganization", "duplicate"]);
    assert_eq!(row["runs"].as_array().map(Vec::len), Some(2), "{row:#}");
    assert_eq!(books.names("one"), active(&["7 of 1001", "8 of 1001"]));
    assert_eq!(books.names("two"), active(&["7 of 1002"]));
    // The same event in another delivery: sent again with others, as senders do that were not answered.
    let row =
        books.told(&json!([event("e2", "1002", "7", created), event("e6", "1002", "9", created)]));
    assert_eq!(results(&row), ["duplicate", "queued"]);
    // The same id means something else for another company.
    let row = books.told(&json!([event("e6", "1001", "9", created)]));
    assert_eq!(results(&row), ["queued"], "{row:#}");
    assert_eq!(books.names("two"), active(&["7 of 1002", "9 of 1002"]));
    assert_eq!(books.told(&json!([{"specversion": "1.0"}]))["verdict"], "unknownEvent");
}

#[test]
fn the_older_form_of_several_companies_goes_to_each_of_them_once() {
    let books = Books::start();
    let change = |customer: &str, operation: &str, minute: u32| {
        json!({
            "name": "Customer", "id": customer, "operation": operation,
            "lastUpdated": format!("2026-07-01T10:{minute:02}:00.000Z"),
        })
    };
    let company = |realm: &str, changes: Value| json!({"realmId": realm, "dataChangeEvent": {"entities": changes}});
    let told = |companies: Value| books.told(&json!({ "eventNotifications": companies }));
    let row = told(json!([
        company("1001", json!([change("7", "Create", 1), change("8", "Create", 1)])),
        company(
            "1002",
            json!([change("7", "Create", 1), {"name": "Preferences", "id": "1", "operation": "Update"}])
        ),
    ]));
    assert_eq!(results(&row), ["queued", "queued", "queued"], "{row:#}");
    assert_eq!(books.names("one"), active(&["7 of 1001", "8 of 1001"]));
    assert_eq!(books.names("two"), active(&["7 of 1002"]));
    // One record, operation and time is one event; another time is another.
    let row =
        told(json!([company("1001", json!([change("7", "Create", 1), change("7", "Update", 2)]))]));
    assert_eq!(results(&row), ["duplicate", "queued"], "{row:#}");
    // This remote still knows the one that is said to be gone, so that it stays.
    let row = told(json!([company("1001", json!([change("8", "Delete", 3)]))]));
    assert_eq!(results(&row), ["queued"]);
    assert_eq!(books.names("one"), active(&["7 of 1001", "8 of 1001"]));
}

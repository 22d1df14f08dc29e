mod transforms;

use super::*;
use crate::model::RemoteRow;
use crate::model::manifest::EntitySpec;
use crate::model::rows::Rows;
use crate::model::template::EntityTemplate;
use serde_json::json;

/// Shaped as a federation of clubs describes its members.
fn member_spec() -> EntitySpec {
    serde_json::from_value(json!({
        "name": "member", "title": "Members", "key": "memberId", "modes": ["full"],
        "fields": [
            {"name": "firstName", "required": true},
            {"name": "lastName", "required": true},
            {"name": "dateOfBirth", "type": "date", "required": true},
            {"name": "email", "type": "email"},
            {"name": "phone", "type": "phone"},
            {"name": "address"},
            {"name": "membershipNumber", "pattern": r"^\d{3}-\d{5}-\d{3}$"},
            {"name": "membershipStatus"},
            {"name": "joinDate", "type": "date"},
            {"name": "allergies", "sensitive": true},
        ],
    }))
    .unwrap()
}

fn member_template() -> EntityTemplate {
    serde_json::from_value(json!({
        "fields": [
            {"source": "firstName", "target": "firstName", "required": true},
            {"source": "lastName", "target": "lastName", "required": true},
            {"source": "dateOfBirth", "target": "dateOfBirth", "type": "date", "required": true},
            {"source": "email", "target": "email", "type": "email"},
            {"source": "phone", "target": "phone", "type": "phone"},
            {"source": "address", "target": "address"},
            {"source": "membershipNumber", "target": "membershipNumber"},
            {"source": "joinDate", "target": "joinDate", "type": "date", "onError": "skip"},
        ],
        "status": {
            "source": "membershipStatus",
            "active": ["active", "current", "registered"],
            "inactive": ["lapsed"],
        },
        "match": [["membershipNumber"], ["firstName", "lastName", "dateOfBirth"]],
    }))
    .unwrap()
}

fn member_row() -> serde_json::Value {
    json!({
        "firstName": "Aoife", "lastName": "Byrne", "dateOfBirth": "2010-02-28",
        "email": "aoife@example.ie", "phone": "087 123 4567", "address": "1 Main St, Naas, Kildare",
        "membershipNumber": "123-45678-901", "membershipStatus": "Active",
        "joinDate": "2020-01-15", "allergies": "nuts",
    })
}

/// What a mapped row says, without what it borrows.
#[derive(Debug)]
struct Told {
    deleted: bool,
    status: Option<RecordStatus>,
    values: Vec<Value>,
    warnings: Vec<Warning>,
}

fn map_row(bound: &Bound<'_>, row: &RemoteRow) -> Result<Told, Invalid> {
    let rows = Rows::of(row);
    let mapped = bound.map(rows.iter().next().unwrap(), &mut Room::default())?;
    Ok(Told {
        deleted: mapped.deleted,
        status: mapped.status,
        values: mapped.values.iter().map(|value| value.cell().to_value()).collect(),
        warnings: mapped.warnings,
    })
}

/// A row of the columns of an object; a member that is `"<absent>"` is absent.
fn row_of(object: &serde_json::Value) -> (Vec<String>, RemoteRow) {
    let object = object.as_object().unwrap();
    let value = |json: &serde_json::Value| match json.as_str() {
        Some("<absent>") => Value::Absent,
        _ => Value::from_json(json),
    };
    let values = object.values().map(value).collect();
    (
        object.keys().cloned().collect(),
        RemoteRow { id: "GAA-001".into(), values, ..RemoteRow::default() },
    )
}

fn with(mut row: serde_json::Value, changes: serde_json::Value) -> serde_json::Value {
    for (name, value) in changes.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

fn map(row: &serde_json::Value) -> Result<Told, Invalid> {
    let mapper = Mapper::compile(&member_template(), &member_spec()).unwrap();
    let (columns, row) = row_of(row);
    map_row(&mapper.bind(&columns), &row)
}

/// Expected: values as they came, status, and warnings as `field:code`.
#[track_caller]
fn check_valid(changes: serde_json::Value, status: Option<RecordStatus>, warnings: &[&str]) {
    let row = with(member_row(), changes);
    let mapped = map(&row).unwrap_or_else(|invalid| panic!("{invalid:?}"));
    let found: Vec<_> = mapped.warnings.iter().map(|w| format!("{}:{}", w.field, w.code)).collect();
    assert_eq!(found, warnings, "{row}");
    assert_eq!(mapped.status, status, "{row}");
    let mapper = Mapper::compile(&member_template(), &member_spec()).unwrap();
    for (field, value) in mapper.fields().iter().zip(&mapped.values) {
        let left_out = warnings.contains(&format!("{}:type", field.name).as_str())
            && &*field.name == "joinDate";
        let expected = match left_out || row[&*field.name] == "<absent>" {
            true => Value::Absent,
            false => Value::from_json(&row[&*field.name]),
        };
        assert_eq!(*value, expected, "{} of {row}", field.name);
    }
}

#[track_caller]
fn check_invalid(changes: serde_json::Value, reasons: &[&str]) {
    let row = with(member_row(), changes);
    let invalid = map(&row).expect_err("an invalid row");
    let found: Vec<_> = invalid.reasons.iter().map(|r| format!("{}:{}", r.field, r.code)).collect();
    assert_eq!(found, reasons, "{row}");
    let mut payload = row.clone();
    payload["allergies"] = json!("[redacted]");
    payload.as_object_mut().unwrap().retain(|_, value| *value != "<absent>");
    assert_eq!(invalid.payload, payload, "the row as it came, redacted");
}

const ACTIVE: Option<RecordStatus> = Some(RecordStatus::Active);

#[test]
fn the_eleven_members() {
    check_valid(json!({}), ACTIVE, &[]);
    check_valid(json!({"email": null}), ACTIVE, &[]);
    check_valid(json!({"phone": null}), ACTIVE, &[]);
    check_valid(json!({"membershipStatus": "Lapsed"}), Some(RecordStatus::Inactive), &[]);
    check_valid(json!({"email": "aoife@example"}), ACTIVE, &["email:email"]);
    check_valid(json!({"phone": "not-a-phone-number"}), ACTIVE, &["phone:phone"]);
    check_valid(json!({"address": "The Old Mill"}), ACTIVE, &[]);
    check_valid(json!({"membershipNumber": "<absent>"}), ACTIVE, &[]);
    check_valid(json!({"firstName": "Sinéad", "lastName": "O'Brien"}), ACTIVE, &[]);
    // Same number with another name, same name and birthday with another number: two keys to match by.
    let rules = Mapper::compile(&member_template(), &member_spec()).unwrap().match_rules().to_vec();
    assert_eq!(rules, [vec![6], vec![0, 1, 2]]);
    check_valid(json!({"firstName": "Aoibheann"}), ACTIVE, &[]);
    check_valid(json!({"membershipNumber": "123-45678-902"}), ACTIVE, &[]);
}

#[test]
fn names_are_never_recased_and_values_keep_their_form() {
    for (first, last) in
        [("Sinéad", "McCarthy"), ("Ó", "Ó Súilleabháin"), ("mary  ann", "O'BRIEN ")]
    {
        check_valid(json!({"firstName": first, "lastName": last}), ACTIVE, &[]);
    }
    for phone in ["+44 20 7946 0958", "+1 (202) 555-0143", "00353 87 1234567", "+353 (0)87 1234567"]
    {
        check_valid(json!({"phone": phone}), ACTIVE, &[]);
    }
    check_valid(json!({"email": " Aoife@Example.IE "}), ACTIVE, &[]);
}

#[test]
fn dates_must_be_on_the_calendar() {
    check_invalid(json!({"dateOfBirth": "2010-02-31"}), &["dateOfBirth:type"]);
    check_invalid(json!({"dateOfBirth": "28/02/2010"}), &["dateOfBirth:type"]);
    check_invalid(json!({"dateOfBirth": 20_100_228}), &["dateOfBirth:type"]);
    check_valid(json!({"joinDate": "2010-02-31"}), ACTIVE, &["joinDate:type"]);
    check_valid(json!({"dateOfBirth": "2012-02-29"}), ACTIVE, &[]);
}

#[test]
fn an_unknown_status_keeps_the_current_one() {
    check_valid(json!({"membershipStatus": "Pending"}), None, &["membershipStatus:unknownStatus"]);
    check_valid(json!({"membershipStatus": " CURRENT "}), ACTIVE, &[]);
    check_valid(json!({"membershipStatus": ""}), None, &[]);
    check_valid(json!({"membershipStatus": null}), None, &[]);
    check_valid(json!({"membershipStatus": "<absent>"}), None, &[]);
}

#[test]
fn required_fields_must_be_there() {
    check_invalid(json!({"firstName": null}), &["firstName:required"]);
    check_invalid(json!({"firstName": "<absent>"}), &["firstName:required"]);
    check_invalid(
        json!({"lastName": "  ", "dateOfBirth": ""}),
        &["lastName:required", "dateOfBirth:required"],
    );
    check_invalid(json!({"firstName": {"given": "Aoife"}}), &["firstName:type"]);
    check_invalid(json!({"firstName": true}), &["firstName:type"]);
}

#[test]
fn doubtful_values_are_kept_with_a_warning() {
    check_valid(json!({"membershipNumber": "12-3"}), ACTIVE, &["membershipNumber:pattern"]);
    check_valid(json!({"membershipNumber": " 123-45678-901 "}), ACTIVE, &[]);
    check_valid(json!({"address": {"street": "1 Main St"}}), ACTIVE, &["address:type"]);
    for email in ["a@b@c.ie", "@example.ie", "a@.ie", "a@example.", "a b@example.ie", "example.ie"]
    {
        check_valid(json!({"email": email}), ACTIVE, &["email:email"]);
    }
    for phone in ["123456", "1234567890123456", "087 123 4567 x"] {
        check_valid(json!({"phone": phone}), ACTIVE, &["phone:phone"]);
    }
}

#[test]
fn tombstones_need_only_their_id() {
    let mapper = Mapper::compile(&member_template(), &member_spec()).unwrap();
    let row = RemoteRow { id: "GAA-001".into(), deleted: true, ..RemoteRow::default() };
    let mapped = map_row(&mapper.bind(&[]), &row).unwrap();
    assert!(mapped.deleted && mapped.values.iter().all(|value| *value == Value::Absent));
    assert_eq!((mapped.values.len(), mapped.status), (8, Some(RecordStatus::Inactive)));
    let nameless = map_row(&mapper.bind(&[]), &RemoteRow { deleted: true, ..RemoteRow::default() });
    assert_eq!(nameless.unwrap_err().reasons[0].code, "missingId");
}

#[test]
fn what_the_connector_did_not_declare_is_redacted() {
    let row = json!({"firstName": null, "diagnosis": "secret", "allergies": null});
    let payload = map(&row).unwrap_err().payload;
    assert_eq!(
        payload,
        json!({"firstName": null, "diagnosis": "[redacted]", "allergies": "[redacted]"})
    );
}

#[test]
fn absence_means_what_the_connector_says() {
    let (columns, row) = row_of(&with(member_row(), json!({"email": "<absent>"})));
    let mut spec = member_spec();
    spec.absent = AbsentMeans::Null;
    let null = Mapper::compile(&member_template(), &spec).unwrap();
    let values = map_row(
        &null.bind(&columns[1..]),
        &RemoteRow { values: row.values[1..].to_vec(), ..row.clone() },
    );
    // The columns are sorted: `address` is missing from the page, `email` from the row.
    let values = values.unwrap().values;
    assert_eq!((&values[5], &values[3]), (&Value::Null, &Value::Null));
    let short = RemoteRow { values: Vec::new(), ..row };
    assert_eq!(map_row(&null.bind(&columns), &short).unwrap_err().reasons.len(), 3);
}

/// One text field `out` made from `a` by these transforms.
#[track_caller]
fn check_transforms(
    field_type: &str,
    transforms: serde_json::Value,
    input: serde_json::Value,
    expected: serde_json::Value,
) {
    let (mapper, columns, row) = transforming(field_type, "fail", &transforms, &input);
    let mapped = map_row(&mapper.bind(&columns), &row);
    let found = match &mapped {
        Ok(mapped) => mapped.values[0].to_json(),
        Err(invalid) => json!({"code": invalid.reasons[0].code}),
    };
    assert_eq!(found, expected, "{transforms} of {input}");
    if let Err(invalid) = mapped {
        assert_eq!(invalid.payload["a"], input, "the payload shows the value as it came");
    }
}

fn transforming(
    field_type: &str,
    on_error: &str,
    transforms: &serde_json::Value,
    input: &serde_json::Value,
) -> (Mapper, Vec<String>, RemoteRow) {
    let spec: EntitySpec = serde_json::from_value(json!({
        "name": "thing", "title": "Things", "key": "id", "modes": ["full"],
        "fields": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
    }))
    .unwrap();
    let template: EntityTemplate = serde_json::from_value(json!({"fields": [
        {"source": "a", "target": "out", "type": field_type, "onError": on_error, "transforms": transforms},
        {"source": "b", "target": "b"},
    ]}))
    .unwrap();
    let mapper = Mapper::compile(&template, &spec).unwrap_or_else(|issues| panic!("{issues:?}"));
    let (columns, row) = row_of(&json!({"a": input, "b": "Bee", "c": " "}));
    (mapper, columns, row)
}

#[test]
fn transforms_do_what_they_say() {
    check_transforms("text", json!(["trim"]), json!("  é  "), json!("é"));
    check_transforms("text", json!(["lower"]), json!("ÉA"), json!("éa"));
    check_transforms("text", json!(["upper"]), json!("éa"), json!("ÉA"));
    check_transforms("text", json!([{"truncate": 2}]), json!("éáí"), json!("éá"));
    check_transforms("text", json!([{"truncate": 9}]), json!("éáí"), json!("éáí"));
    check_transforms(
        "date",
        json!(["dateOnly"]),
        json!("2010-02-28T23:00:00Z"),
        json!("2010-02-28"),
    );
    check_transforms(
        "date",
        json!(["dateOnly"]),
        json!("2010-02-31T23:00:00Z"),
        json!({"code": "transform"}),
    );
    check_transforms("text", json!([{"default": "x"}]), json!(null), json!("x"));
    check_transforms("text", json!([{"default": "x"}]), json!("<absent>"), json!("x"));
    check_transforms("text", json!([{"default": "x"}]), json!("y"), json!("y"));
    check_transforms("text", json!([{"const": "x"}]), json!({"deep": 1}), json!("x"));
    let words = json!([{"map": {"M": "male", "female": "female"}}]);
    check_transforms("text", words.clone(), json!(" m"), json!("male"));
    check_transforms("text", words.clone(), json!("FEMALE"), json!("female"));
    check_transforms("text", words.clone(), json!("other"), json!({"code": "transform"}));
    check_transforms("text", words, json!(null), json!(null));
    let joined = json!([{"concat": {"with": ["c", "b"], "sep": ", "}}, "upper"]);
    check_transforms("text", joined.clone(), json!("Ay"), json!("AY, BEE"));
    check_transforms("text", joined, json!(null), json!("BEE"));
    check_transforms("text", json!(["trim", "lower"]), json!(7), json!(7));
}

#[test]
fn dates_are_read_day_first() {
    for (input, expected) in [
        ("28/02/2010", "2010-02-28"),
        ("3-4-2010", "2010-04-03"),
        ("2010/02/28", "2010-02-28"),
        ("2010-02-28", "2010-02-28"),
        ("28.2.2010", "2010-02-28"),
        ("02/28/2010", "2010-02-28"),
        ("28/02/2010 00:00", "2010-02-28"),
        ("2010-02-28T10:00:00Z", "2010-02-28"),
    ] {
        check_transforms("date", json!(["parseDate"]), json!(input), json!(expected));
    }
    for input in [
        "31/02/2010",
        "28/02/10",
        "28-Feb-2010",
        "2010",
        "1/2",
        "1/2/20100",
        "a/b/cccc",
        "28/02/2010 x",
    ] {
        check_transforms("date", json!(["parseDate"]), json!(input), json!({"code": "transform"}));
    }
}

#[test]
fn on_error_decides_about_a_value_that_does_not_fit() {
    let cases = [
        ("skip", Value::Absent, "transform"),
        ("keep", Value::Text("no date".into()), "transform"),
    ];
    for (on_error, expected, code) in cases {
        let (mapper, columns, row) =
            transforming("date", on_error, &json!(["parseDate"]), &json!("no date"));
        let mapped = map_row(&mapper.bind(&columns), &row).unwrap();
        assert_eq!((&mapped.values[0], mapped.warnings[0].code), (&expected, code));
        assert!(!mapped.warnings[0].message.contains("no date"), "messages never repeat values");
    }
}

#[track_caller]
fn check_issues(template: serde_json::Value, spec: serde_json::Value, pointers: &[&str]) {
    let template: EntityTemplate = serde_json::from_value(template).unwrap();
    let mut entity = json!({"name": "thing", "title": "Things", "key": "id", "modes": ["full"]});
    entity["fields"] = spec;
    let spec: EntitySpec = serde_json::from_value(entity).unwrap();
    let issues = Mapper::compile(&template, &spec).expect_err("issues");
    let found: Vec<_> = issues.iter().map(|issue| issue.pointer.as_str()).collect();
    assert_eq!(found, pointers, "{issues:?}");
}

#[test]
fn templates_that_cannot_work_are_refused_with_every_issue() {
    check_issues(
        json!({
            "fields": [
                {"source": "nme", "target": "name"},
                {"source": "name", "target": "name"},
                {"source": "name", "target": " "},
            ],
            "match": [["name", "name"], [], ["nobody"]],
        }),
        json!([{"name": "name"}]),
        &[
            "/fields/0/source",
            "/fields/1/target",
            "/fields/2/target",
            "/match/0/1",
            "/match/1",
            "/match/2/0",
        ],
    );
    check_issues(
        json!({
            "fields": [{"source": "n", "target": "n", "type": "integer", "transforms": [
                "lower", {"truncate": 0}, {"map": {}}, {"concat": {"with": ["x"], "sep": ""}}, {"default": "one"},
            ]}],
            "status": {"source": "s", "active": ["Yes"], "inactive": ["no", "yes"]},
        }),
        json!([{"name": "n", "pattern": "("}]),
        &[
            "/fields/0/transforms/1",
            "/fields/0/transforms/2",
            "/fields/0/transforms/3",
            "/fields/0/transforms/3/concat/with/0",
            "/fields/0/transforms/4",
            "/fields/0/source",
            "/status/source",
            "/status/inactive/1",
        ],
    );
    check_issues(
        json!({"fields": [{"source": "n", "target": "n"}]}),
        json!([{"name": "n", "pattern": r"(\w{1000}){1000}"}]),
        &["/fields/0/source"],
    );
}

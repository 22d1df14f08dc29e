//! The connector against a scripted server: every answer that a server may give.

use syncline_plugin_sdk::http::{Failure, Response};
use syncline_plugin_sdk::manifest::Manifest;
use syncline_plugin_sdk::testing::FakeHttp;
use syncline_plugin_sdk::{
    Connector, Context, Error, Fetch, Filters, Mode, Page, PageRequest, Result, Value, serde_json,
};

use crate::{Config, GaaFoireann};

const LIST: &str = "https://api.test/v2/clubs/club-9/members";

fn context(config: &str) -> Context<Config> {
    Context {
        config: serde_json::from_str(config).unwrap(),
        endpoints: [("baseUrl".to_owned(), "https://api.test/v2".to_owned())].into(),
        organization: Some("club-9".to_owned()),
        ..Context::default()
    }
}

fn request(config: &str, cursor: Option<&str>) -> PageRequest<Config> {
    PageRequest {
        context: context(config),
        entity: "member".to_owned(),
        cursor: cursor.map(str::to_owned),
        records_max: 1000,
        ..PageRequest::default()
    }
}

/// The first page when the server answers with this body.
fn first_page(config: &str, body: &str) -> Result<Page> {
    let fake = FakeHttp::new().answer(&format!("{LIST}?page=1&limit=100"), 200, body);
    let page = GaaFoireann::fetch_page(&request(config, None));
    fake.assert_done();
    page
}

fn value(page: &Page, row: usize, field: &str) -> Value {
    let column = page.fields.iter().position(|name| name == field).unwrap();
    page.rows()[row].values[column].clone()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn reads_members_as_given() {
    let page = first_page(
        "{}",
        r#"{"members":[
            {"memberId":"GAA-001","firstName":" Sinéad ","lastName":"Ó Súilleabháin","dateOfBirth":"2010-02-31",
             "email":"Sinead@Example.IE","phone":"(087) 123 4567","address":"1 Main St, Cork",
             "membershipNumber":"123-45678-901","membershipStatus":"Active","joinDate":"x","unknown":{"a":[1]}},
            {"lastName":"McCarthy","firstName":"D\u0061ra","memberId":42,"dateOfBirth":null,"phone":871234567,
             "address":{"town":"Cobh"},"deleted":true,"updatedAt":"2026-01-02T03:04:05Z","membershipNumber":" "}
        ],"page":1,"perPage":100,"totalCount":2,"hasMore":false}"#,
    )
    .unwrap();
    assert_eq!(page.total, Some(2));
    assert_eq!(page.next, None);
    assert!(page.rejects.is_empty());
    let rows = page.rows();
    let [first, second] = &rows[..] else { panic!("two rows") };
    assert_eq!(first.id, "GAA-001");
    assert_eq!(first.aliases, [("membershipNumber".to_owned(), "123-45678-901".to_owned())]);
    assert!(!first.deleted);
    for (field, expect) in [
        ("memberId", text("GAA-001")),
        ("firstName", text(" Sinéad ")),
        ("lastName", text("Ó Súilleabháin")),
        ("dateOfBirth", text("2010-02-31")),
        ("email", text("Sinead@Example.IE")),
        ("phone", text("(087) 123 4567")),
        ("address", text("1 Main St, Cork")),
        ("membershipStatus", text("Active")),
        ("joinDate", text("x")),
        ("gender", Value::Absent),
    ] {
        assert_eq!(value(&page, 0, field), expect, "{field}");
    }
    assert_eq!((second.id.as_str(), second.deleted), ("42", true));
    assert_eq!(second.updated_at.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert!(second.aliases.is_empty());
    assert_eq!(value(&page, 1, "firstName"), text("Dara"));
    assert_eq!(value(&page, 1, "dateOfBirth"), Value::Null);
    assert_eq!(value(&page, 1, "phone"), text("871234567"));
    assert_eq!(value(&page, 1, "address"), Value::Json(r#"{"town":"Cobh"}"#.to_owned()));
    assert_eq!(value(&page, 1, "email"), Value::Absent);
}

#[test]
fn pages_until_the_server_says_so_and_hints_the_next() {
    let fake = FakeHttp::new()
        .answer(
            &format!("{LIST}?page=1&limit=2"),
            200,
            r#"{"members":[{"memberId":"1"},{"memberId":"2"}],"hasMore":true}"#,
        )
        .answer(
            &format!("{LIST}?page=2&limit=2"),
            200,
            r#"{"members":[{"memberId":"3"}],"hasMore":false}"#,
        );
    let config = r#"{"pageSize":2}"#;
    let page = GaaFoireann::fetch_page(&request(config, None)).unwrap();
    assert_eq!(fake.prefetched(), [format!("{LIST}?page=2&limit=2")]);
    let page = GaaFoireann::fetch_page(&request(config, page.next.as_deref())).unwrap();
    assert_eq!((page.rows().len(), page.next), (1, None));
    assert_eq!(fake.prefetched().len(), 1);
    assert_eq!(fake.requests()[0].headers, [("Accept".to_owned(), "application/json".to_owned())]);
    fake.assert_done();
}

#[test]
fn never_asks_for_more_than_the_host_takes() {
    let _fake = FakeHttp::new().answer(
        &format!("{LIST}?page=1&limit=7"),
        200,
        r#"{"members":[],"hasMore":false}"#,
    );
    let asked = PageRequest { records_max: 7, ..request(r#"{"pageSize":500}"#, None) };
    GaaFoireann::fetch_page(&asked).unwrap();
}

#[test]
fn a_cursor_keeps_its_page_size() {
    let _fake = FakeHttp::new().answer(
        &format!("{LIST}?page=3&limit=50"),
        200,
        r#"{"members":[],"hasMore":false}"#,
    );
    GaaFoireann::fetch_page(&request(r#"{"pageSize":100}"#, Some("3:50"))).unwrap();
    for cursor in ["", "3", "x:50", "0:50", "3:0", "3:1001", "18446744073709551615:5", "-1:5"] {
        let answer = GaaFoireann::fetch_page(&request("{}", Some(cursor)));
        assert_eq!(answer, Err(Error::CursorExpired), "{cursor}");
    }
}

#[test]
fn without_a_word_about_more_it_reads_on_to_an_empty_page() {
    let next = |body: &str| first_page("{}", body).unwrap().next;
    assert_eq!(next(r#"{"members":[{"memberId":"1"}]}"#).as_deref(), Some("2:100"));
    assert_eq!(next(r#"{"members":[{"memberId":"1"}],"totalCount":9}"#).as_deref(), Some("2:100"));
    assert_eq!(next(r#"{"members":[{"memberId":"1"}],"totalCount":"1"}"#), None);
    assert_eq!(next(r#"{"members":[]}"#), None);
    // What the server says is passed on, even where it does not add up: that is the host's to judge.
    assert_eq!(next(r#"{"members":[],"hasMore":true}"#).as_deref(), Some("2:100"));
}

#[test]
fn a_malformed_record_is_set_aside_alone() {
    let long = "x".repeat(3000);
    let page = first_page(
        "{}",
        &format!(
            r#"{{"members":[{{"memberId":"1","firstName":"A"}}, {{"firstName":"B"}},{{"memberId":""}},
                {{"memberId":{{"a":1}}}},{{"memberId":true}},{{"memberId":null}},
                {{"memberId":"7","firstName":{{"given":"C"}}}},{{"memberId":"8","dateOfBirth":false}},
                17,"text",null,[{{"memberId":"9"}}],{{"email":"{long}é"}},{{"memberId":"2"}}],"hasMore":false}}"#
        ),
    )
    .unwrap();
    let ids: Vec<String> = page.rows().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, ["1", "2"]);
    let rejects: Vec<(Option<&str>, &str, &str)> = page
        .rejects
        .iter()
        .map(|reject| (reject.id.as_deref(), reject.reason.as_str(), reject.raw.as_str()))
        .collect();
    assert_eq!(
        rejects[..11],
        [
            (None, "the record has no `memberId`", r#"{"firstName":"B"}"#),
            (None, "`memberId` is empty", r#"{"memberId":""}"#),
            (None, "`memberId` is neither a text nor a number", r#"{"memberId":{"a":1}}"#),
            (None, "`memberId` is neither a text nor a number", r#"{"memberId":true}"#),
            (None, "the record has no `memberId`", r#"{"memberId":null}"#),
            (
                Some("7"),
                "`firstName` is not a text",
                r#"{"memberId":"7","firstName":{"given":"C"}}"#
            ),
            (Some("8"), "`dateOfBirth` is not a text", r#"{"memberId":"8","dateOfBirth":false}"#),
            (None, "the record is not a JSON object", "17"),
            (None, "the record is not a JSON object", r#""text""#),
            (None, "the record is not a JSON object", "null"),
            (None, "the record is not a JSON object", r#"[{"memberId":"9"}]"#),
        ]
    );
    assert_eq!(page.rejects[11].raw.len(), 2048);
}

#[track_caller]
fn check_bad(body: &str, expect: &str) {
    match first_page("{}", body) {
        Err(Error::BadResponse(message)) => {
            assert!(message.starts_with("page 1: "), "{message}");
            assert!(message.contains(expect), "{message:?} does not say {expect:?}");
            assert!(!message.contains("Murphy"), "personal data in {message:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_that_cannot_be_read_fails_the_page() {
    check_bad(r#"{"members":[{"memberId":"1","lastName":"Murphy""#, "ends too early");
    check_bad("", "ends too early");
    check_bad(r#"{"members":[{"lastName":"Murphy"},]}"#, "not valid JSON");
    check_bad(r#"{"members":[]} Murphy"#, "not valid JSON");
    check_bad("\n<!DOCTYPE html><p>Murphy", "web page");
    check_bad(r#"{"status":500,"message":"Murphy"}"#, "there is no list at `/members`");
    check_bad("[]", "there is no list at `/members`");
    check_bad(r#"{"members":{"memberId":"1"}}"#, "`/members` is not a list");
    check_bad(r#"{"members":null}"#, "`/members` is not a list");
    check_bad(r#"{"members":[],"members":[]}"#, "two lists");
    check_bad(r#"{"members":[],"hasMore":"yes"}"#, "`/hasMore` is neither");
    check_bad(r#"{"members":[],"totalCount":-1}"#, "`/totalCount` is not a count");
    let many = vec![r#"{"memberId":"1"}"#; 1001].join(",");
    let fake = FakeHttp::new().answer(
        &format!("{LIST}?page=1&limit=100"),
        200,
        format!(r#"{{"members":[{many}]}}"#),
    );
    let Err(Error::BadResponse(message)) = GaaFoireann::fetch_page(&request("{}", None)) else {
        panic!()
    };
    assert!(message.contains("1001 records although 100"), "{message}");
    fake.assert_done();
}

#[test]
fn a_declared_web_page_and_bytes_that_are_no_text() {
    let answer = |content_type: &str, body: &[u8]| {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        let response = Response { status: 200, headers, body: body.to_vec() };
        let _fake = FakeHttp::new().respond(&format!("{LIST}?page=1&limit=100"), response);
        GaaFoireann::fetch_page(&request("{}", None))
    };
    let Err(Error::BadResponse(message)) = answer("Text/HTML; charset=utf-8", b"login") else {
        panic!()
    };
    assert!(message.contains("web page"), "{message}");
    let Err(Error::BadResponse(message)) = answer("application/json", b"{\"members\":[\"\xFF\"]}")
    else {
        panic!()
    };
    assert!(message.contains("UTF-8"), "{message}");
    let page = answer("application/json", "\u{feff}{\"members\":[]}".as_bytes()).unwrap();
    assert!(page.rows().is_empty());
}

#[test]
fn statuses_say_what_the_host_does_next() {
    let answer = |status: u16, headers: &[(&str, &str)], body: &str| {
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let response = Response { status, headers, body: body.as_bytes().to_vec() };
        let _fake = FakeHttp::new().respond(&format!("{LIST}?page=1&limit=100"), response);
        GaaFoireann::fetch_page(&request("{}", None)).unwrap_err()
    };
    let said = |error: Error| error.to_string();
    assert!(matches!(answer(401, &[], ""), Error::Auth(_)));
    assert!(said(answer(401, &[], r#"{"message":"token expired"}"#)).ends_with(": token expired"));
    assert!(matches!(answer(403, &[], "<html>"), Error::Auth(_)));
    let Error::NotFound(message) = answer(404, &[], "") else { panic!() };
    assert!(message.contains("`club-9`"), "{message}");
    assert_eq!(answer(429, &[("Retry-After", "17")], ""), Error::RateLimited(Some(17)));
    assert_eq!(
        answer(429, &[("retry-after", "Fri, 20 Nov 2026 16:00:00 GMT")], ""),
        Error::RateLimited(None)
    );
    assert_eq!(answer(429, &[], ""), Error::RateLimited(None));
    assert!(matches!(answer(500, &[], "<html>"), Error::Unavailable(_)));
    assert!(said(answer(503, &[], "")).contains("page 1: the server answered 503"));
    assert!(matches!(answer(400, &[], ""), Error::BadResponse(_)));
    assert!(matches!(answer(302, &[], ""), Error::BadResponse(_)));
    assert!(matches!(answer(204, &[], ""), Error::BadResponse(_)));
}

#[test]
fn failures_of_the_connection() {
    let answer = |failure: Failure| {
        let _fake = FakeHttp::new().fail(&format!("{LIST}?page=1&limit=100"), failure);
        GaaFoireann::fetch_page(&request("{}", None)).unwrap_err()
    };
    assert!(matches!(answer(Failure::Timeout), Error::Unavailable(_)));
    assert!(matches!(answer(Failure::Network("reset".to_owned())), Error::Unavailable(_)));
    assert!(
        matches!(answer(Failure::TooLarge(10)), Error::BadResponse(message) if message.starts_with("page 1: "))
    );
    assert!(matches!(answer(Failure::Denied("private address".to_owned())), Error::Config(_)));
    assert!(matches!(answer(Failure::Stopped), Error::Other(_)));
}

#[test]
fn what_it_cannot_do_it_says() {
    let _fake = FakeHttp::new();
    let unsupported = |request: PageRequest<Config>| {
        assert!(matches!(GaaFoireann::fetch_page(&request), Err(Error::Unsupported(_))));
    };
    unsupported(PageRequest { mode: Mode::Incremental, ..request("{}", None) });
    unsupported(PageRequest { entity: "order".to_owned(), ..request("{}", None) });
    for filters in [
        Filters { modified_after: Some("2026-01-01T00:00:00Z".to_owned()), ..Filters::default() },
        Filters { modified_before: Some("2026-01-01T00:00:00Z".to_owned()), ..Filters::default() },
        Filters { status: Some(Vec::new()), ..Filters::default() },
    ] {
        unsupported(PageRequest { filters, ..request("{}", None) });
    }
    assert!(matches!(
        GaaFoireann::by_ids(&context("{}"), "order", &[]),
        Err(Error::Unsupported(_))
    ));
}

#[track_caller]
fn check_config(config: &str, expect_pointer: &str, expect: &str) {
    let _fake = FakeHttp::new();
    match GaaFoireann::fetch_page(&request(config, None)) {
        Err(Error::Config(issues)) => {
            assert_eq!(issues[0].pointer, expect_pointer);
            assert!(issues[0].message.contains(expect), "{:?}", issues[0]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_settings_are_named() {
    check_config(r#"{"pageSize":0}"#, "/pageSize", "1 to 1000");
    check_config(r#"{"pageSize":1001}"#, "/pageSize", "1 to 1000");
    check_config(
        r#"{"fieldMap":{"a/b":"nickname"}}"#,
        "/fieldMap/a~1b",
        "`nickname` is none of memberId",
    );
    check_config(r#"{"fieldMap":{"a":"email","b":"email"}}"#, "/fieldMap", "two remote fields");
}

#[test]
fn another_server_with_other_names() {
    let url = "https://api.test/v2/clubs/club-9/members?p=1&size=100";
    let fake = FakeHttp::new().answer(
        url,
        200,
        r#"{"data":{"total":1,"items":[{"id":9007199254740993,"given":"Aoife","firstName":"ignored","lastName":"Ní Mhurchú"}],
            "more~/":false},"items":[1,2,3]}"#,
    );
    let config = r#"{"pageParam":"p","limitParam":"size","listPointer":"/data/items","totalPointer":"/data/total",
        "morePointer":"/data/more~0~1","fieldMap":{"id":"memberId","given":"firstName"}}"#;
    let page = GaaFoireann::fetch_page(&request(config, None)).unwrap();
    assert_eq!((page.rows().len(), page.total, page.next.clone()), (1, Some(1), None));
    assert_eq!(page.rows()[0].id, "9007199254740993");
    assert_eq!(value(&page, 0, "firstName"), text("Aoife"));
    assert_eq!(value(&page, 0, "lastName"), text("Ní Mhurchú"));
    fake.assert_done();
}

#[test]
fn a_bare_list_and_swapped_names() {
    let body = r#"[{"memberId":"1","firstName":"Murphy","lastName":"Aoife"}]"#;
    let config = r#"{"listPointer":"","fieldMap":{"firstName":"lastName","lastName":"firstName"}}"#;
    let page = first_page(config, body).unwrap();
    assert_eq!(value(&page, 0, "firstName"), text("Aoife"));
    assert_eq!(value(&page, 0, "lastName"), text("Murphy"));
}

const WITH_HEALTH: &str = r#"{"members":[{"memberId":"1","medicalConditions":"asthma","allergies":null},
    {"memberId":{},"medicalConditions":"asthma"}],"hasMore":false}"#;

#[test]
fn health_data_stay_out_unless_asked_for() {
    let page = first_page("{}", WITH_HEALTH).unwrap();
    assert!(!page.fields.iter().any(|field| field == "medicalConditions"));
    assert!(!format!("{page:?}").contains("asthma"), "{page:?}");
    assert_eq!(page.rejects[0].raw, r#"{"memberId":{}}"#);
}

#[test]
fn health_data_come_from_the_list_or_else_from_the_detail() {
    let config = r#"{"includeHealthData":true}"#;
    let page = first_page(config, WITH_HEALTH).unwrap();
    assert_eq!(value(&page, 0, "medicalConditions"), text("asthma"));
    assert_eq!(value(&page, 0, "allergies"), Value::Null);
    assert!(page.rejects[0].raw.contains("asthma"));

    let fake = FakeHttp::new()
        .answer(
            &format!("{LIST}?page=1&limit=100"),
            200,
            r#"{"members":[{"memberId":"a/b"},{"memberId":"2"}],"hasMore":false}"#,
        )
        .answer(
            "https://api.test/v2/members/a%2Fb",
            200,
            r#"{"member":{"memberId":"a/b","allergies":"nuts","email":"x"}}"#,
        )
        .answer("https://api.test/v2/members/2", 404, "");
    let page = GaaFoireann::fetch_page(&request(config, None)).unwrap();
    assert_eq!(value(&page, 0, "allergies"), text("nuts"));
    assert_eq!(value(&page, 0, "email"), Value::Absent);
    assert_eq!(value(&page, 1, "allergies"), Value::Absent);
    fake.assert_done();
}

#[test]
fn fetches_single_members() {
    let detail = |id: &str| format!("https://api.test/v2/members/{id}");
    let fake = FakeHttp::new()
        .answer(
            &detail("GAA-001"),
            200,
            r#"{"member":{"memberId":"GAA-001","firstName":"Aoife","teams":[{"teamId":1}]}}"#,
        )
        .answer(&detail("gone"), 404, "<html>")
        .answer(&detail("other"), 200, r#"{"member":{"memberId":"GAA-001"}}"#)
        .answer(
            &detail("bad"),
            200,
            r#"{"member":{"memberId":"bad","firstName":[],"allergies":"nuts"}}"#,
        );
    let ids = ["GAA-001", "gone", "..", "", "other", "bad"].map(str::to_owned);
    let page = GaaFoireann::by_ids(&context("{}"), "member", &ids).unwrap();
    assert_eq!(page.rows().len(), 1);
    assert_eq!(value(&page, 0, "firstName"), text("Aoife"));
    let rejected: Vec<Option<&str>> =
        page.rejects.iter().map(|reject| reject.id.as_deref()).collect();
    assert_eq!(rejected, [Some("other"), Some("bad")]);
    assert!(!page.rejects[1].raw.contains("nuts"));
    fake.assert_done();

    for (status, body) in
        [(200, "{}"), (200, "<html>"), (200, r#"{"member":{"memberId""#), (500, ""), (401, "")]
    {
        let _fake = FakeHttp::new().answer(&detail("1"), status, body);
        GaaFoireann::by_ids(&context("{}"), "member", &["1".to_owned()]).unwrap_err();
    }
}

#[test]
fn a_check_is_one_small_request() {
    let url = format!("{LIST}?page=1&limit=1");
    let fake =
        FakeHttp::new().answer(&url, 200, r#"{"members":[],"hasMore":true}"#).answer(&url, 401, "");
    GaaFoireann::check(&context("{}")).unwrap();
    assert!(matches!(GaaFoireann::check(&context("{}")), Err(Error::Auth(_))));
    assert!(fake.prefetched().is_empty());
    fake.assert_done();
    let nowhere = Context { organization: None, ..context("{}") };
    let Err(Error::Config(issues)) = GaaFoireann::check(&nowhere) else { panic!() };
    assert!(issues[0].message.contains("{clubId}"), "{issues:?}");
}

#[test]
fn the_manifest_is_true() {
    let manifest = Manifest::Connector(GaaFoireann::manifest()).to_json();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["kind"], "connector");
    assert_eq!(manifest["auth"][0], serde_json::json!({"kind": "apiKey", "header": "X-API-Key"}));
    assert_eq!(
        manifest["auth"][3],
        serde_json::json!({
            "kind": "oauth2",
            "scopes": ["read:members", "read:clubs"],
            "authorizeUrl": "https://auth.foireann.ie/oauth/authorize",
            "tokenUrl": "https://auth.foireann.ie/oauth/token",
        })
    );
    let properties = manifest["configSchema"]["properties"].as_object().unwrap();
    assert!(properties.values().all(|property| property["description"].is_string()));
    // The schema's defaults are the code's defaults.
    let defaults: serde_json::Map<String, serde_json::Value> = properties
        .iter()
        .map(|(name, property)| (name.clone(), property["default"].clone()))
        .collect();
    let config: Config = serde_json::from_value(defaults.into()).unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    // The manifest declares every field of a page, and the other way round.
    let page =
        first_page(r#"{"includeHealthData":true}"#, r#"{"members":[],"hasMore":false}"#).unwrap();
    let fields = manifest["entities"][0]["fields"].as_array().unwrap();
    let declared: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(page.fields, declared);
    let sensitive: Vec<bool> = fields.iter().map(|field| field["sensitive"] == true).collect();
    assert_eq!(sensitive.iter().filter(|flag| **flag).count(), 4);
    let mapped = manifest["template"]["entities"]["member"]["fields"].as_array().unwrap();
    assert_eq!(mapped.len(), declared.len() - 1);
    assert!(mapped.iter().all(|field| field["source"] == field["target"]));
}

//! The simulator tested as what it is: a process that must misbehave exactly as told. An injector
//! that was never seen to inject proves nothing about the host.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::foireann::members_csv::CsvStyle;
use syncline_tests::foireann::server::Auth;
use syncline_tests::foireann::{
    Cursor, ErrorBody, Fault, Moment, Options, RetryAfter, Rule, Shuffle, Sim,
};
use syncline_tests::http::{Answer, Connection, Request};

fn spawn(options: Options) -> Sim {
    Sim::spawn(env!("CARGO_BIN_EXE_foireann-sim"), options)
}

fn try_get(sim: &Sim, target: &str, headers: &[(&str, &str)]) -> std::io::Result<Answer> {
    let request = Request { method: "GET", target, headers, body: b"" };
    Connection::open(sim.address())?.send(&request)
}

fn get(sim: &Sim, target: &str) -> Answer {
    try_get(sim, target, &[]).unwrap_or_else(|cause| panic!("{target}: {cause}"))
}

fn page(sim: &Sim, page: u64) -> Value {
    let answer = get(sim, &format!("/clubs/club-1/members?page={page}&limit=10"));
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&answer.body).unwrap()
}

fn ids(page: &Value) -> Vec<&str> {
    let rows = page["members"].as_array().unwrap();
    rows.iter().map(|row| row["memberId"].as_str().unwrap_or("?")).collect()
}

#[test]
fn the_honest_api_pages_details_and_refuses() {
    let sim = spawn(Options::members(25).clubs(&["club-1", "club-2"]).page_size_max(20));
    let last = page(&sim, 3);
    assert_eq!(ids(&last), ["GAA-000021", "GAA-000022", "GAA-000023", "GAA-000024", "GAA-000025"]);
    assert_eq!((&last["totalCount"], &last["hasMore"]), (&json!(25), &json!(false)));
    let capped: Value =
        serde_json::from_slice(&get(&sim, "/clubs/club-2/members?limit=500").body).unwrap();
    assert_eq!(
        (&capped["perPage"], capped["members"][0]["memberId"].as_str()),
        (&json!(20), Some("GAA-000026"))
    );
    let detail: Value = serde_json::from_slice(&get(&sim, "/members/GAA-000030").body).unwrap();
    assert!(detail["member"]["emergencyContactName"].is_string());
    for (target, status) in [
        ("/clubs/club-9/members", 404),
        ("/members/GAA-999999", 404),
        ("/clubs/club-1/members?page=0", 400),
        ("/clubs/club-1/members?limit=ten", 400),
        ("/elsewhere", 404),
    ] {
        let answer = get(&sim, target);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &body["status"]), (status, &json!(status)), "{target}");
        assert!(body["message"].is_string(), "{target}");
    }
}

#[test]
fn credentials_are_checked_and_seen_but_not_told() {
    let sim = spawn(Options::members(3).api_key("k-1"));
    let target = "/clubs/club-1/members";
    let check = |headers: &[(&str, &str)], status: u16| {
        assert_eq!(try_get(&sim, target, headers).unwrap().status, status, "{headers:?}");
    };
    check(&[], 401);
    check(&[("X-API-Key", "wrong")], 401);
    check(&[("x-api-key", "k-1")], 200);
    sim.set_auth(Auth::Bearer("t-1".to_owned()));
    check(&[("X-API-Key", "k-1")], 401);
    check(&[("Authorization", "Bearer t-1")], 200);
    sim.set_auth(Auth::Basic { username: "u".to_owned(), password: "p".to_owned() });
    check(&[("Authorization", "Basic dTpw")], 200);
    let seen = sim.requests();
    assert_eq!(
        seen.iter().map(|r| r.authorized).collect::<Vec<_>>(),
        [false, false, true, false, true, true]
    );
    assert_eq!(
        (seen[2].auth.as_slice(), seen[5].auth.as_slice()),
        (&["apiKey".to_owned()][..], &["basic".to_owned()][..])
    );
    assert!(seen[2].headers.contains(&("x-api-key".to_owned(), "present".to_owned())));
}

#[test]
fn members_change_through_the_control_surface() {
    let sim = spawn(Options::members(5));
    sim.patch_member("GAA-000002", json!({"email": "new@example.ie", "phone": null}));
    sim.remove_fields("GAA-000003", &["address"]);
    sim.delete_member("GAA-000004");
    sim.add_members("club-1", &[json!({"memberId": "Ó/1", "firstName": "Síle"})]);
    sim.patch_member("Ó/1", json!({"firstName": "Sheila"}));
    let now = sim.members("club-1");
    assert_eq!(
        (now[1]["email"].as_str(), &now[1]["phone"]),
        (Some("new@example.ie"), &Value::Null)
    );
    assert!(now[1].as_object().unwrap().contains_key("phone"));
    assert!(now[2].get("address").is_none());
    assert_eq!((now.len(), now[4]["firstName"].as_str()), (5, Some("Sheila")));
    sim.generate("club-2", 2, 1);
    sim.patch_member_of("club-2", "GAA-000001", json!({"firstName": "Other"}));
    assert_ne!(sim.members("club-1")[0]["firstName"], "Other");
    sim.set_members_text("club-1", &[r#"{"memberId":9007199254740993,"firstName":"\ud83d"}"#, "7"]);
    let raw = get(&sim, "/clubs/club-1/members").body;
    assert!(String::from_utf8(raw).unwrap().contains(r#"9007199254740993,"firstName":"\ud83d"#));
    sim.reset();
    assert_eq!((sim.members("club-1").len(), sim.requests().len()), (5, 0));
}

#[test]
fn statuses_come_with_their_headers_and_count_down() {
    let sim = spawn(Options::members(30));
    sim.fault(Rule::page(2, Fault::status(503)).once());
    sim.fault(Rule::page(2, Fault::too_many(RetryAfter::Seconds(7))).once());
    sim.fault(Rule::page(2, Fault::too_many(RetryAfter::DateInSeconds(60))).once());
    sim.fault(Rule::page(2, Fault::html_error(503)).once());
    sim.fault(Rule::page(2, Fault::redirect(302, "http://169.254.169.254/latest")).once());
    let target = "/clubs/club-1/members?page=2&limit=10";
    let seen: Vec<Answer> = (0..6).map(|_| get(&sim, target)).collect();
    assert_eq!(seen.iter().map(|a| a.status).collect::<Vec<_>>(), [503, 429, 429, 503, 302, 200]);
    assert_eq!((seen[0].header("retry-after"), seen[1].header("retry-after")), (None, Some("7")));
    assert!(seen[2].header("retry-after").unwrap().ends_with(" GMT"));
    assert!(seen[3].body.starts_with(b"<html"));
    assert_eq!(seen[4].header("location"), Some("http://169.254.169.254/latest"));
    assert_eq!(sim.faults_fired(), [1, 1, 1, 1, 1]);
    assert_eq!(sim.list_pages_seen(), [2; 6]);
}

#[test]
fn bodies_go_wrong() {
    let sim = spawn(Options::members(30).api_key("k-1"));
    let once = |fault: Fault| {
        sim.fault(Rule::listing(fault).once());
        try_get(&sim, "/clubs/club-1/members?limit=10", &[("X-API-Key", "k-1")]).unwrap()
    };
    assert!(
        once(Fault::Html { status: 200 }).header("content-type").unwrap().starts_with("text/html")
    );
    assert!(
        serde_json::from_slice::<Value>(&once(Fault::TruncatedJson { keep_bytes: 300 }).body)
            .is_err()
    );
    let error: Value = serde_json::from_slice(&once(Fault::ErrorBody).body).unwrap();
    assert_eq!(error["status"], 500);
    let echo: Value =
        serde_json::from_slice(&once(Fault::EchoHeaders { status: 200 }).body).unwrap();
    assert!(echo["members"][0]["address"].as_str().unwrap().contains("X-API-Key: k-1"));
    let echo = once(Fault::EchoHeaders { status: 403 });
    assert!(String::from_utf8(echo.body).unwrap().contains("k-1"));
    let bomb = once(Fault::GzipBomb { unpacked_bytes: 50_000_000 });
    assert_eq!(bomb.header("content-encoding"), Some("gzip"));
    assert!(bomb.body.len() < 100_000, "{} bytes", bomb.body.len());
    let big = once(Fault::BigBody { bytes: 100_000_000 });
    assert!(big.body.len() >= 100_000_000);
    assert!(big.body.ends_with(b"\"hasMore\":false}"));
    let chunked = once(Fault::Chunked { piece_bytes: 100 });
    assert!(serde_json::from_slice::<Value>(&chunked.body).is_ok());
    let text =
        Fault::Status { status: 500, retry_after: None, body: ErrorBody::Text("oops".to_owned()) };
    assert_eq!(once(text).body, b"oops");
    let skewed = once(Fault::ClockSkew { seconds: -600 });
    assert_ne!(skewed.header("date"), once(Fault::Delay { ms: 1 }).header("date"));
    assert_eq!(once(Fault::HugeHeader { bytes: 20_000 }).header("x-huge").unwrap().len(), 20_000);
}

#[test]
fn connections_break_and_crawl() {
    let sim = spawn(Options::members(30));
    let target = "/clubs/club-1/members?limit=10";
    for (moment, reset) in [
        (Moment::BeforeHead, true),
        (Moment::BeforeHead, false),
        (Moment::AfterHead, true),
        (Moment::MidBody, true),
        (Moment::MidBody, false),
        (Moment::AfterBytes(10), false),
    ] {
        let case = format!("{moment:?}, reset {reset}");
        sim.fault(Rule::listing(Fault::Cut { moment, reset }).once());
        let cause = try_get(&sim, target, &[]).err().unwrap_or_else(|| panic!("{case}: an answer"));
        let wanted = if reset {
            std::io::ErrorKind::ConnectionReset
        } else {
            std::io::ErrorKind::UnexpectedEof
        };
        assert_eq!(cause.kind(), wanted, "{case}");
    }
    sim.fault(Rule::listing(Fault::NotHttp { text: "SSH-2.0-x\r\n".to_owned() }).once());
    assert!(try_get(&sim, target, &[]).is_err());
    for fault in [
        Fault::Delay { ms: 120 },
        Fault::SlowLoris { piece_bytes: 500, pause_ms: 20, head: false },
        Fault::SlowLoris { piece_bytes: 300, pause_ms: 15, head: true },
    ] {
        let (case, start) = (format!("{fault:?}"), Instant::now());
        sim.fault(Rule::listing(fault).once());
        let body = get(&sim, target).body;
        assert!(start.elapsed() >= Duration::from_millis(100), "{case}");
        assert!(serde_json::from_slice::<Value>(&body).is_ok(), "{case}");
    }
}

#[test]
fn listings_lie_and_move() {
    let sim = spawn(Options::members(30));
    let bent = |number: u64, fault: Fault| {
        sim.reset();
        sim.fault(Rule::listing(fault));
        page(&sim, number)
    };
    let endless = |number, cursor| bent(number, Fault::EndlessCursor { cursor });
    let (nine, ten) = (endless(9, Cursor::NewIds), page(&sim, 10));
    assert!(ids(&nine).iter().all(|id| !ids(&ten).contains(id)));
    assert_eq!((ids(&nine).len(), &nine["hasMore"]), (10, &json!(true)));
    assert_eq!(ids(&endless(7, Cursor::SamePage))[0], "GAA-000001");
    let empty = endless(7, Cursor::EmptyPages);
    assert_eq!((ids(&empty).len(), &empty["hasMore"]), (0, &json!(true)));
    assert_eq!(bent(1, Fault::HasMore { value: false })["hasMore"], false);
    assert_eq!(bent(2, Fault::TotalCount { off_by: 5, per_page_drift: 1 })["totalCount"], 37);
    assert_eq!(ids(&bent(1, Fault::EmptyPage { has_more: true })).len(), 0);
    let doubled = bent(1, Fault::DuplicateRows { count: 2, changed: true });
    assert_eq!(&ids(&doubled)[10..], ["GAA-000001", "GAA-000002"]);
    assert_eq!(doubled["members"][11]["firstName"], "Changed");
    assert_eq!(ids(&bent(2, Fault::Shuffle { shuffle: Shuffle::DropFirst(1) }))[0], "GAA-000012");
    assert_eq!(ids(&bent(2, Fault::Shuffle { shuffle: Shuffle::InsertFirst(1) }))[0], "GAA-000010");
    let moved = Shuffle::Move { from: 15, to: 0 };
    assert!(!ids(&bent(2, Fault::Shuffle { shuffle: moved })).contains(&"GAA-000016"));
}

#[test]
fn records_are_malformed() {
    let sim = spawn(Options::members(10));
    let bent = |fault: Fault| {
        sim.reset();
        sim.fault(Rule::listing(fault));
        get(&sim, "/clubs/club-1/members?limit=10").body
    };
    let row = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["members"][1].clone();
    let field = "memberId".to_owned();
    assert!(row(&bent(Fault::RemoveField { row: 1, field })).get("memberId").is_none());
    let typed = row(&bent(Fault::set_field(1, "firstName", &json!({"a": [1]}))));
    assert_eq!(typed["firstName"]["a"][0], 1);
    let json = "18446744073709551617".to_owned();
    let huge_id = bent(Fault::SetField { row: 1, field: "memberId".to_owned(), json });
    assert!(String::from_utf8(huge_id).unwrap().contains(":18446744073709551617"));
    let surrogate =
        Fault::SetField { row: 1, field: "lastName".to_owned(), json: r#""\udc00""#.to_owned() };
    assert!(String::from_utf8(bent(surrogate)).unwrap().contains(r#""\udc00""#));
    let huge = Fault::HugeField { row: 1, field: "lastName".to_owned(), bytes: 10_000_000 };
    assert!(bent(huge).len() > 10_000_000);
    let deep = Fault::DeepField { row: 1, field: "address".to_owned(), depth: 500 };
    assert!(
        serde_json::from_slice::<Value>(&bent(deep)).is_err(),
        "past the usual recursion limit"
    );
    assert!(String::from_utf8(bent(Fault::InvalidUtf8 { row: 1 })).is_err());
    let text = Fault::ReplaceRow { row: 1, text: "{\"memberId\":".to_owned() };
    assert!(serde_json::from_slice::<Value>(&bent(text)).is_err());
    let several = vec![
        Fault::RemoveField { row: 0, field: "email".to_owned() },
        Fault::HasMore { value: true },
    ];
    let both: Value = serde_json::from_slice(&bent(Fault::Several { faults: several })).unwrap();
    assert_eq!(both["hasMore"], true);
}

#[test]
fn the_csv_export_has_the_defects_that_are_switched_on() {
    let sim = spawn(Options::members(6).clubs(&["club-1", "club-2"]).base_path("/v2"));
    let text = |target: &str| String::from_utf8(get(&sim, target).body).unwrap();
    assert!(text("/v2/members.csv").starts_with("identifier,Forename,"));
    sim.set_csv(&CsvStyle { bom: true, empty_identifier_every: Some(3), ..CsvStyle::default() });
    let file = text("/v2/clubs/club-2/members.csv");
    assert!(file.starts_with('\u{FEFF}') && file.contains("GAA-000007"));
    assert_eq!(file.lines().filter(|line| line.starts_with(',')).count(), 2);
    sim.fault(Rule::path("/members.csv", Fault::status(500)).once());
    assert_eq!(get(&sim, "/v2/members.csv").status, 500);
    assert_eq!(get(&sim, "/members.csv").status, 404);
}

#[test]
fn the_process_runs_a_script_and_ends_with_its_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("faults.json");
    let rules =
        json!([{"match": {"page": 2, "times": 1}, "fault": {"kind": "status", "status": 500}}]);
    std::fs::write(&script, rules.to_string()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_foireann-sim"))
        .arg("--script")
        .arg(&script)
        .arg("--end-with-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let mut connection =
        Connection::open(ready["listen"].as_str().unwrap().parse().unwrap()).unwrap();
    for status in [500, 200] {
        let target = "/clubs/club-1/members?page=2";
        let request = Request { method: "GET", target, headers: &[], body: b"" };
        assert_eq!(connection.send(&request).unwrap().status, status);
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn bytes_headers_and_silence_are_as_told() {
    let sim = spawn(Options::members(3));
    let target = "/clubs/club-1/members";
    let once = |fault: Fault| {
        sim.fault(Rule::listing(fault).once());
        get(&sim, target)
    };
    let body = once(Fault::Body {
        status: 200,
        content_type: "application/json".to_owned(),
        text: String::new(),
        hex: Some("fffe00".to_owned()),
    });
    assert_eq!(body.body, [0xFF, 0xFE, 0x00]);
    let header = Fault::Header { name: "Content-Type".to_owned(), value: "text/plain".to_owned() };
    assert_eq!(once(header).header("content-type"), Some("text/plain"));
    let row = once(Fault::ReplaceRowHex { row: 0, hex: "7b80".to_owned() });
    assert!(row.body.starts_with(b"{\"members\":[{\x80,"));

    let raw = |fault: Fault| {
        sim.fault(Rule::listing(fault).once());
        let mut stream = TcpStream::connect(sim.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        stream
    };
    let silence = raw(Fault::Hang).read(&mut [0; 1]).unwrap_err();
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    let mut head = Vec::new();
    raw(Fault::EndlessHead).take(1_000_000).read_to_end(&mut head).unwrap();
    assert_eq!(head.len(), 1_000_000);
    assert!(!head.windows(4).any(|part| part == b"\r\n\r\n"));
}

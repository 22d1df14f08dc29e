//! A federation that fails on page 3 of 11: the run says which page and why, and nothing else
//! changes; what passes is tried again inside the run.

use serde_json::{Value, json};
use syncline_tests::foireann::fault::RetryAfter;
use syncline_tests::foireann::{Cursor, Fault, Moment, Rule};

use crate::fixture::{API_KEY, CLUB, Setup, assert_counts, text};
use crate::rig::{MEMBERS, SMALL_LIMITS, active, paged, requests, requests_of_page, state};

/// A fault, the code of the run's error and words of its message.
type Case = (&'static str, Rule, &'static str, &'static [&'static str]);

fn on_page_3(
    name: &'static str,
    fault: Fault,
    code: &'static str,
    words: &'static [&'static str],
) -> Case {
    (name, Rule::page(3, fault), code, words)
}

/// A club that was synced once, with a conflict in the inbox; then both sides went on: whatever a
/// run applied in part would show on pages 1 and 2, and whoever it missed would be deactivated.
#[track_caller]
fn about_to_change() -> Setup {
    let setup = paged(MEMBERS, SMALL_LIMITS, json!({"strategy": "manual"}));
    setup.synced();
    setup.edit("GAA-000005", json!({"firstName": "Ours"}));
    setup.sim.patch_member("GAA-000005", json!({"firstName": "Theirs"}));
    let second = setup.synced();
    assert_counts(&second, json!({"conflictsHeld": 1}));
    for id in ["GAA-000001", "GAA-000011"] {
        setup.sim.patch_member(id, json!({"firstName": "Changed"}));
        setup.sim.patch_member(id, json!({"address": "Nowhere"}));
    }
    setup.edit("GAA-000012", json!({"lastName": "Ours"}));
    setup.sim.patch_member("GAA-000012", json!({"lastName": "Theirs"}));
    for id in ["GAA-000002", "GAA-000040", "GAA-000109"] {
        setup.sim.delete_member(id);
    }
    setup
}

#[track_caller]
fn fails_without_effect(setup: &Setup, case: Case, before: &Value) {
    let (name, rule, code, words) = case;
    setup.sim.fault(rule);
    let run = setup.sync();
    setup.sim.clear_faults();
    assert_eq!(run["status"], "failed", "{name}: {run:#}");
    // Five faults in a row would disable the connector.
    let clear = format!("/connectors/{}/clear-errors", setup.connector);
    setup.host.call("POST", &clear, &json!({}), 200);
    let error = &run["errors"][0];
    let message = text(error, "message");
    assert_eq!(error["code"], code, "{name}: {error}");
    for word in words {
        assert!(message.contains(word), "{name}: no {word:?} in {message:?}");
    }
    let page = error["page"].as_u64();
    assert!(page.is_some(), "{name}: {error}");
    assert!(message.contains(&format!("page {}", page.unwrap_or(0))), "{name}: {message}");
    for count in ["created", "updated", "deactivated", "linked", "conflictsHeld"] {
        assert_eq!(run["counts"][count], 0, "{name}: counts.{count} of {run:#}");
    }
    assert_eq!(&state(setup), before, "{name} changed something");
    let listed = json!(requests(setup, &run)).to_string();
    assert!(listed.contains("page=3"), "{name}: {listed}");
    assert!(!listed.contains(API_KEY), "{name}: {listed}");
}

/// Every case fails; then the fault is over and the next run does all that waited.
#[track_caller]
fn check(setup: &Setup, cases: Vec<Case>) {
    let (before, active_before) = (state(setup), active(setup));
    for case in cases {
        fails_without_effect(setup, case, &before);
    }
    let run = setup.synced();
    // The conflict of the first run is seen again and stays one item.
    assert_counts(&run, json!({"fetched": 107, "deactivated": 3, "conflictsHeld": 2}));
    assert_eq!(active(setup), active_before - 3);
    assert_eq!(setup.inbox().len(), 2);
    for id in ["GAA-000001", "GAA-000011"] {
        assert_eq!(setup.field(id, "firstName"), "Changed");
    }
}

#[test]
fn an_error_status_on_page_3_fails_the_run_and_nothing_else() {
    let setup = about_to_change();
    let after = |seconds| Fault::too_many(RetryAfter::Seconds(seconds));
    let raw = |text: &str| Fault::too_many(RetryAfter::Raw(text.to_owned()));
    check(
        &setup,
        vec![
            on_page_3("401", Fault::status(401), "remote.auth", &["page 3", "401"]),
            on_page_3("403", Fault::status(403), "remote.auth", &["page 3", "403"]),
            on_page_3("404", Fault::status(404), "remote.not-found", &["page 3", "404"]),
            on_page_3("400", Fault::status(400), "remote.bad-response", &["page 3", "400"]),
            on_page_3("429", Fault::status(429), "remote.rate-limited", &["page 3"]),
            on_page_3("429, a day", after(86_400), "remote.rate-limited", &["page 3", "86400"]),
            on_page_3("429, soon", after(1), "remote.rate-limited", &["page 3"]),
            on_page_3("429, words", raw("later"), "remote.rate-limited", &["page 3"]),
            on_page_3("429, past", raw("-1"), "remote.rate-limited", &["page 3"]),
            on_page_3("500", Fault::status(500), "remote.unavailable", &["page 3", "500"]),
            on_page_3("503 HTML", Fault::html_error(503), "remote.unavailable", &["page 3", "503"]),
            on_page_3("418", Fault::status(418), "remote.bad-response", &["page 3", "418"]),
        ],
    );
}

#[test]
fn a_body_that_is_no_page_fails_the_run_and_nothing_else() {
    let setup = about_to_change();
    let html = Fault::Html { status: 200 };
    let truncated = Fault::TruncatedJson { keep_bytes: 700 };
    let cut = |moment, reset| Fault::Cut { moment, reset };
    let text = |text: &str| Fault::NotHttp { text: text.to_owned() };
    check(
        &setup,
        vec![
            on_page_3("HTML 200", html, "remote.bad-response", &["page 3", "web page"]),
            on_page_3("truncated", truncated, "remote.bad-response", &["page 3", "ends too early"]),
            on_page_3(
                "error body",
                Fault::ErrorBody,
                "remote.bad-response",
                &["page 3", "no list"],
            ),
            on_page_3("reset", cut(Moment::MidBody, true), "remote.unavailable", &["page 3"]),
            on_page_3(
                "cut",
                cut(Moment::AfterBytes(100), false),
                "remote.unavailable",
                &["page 3"],
            ),
            on_page_3("closed", cut(Moment::BeforeHead, false), "remote.unavailable", &["page 3"]),
            on_page_3("headless", cut(Moment::AfterHead, true), "remote.unavailable", &["page 3"]),
            on_page_3("not HTTP", text("SSH-2.0-x\r\n"), "remote.unavailable", &["page 3"]),
            on_page_3(
                "not UTF-8",
                Fault::InvalidUtf8 { row: 4 },
                "remote.bad-response",
                &["page 3", "UTF-8"],
            ),
        ],
    );
}

#[test]
fn a_body_that_is_too_slow_or_too_large_fails_the_run_and_the_host_stays_small() {
    let setup = about_to_change();
    let slow = Fault::SlowLoris { piece_bytes: 16, pause_ms: 100, head: false };
    let peak = peak_memory_kib(&setup);
    let large = "remote.bad-response";
    check(
        &setup,
        vec![
            on_page_3("slow body", slow, "remote.unavailable", &["page 3", "in time"]),
            on_page_3("hang", Fault::Hang, "remote.unavailable", &["page 3", "in time"]),
            on_page_3("100 MB", Fault::BigBody { bytes: 100 << 20 }, large, &["page 3", "1000000"]),
            on_page_3(
                "gzip bomb",
                Fault::GzipBomb { unpacked_bytes: 20 << 20 },
                large,
                &["page 3", "1000000"],
            ),
            on_page_3(
                "huge header",
                Fault::HugeHeader { bytes: 40_000 },
                large,
                &["page 3", "16384"],
            ),
            on_page_3("endless head", Fault::EndlessHead, large, &["page 3", "16384"]),
        ],
    );
    let grown = peak_memory_kib(&setup) - peak;
    assert!(grown < 64 << 10, "the host's peak memory grew by {grown} KiB");
}

fn peak_memory_kib(setup: &Setup) -> u64 {
    let status = format!("/proc/{}/status", setup.host.process_id());
    let status = std::fs::read_to_string(status).expect("the host's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a peak of memory")
}

#[test]
fn a_cursor_without_end_fails_the_run_and_nothing_else() {
    let setup = about_to_change();
    let endless = |cursor| Rule::listing(Fault::EndlessCursor { cursor });
    let same = Rule { when: Rule::page(3, Fault::Hang).when, ..endless(Cursor::SamePage) };
    check(
        &setup,
        vec![
            ("the same page", same, "listing.loops", &["page 3 "]),
            ("empty pages", endless(Cursor::EmptyPages), "listing.loops", &["page 12 "]),
            ("new ids", endless(Cursor::NewIds), "listing.endless", &["page 40", "40 pages"]),
            on_page_3(
                "an empty page that promises more",
                Fault::EmptyPage { has_more: true },
                "listing.loops",
                &["page 3 "],
            ),
        ],
    );
}

#[test]
fn a_redirect_to_where_nothing_is_granted_fails_the_run_and_nothing_else() {
    let setup = about_to_change();
    let to = |location: &str| Fault::redirect(302, location);
    let code = "remote.config";
    check(
        &setup,
        vec![
            on_page_3(
                "metadata",
                to("http://169.254.169.254/latest"),
                code,
                &["page 3", "169.254"],
            ),
            on_page_3("loopback", to("http://127.0.0.1:1/"), code, &["page 3", "127.0.0.1"]),
            on_page_3("IPv6", to("http://[::1]:1/"), code, &["page 3", "[::1]"]),
            on_page_3(
                "another host",
                to("https://example.com/x"),
                code,
                &["page 3", "example.com"],
            ),
            on_page_3("a file", to("file:///etc/passwd"), code, &["page 3"]),
            on_page_3(
                "itself",
                to(&format!("/clubs/{CLUB}/members?page=3&limit=10")),
                code,
                &["page 3", "redirects"],
            ),
        ],
    );
}

#[test]
fn what_passes_is_tried_again_inside_the_run() {
    let setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let reset = Fault::Cut { moment: Moment::MidBody, reset: true };
    let cases = [
        ("503", Fault::status(503), Some(503), 0),
        ("reset", reset, None, 0),
        ("429", Fault::too_many(RetryAfter::Seconds(1)), Some(429), 1_000),
        ("429 until a date", Fault::too_many(RetryAfter::DateInSeconds(2)), Some(429), 900),
        ("429 without a time", Fault::status(429), Some(429), 0),
    ];
    for (name, fault, status, waited_millis) in cases {
        setup.sim.fault(Rule::page(3, fault).once());
        let run = setup.synced();
        setup.sim.clear_faults();
        assert_eq!(run["counts"]["fetched"], MEMBERS, "{name}: {run:#}");
        let lines = requests_of_page(&setup, &run, 3);
        assert_eq!(lines.len(), 2, "{name}: {lines:#?}");
        let [first, second] = [&lines[0], &lines[1]];
        assert_eq!([&first["attempt"], &second["attempt"]], [1, 2], "{name}: {lines:#?}");
        if let Some(status) = status {
            assert_eq!(first["status"], status, "{name}: {first}");
        } else {
            assert!(first["failure"].is_string(), "{name}: {first}");
        }
        assert_eq!(second["status"], 200, "{name}: {second}");
        let waited = second["waitedMs"].as_u64().unwrap_or(0);
        assert!(waited >= waited_millis, "{name}: {second}");
        assert!(!json!(requests(&setup, &run)).to_string().contains(API_KEY), "{name}");
    }
    assert_eq!(setup.records().len(), 110);
}

#[test]
fn a_federation_that_repeats_what_it_was_told_gets_no_key_into_the_history() {
    let setup = paged(30, SMALL_LIMITS, json!({}));
    for status in [400, 401, 500] {
        setup.sim.fault(Rule::page(2, Fault::EchoHeaders { status }));
        let run = setup.sync();
        setup.sim.clear_faults();
        assert_eq!(run["status"], "failed", "{run:#}");
        let logs = setup.host.get(&format!("/sync/status/{}/logs", text(&run, "syncId")));
        let connector = setup.host.get(&format!("/connectors/{}/health", setup.connector));
        for shown in [&run, &logs, &connector, &json!(requests(&setup, &run))] {
            assert!(!shown.to_string().contains(API_KEY), "{status}: {shown:#}");
        }
    }
    assert!(!setup.host.log().contains(API_KEY), "the key is in the log");
}

#[test]
fn what_will_not_pass_is_asked_once() {
    let setup = paged(30, SMALL_LIMITS, json!({}));
    for status in [400, 401, 403, 404, 410] {
        setup.sim.fault(Rule::page(2, Fault::status(status)));
        let run = setup.sync();
        setup.sim.clear_faults();
        assert_eq!(run["status"], "failed", "{run:#}");
        let lines = requests_of_page(&setup, &run, 2);
        assert_eq!(lines.len(), 1, "{status}: {lines:#?}");
        // Faults in a row would disable the connector.
        setup.synced();
    }
}

//! Answers that go on, read by a client that loses its connection every now and then: what it put together is what the
//! API shows.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Options, Rule};
use syncline_tests::sse::{Event, Stream};

use crate::fixture::{CLUB, Host, ORG, Setup, federation, member, members, text};
use crate::rig::{paged, signal};

const DEADLINE: Duration = Duration::from_secs(90);

/// Numbers that repeat with the seed, which is printed.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        let seed = std::env::var("SYNCLINE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(20_260_301);
        println!("SYNCLINE_TEST_SEED={seed}");
        Dice(seed)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn open(host: &Host, path: &str, last: Option<&str>) -> Stream {
    let target = format!("/api/v1{path}");
    Stream::open(host.address(), &target, &host.token, last).expect("a stream opens")
}

fn feed(after: &str) -> String {
    format!("/organizations/{ORG}/changes?after={after}")
}

fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).expect("an event holds JSON")
}

/// Events until the stream ends or breaks.
fn rest(mut stream: Stream) -> Vec<Event> {
    let mut events = Vec::new();
    while let Ok(Some(event)) = stream.event() {
        events.push(event);
    }
    events
}

#[test]
fn a_feed_that_breaks_again_and_again_neither_skips_nor_doubles() {
    let setup = Setup::generated(120);
    let wanted = AtomicU64::new(u64::MAX);
    let mut dice = Dice::new();
    let (rows, breaks) = thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let (mut rows, mut last, mut breaks) = (Vec::<Value>::new(), None::<String>, 0);
            let begun = Instant::now();
            while last
                .as_ref()
                .is_none_or(|id| id.parse::<u64>().unwrap() < wanted.load(Ordering::SeqCst))
            {
                assert!(begun.elapsed() < DEADLINE, "{} rows", rows.len());
                let mut stream = open(&setup.host, &feed("0"), last.as_deref());
                assert_eq!(stream.status, 200);
                for _ in 0..=dice.roll(40) {
                    match stream.event().expect("the stream lives") {
                        Some(event) => {
                            assert_eq!(event.kind, "change");
                            rows.push(data(&event));
                            last = Some(event.id);
                        }
                        None => panic!("the server ended the stream"),
                    }
                    if last.as_ref().and_then(|id| id.parse().ok())
                        >= Some(wanted.load(Ordering::SeqCst))
                    {
                        break;
                    }
                }
                breaks += 1;
            }
            (rows, breaks)
        });
        for round in 0..4 {
            setup.synced();
            for number in 1..=20 {
                let id = format!("M-{round}{number}");
                setup.sim.add_members(
                    CLUB,
                    &[member(1_000 + round * 100 + number, json!({"memberId": id}))],
                );
            }
        }
        setup.synced();
        let first = setup.records().swap_remove(0);
        // One more row, by which the follower knows that it has all of them.
        wanted.store(setup.last_change() + 1, Ordering::SeqCst);
        setup.host.edit(ORG, &text(&first, "id"), json!({"phone": "085 999 9999"}));
        follower.join().expect("the follower ends")
    });
    println!("{} rows over {breaks} connections", rows.len());
    assert_eq!(rows, setup.host.changes(ORG, 0), "what was put together is what the API shows");
    assert!(breaks > 5, "{breaks}");
}

/// A run is followed over dropped connections from its start to its end.
#[test]
fn a_run_that_is_followed_over_broken_streams_ends_as_the_api_shows_it() {
    let setup = paged(60, "", json!({}));
    setup.sim.fault(Rule::any(Fault::Delay { ms: 120 }));
    let mut dice = Dice::new();
    let run = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    let path = format!("/sync/status/{run}/events");
    let (mut last, mut seen, mut breaks) = (None::<String>, Vec::new(), 0);
    let end = loop {
        let mut stream = open(&setup.host, &path, last.as_deref());
        assert_eq!(stream.status, 200);
        assert!(stream.headers.iter().any(|line| line == "content-type: text/event-stream"));
        let mut end = None;
        for _ in 0..=dice.roll(3) {
            let event = stream.event().expect("the stream lives").expect("it goes on to the end");
            assert_ne!(Some(&event.id), last.as_ref(), "what the reader has is not told again");
            last = Some(event.id.clone());
            let run = data(&event);
            seen.push((text(&run, "status"), run["progress"]["phase"].clone()));
            if event.kind == "end" {
                assert_eq!(stream.event().expect("it ends in order"), None);
                end = Some(run);
                break;
            }
        }
        match end {
            Some(end) => break end,
            None => breaks += 1,
        }
    };
    println!("{} states over {breaks} breaks: {seen:?}", seen.len());
    assert_eq!(end, setup.host.run(&run), "the last state is what the API shows");
    assert_eq!(end["status"], "completed", "{end:#}");
    assert!(breaks > 0 && seen.iter().any(|(_, phase)| phase == "fetch"), "{seen:?}");
    // Whoever has the end is told that there is nothing more: a browser asks no further.
    let again = open(&setup.host, &path, last.as_deref());
    assert_eq!(again.status, 204);
    let once_more = rest(open(&setup.host, &path, Some("something-older")));
    assert_eq!(once_more.len(), 1, "{once_more:?}");
    assert_eq!((once_more[0].kind.as_str(), data(&once_more[0])), ("end", end));
}

#[test]
fn a_finished_run_tells_its_end_also_after_a_restart() {
    let mut setup = Setup::new(&members(2));
    let run = text(&setup.synced(), "syncId");
    let path = format!("/sync/status/{run}/events");
    let before = rest(open(&setup.host, &path, None));
    setup.host.restart();
    let after = rest(open(&setup.host, &path, None));
    assert_eq!(before, after, "the same id and state by another process");
    assert_eq!(after.len(), 1);
    assert_eq!(data(&after[0]), setup.host.run(&run));
    assert_eq!(open(&setup.host, &path, Some(&after[0].id)).status, 204);
    assert_eq!(open(&setup.host, "/sync/status/run_99/events", None).status, 404);
    assert_eq!(open(&setup.host, &feed("0"), Some("no number")).status, 422);
    assert_eq!(open(&setup.host, &feed("x"), None).status, 422);
}

/// A held run has ended as far as a stream goes; approved it can be followed again.
#[test]
fn a_held_run_can_be_followed_on_once_it_is_approved() {
    let setup = Setup::generated(60);
    setup.synced();
    for number in 1..=30 {
        setup.sim.delete_member(&syncline_tests::foireann::generate::member_id(number));
    }
    let run = setup.sync();
    assert_eq!(run["status"], "held", "{run:#}");
    let id = text(&run, "syncId");
    let path = format!("/sync/status/{id}/events");
    let held = rest(open(&setup.host, &path, None)).pop().expect("an event");
    assert_eq!((held.kind.as_str(), &data(&held)["status"]), ("end", &json!("held")));
    let body = json!({"planHash": run["planHash"]});
    setup.host.call("POST", &format!("/sync/status/{id}/approve"), &body, 202);
    let events = rest(open(&setup.host, &path, Some(&held.id)));
    let last = events.last().expect("events");
    assert_eq!(
        (last.kind.as_str(), &data(last)["status"]),
        ("end", &json!("completed")),
        "{events:?}"
    );
}

/// A token that is revoked or expires, and an organization that goes, end what they opened.
#[test]
fn a_stream_ends_with_the_right_to_read_it() {
    let setup = Setup::new(&members(3));
    setup.synced();
    let host = &setup.host;
    let reader = |more: Value| {
        let mut body = json!({"name": "reader", "role": "viewer", "organizationId": ORG});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = host.call("POST", "/tokens", &body, 201);
        (text(&made, "id"), text(&made, "token"))
    };
    let follow = |token: &str| {
        let target = format!("/api/v1{}", feed("0"));
        let mut stream = Stream::open(host.address(), &target, token, None).expect("a stream");
        assert_eq!(stream.status, 200);
        for seq in ["1", "2", "3"] {
            assert_eq!(stream.event().unwrap().expect("a row").id, seq);
        }
        stream
    };
    let (id, token) = reader(json!({}));
    let mut revoked = follow(&token);
    host.change("DELETE", &format!("/tokens/{id}"), &Value::Null, 204);
    assert_eq!(revoked.event().expect("it ends in order"), None, "revoked");

    // Long enough that the stream opens before, also on a machine that is busy.
    let token = [3, 20, 60].into_iter().find_map(|seconds| {
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let (_, token) = reader(json!({"expiresAt": soon.to_string()}));
        let target = format!("/api/v1{}", feed("3"));
        let mut stream = Stream::open(host.address(), &target, &token, None).expect("an answer");
        if stream.status != 200 {
            return None;
        }
        assert_eq!(stream.event().expect("it ends in order"), None, "expired");
        let early = soon - jiff::SignedDuration::from_millis(5);
        assert!(jiff::Timestamp::now() >= early, "it ended before its time");
        Some(token)
    });
    let token = token.expect("a stream that opened before its token expired");
    // Nothing of what came afterwards was told to either.
    setup.edit("M-1", json!({"phone": "085 000 0000"}));
    let target = format!("/api/v1{}", feed("0"));
    let gone = Stream::open(host.address(), &target, &token, None).expect("an answer");
    assert_eq!(gone.status, 401);
    let other = Stream::open(
        host.address(),
        "/api/v1/organizations/elsewhere/changes",
        &reader(json!({})).1,
        None,
    );
    assert_eq!(other.expect("an answer").status, 404);
}

#[test]
fn streams_are_bounded_and_the_end_of_the_server_waits_for_none() {
    let config = "[limits]\ncallerStreamsMax = 2\n";
    let sim = federation(Options::members(2));
    let mut host = Host::with_config(&[sim.host_port()], config);
    host.create_organization(ORG);
    let (first, _second) = (open(&host, &feed("latest"), None), open(&host, &feed("latest"), None));
    let third = open(&host, &feed("latest"), None);
    assert_eq!(third.status, 429);
    assert!(
        third.headers.iter().any(|line| line.starts_with("retry-after:")),
        "{:?}",
        third.headers
    );
    assert_eq!(host.get(&feed("0"))["items"], json!([]), "pages are no streams");
    drop(first);
    let begun = Instant::now();
    let mut again = loop {
        let again = open(&host, &feed("latest"), None);
        if again.status == 200 {
            break again;
        }
        assert!(begun.elapsed() < DEADLINE, "the place of a closed stream does not come back");
    };
    let begun = Instant::now();
    signal(host.process_id(), "TERM");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let ended = again.event();
    assert!(matches!(&ended, Ok(None)) || is_cut_off(&ended), "{ended:?}");
}

fn is_cut_off(ended: &io::Result<Option<Event>>) -> bool {
    ended.is_err()
}

/// `latest` begins with what comes, and pages and streams are the same rows.
#[test]
fn a_stream_from_the_latest_tells_what_comes() {
    let setup = Setup::new(&members(2));
    setup.synced();
    let start = setup.host.get(&feed("latest"));
    assert_eq!((&start["items"], &start["nextAfter"]), (&json!([]), &json!(2)));
    let mut stream = open(&setup.host, &feed("latest"), None);
    setup.edit("M-1", json!({"phone": "085 111 1111"}));
    let event = stream.event().expect("the stream lives").expect("an event");
    assert_eq!(event.id, "3");
    assert_eq!(data(&event), setup.host.changes(ORG, 2)[0]);
}

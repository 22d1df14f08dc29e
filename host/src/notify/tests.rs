//! Grouping, quiet hours, outages and the text of messages, with times as arguments.

use super::group::{self, Down};
use super::sink::Verdict;
use super::{Options, dispatch, text};
use crate::backoff::RequestRetry;
use crate::model::OrgNo;
use crate::model::access::{Grant, OrgKey, Role, User};
use crate::model::channel::{Channel, Delivery, DeliveryState, Mail, MailTls, QuietHours, Sink};
use crate::model::directory::Organization;
use crate::model::ids::{ChannelId, ConnectorId, DeliveryId, RunId, UserId};
use crate::model::notice::{Event, EventKind, Raised};
use crate::store::{self, Store, accounts, channels, directory, notices};
use crate::test_seed::check;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::prop_assert_eq;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tempfile::TempDir;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const WINDOW: i64 = 15 * MINUTE;
/// 2026-01-10, noon UTC.
const NOON: i64 = 1_768_046_400_000;

/// A store with channels, and a clock that the test moves.
struct Desk {
    store: Store,
    _directory: TempDir,
}

fn mail_sink() -> Sink {
    Sink::Email(Mail {
        host: "mail.example".into(),
        port: 587,
        tls: MailTls::StartTls,
        username: None,
        from: "sync@example.org".into(),
        to: vec!["treasurer@example.org".into()],
    })
}

/// The organizations that every desk knows.
fn key(id: &str) -> OrgKey {
    OrgKey { id: id.to_owned(), no: OrgNo(if id == "west" { 1 } else { 2 }) }
}

fn channel(number: u32) -> Channel {
    Channel {
        id: ChannelId(number),
        name: format!("channel {number}"),
        enabled: true,
        disabled_reason: None,
        organization: None,
        events: None,
        quiet_hours: None,
        sink: Sink::Slack,
        secret_updated_at: None,
        created_at: 0,
        updated_at: 0,
        version: 1,
    }
}

fn event(kind: EventKind, at: i64) -> Event {
    Event::new(kind, at).of_organization("west").of_connector(ConnectorId(1)).of_run(RunId(7))
}

impl Desk {
    fn new(channels: &[Channel]) -> Desk {
        let directory = TempDir::new().unwrap();
        let store = Store::create(directory.path(), &store::Options::default()).unwrap();
        let desk = Desk { store, _directory: directory };
        let west = Organization {
            id: "west".to_owned(),
            no: key("west").no,
            name: "West".to_owned(),
            timezone: "UTC".to_owned(),
            default_region: "IE".to_owned(),
            created_at: 0,
            version: 1,
        };
        let written = desk.store.write_blocking(move |txn| directory::put_organization(txn, &west));
        written.unwrap();
        for channel in channels {
            desk.put(channel);
        }
        desk
    }

    fn put(&self, channel: &Channel) {
        let channel = channel.clone();
        let written = self.store.write_blocking(move |txn| channels::put_channel(txn, &channel));
        written.unwrap();
    }

    /// Raises an event and lets it be routed.
    fn tell(&self, event: Event) {
        let at = event.at;
        let raised = self.store.write_blocking(move |txn| super::raise(txn, event.clone()));
        raised.unwrap();
        self.route(at);
    }

    fn route(&self, now: i64) -> usize {
        let routed = self.store.write_blocking(move |txn| group::route(txn, now, WINDOW));
        routed.unwrap()
    }

    /// Everything in the log, oldest first.
    fn log(&self) -> Vec<Delivery> {
        let mut log = Vec::new();
        channels::scan_newest(&self.store.read().unwrap(), None, None, &mut |delivery| {
            log.push(delivery);
            ControlFlow::Continue(())
        })
        .unwrap();
        log.reverse();
        log
    }

    fn due(&self, now: i64) -> Vec<DeliveryId> {
        let mut due = Vec::new();
        channels::scan_due(&self.store.read().unwrap(), &mut |at, id, _| {
            due.extend((at <= now).then_some(id));
            ControlFlow::Continue(())
        })
        .unwrap();
        due
    }

    fn seal(&self, id: DeliveryId, until: Option<i64>, now: i64) -> Option<Delivery> {
        let down = until.map(|until| Down { until, version: 1, failures: 1 });
        let sealed = self.store.write_blocking(move |txn| group::seal(txn, id, down, now, WINDOW));
        sealed.unwrap().map(|(delivery, _)| delivery)
    }

    /// Sends what is due, and answers it.
    fn send(&self, now: i64) -> Vec<Delivery> {
        let mut sent = Vec::new();
        for id in self.due(now) {
            let Some(mut delivery) = self.seal(id, None, now) else { continue };
            sent.push(delivery.clone());
            delivery.end(DeliveryState::Sent, now);
            let kept = self.store.write_blocking(move |txn| channels::put_delivery(txn, &delivery));
            kept.unwrap();
        }
        sent
    }
}

fn totals(sent: &[Delivery]) -> Vec<u64> {
    sent.iter().map(Delivery::total).collect()
}

#[test]
fn the_first_goes_out_at_once_and_the_rest_of_the_window_as_one() {
    let desk = Desk::new(&[channel(1)]);
    for second in 0..200 {
        desk.tell(event(EventKind::RunFailed, NOON + second * 1_000));
        if second == 0 {
            assert_eq!(totals(&desk.send(NOON)), [1]);
        }
    }
    assert_eq!(totals(&desk.send(NOON + WINDOW - 1)), [0; 0], "still collecting");
    assert_eq!(totals(&desk.send(NOON + WINDOW)), [199]);
    // The digest begins a window of its own.
    desk.tell(event(EventKind::RunFailed, NOON + WINDOW + 1));
    assert_eq!(totals(&desk.send(NOON + 2 * WINDOW - 1)), [0; 0]);
    assert_eq!(totals(&desk.send(NOON + 2 * WINDOW)), [1]);
    desk.tell(event(EventKind::RunFailed, NOON + 5 * WINDOW));
    assert_eq!(totals(&desk.send(NOON + 5 * WINDOW)), [1], "after a calm, at once again");
    assert_eq!(desk.log().len(), 4);
}

#[test]
fn kinds_do_not_wait_for_each_other() {
    let desk = Desk::new(&[channel(1)]);
    desk.tell(event(EventKind::RunFailed, NOON));
    desk.tell(event(EventKind::RunHeld, NOON + 1));
    assert_eq!(totals(&desk.send(NOON + 1)), [1, 1]);
}

#[test]
fn channels_get_what_they_asked_for() {
    let of_west = Channel { organization: Some(key("west")), ..channel(2) };
    let of_east = Channel { organization: Some(key("east")), ..channel(3) };
    let disks = Channel { events: Some(vec![EventKind::DiskLow]), ..channel(4) };
    let off = Channel { enabled: false, ..channel(5) };
    let desk = Desk::new(&[channel(1), of_west, of_east, disks, off]);
    desk.tell(event(EventKind::RunFailed, NOON));
    desk.tell(Event::new(EventKind::DiskLow, NOON));
    let mut told: Vec<_> = desk.log().iter().map(|one| (one.channel.0, one.kinds())).collect();
    told.sort();
    let (failed, disk) = (vec![EventKind::RunFailed], vec![EventKind::DiskLow]);
    assert_eq!(told, [(1, failed.clone()), (1, disk.clone()), (2, failed), (4, disk)]);
}

#[test]
fn an_organization_without_a_channel_is_told_through_the_first_mail_channel() {
    let mail = Channel { sink: mail_sink(), events: Some(vec![EventKind::DiskLow]), ..channel(2) };
    let later = Channel { sink: mail_sink(), events: Some(vec![EventKind::DiskLow]), ..channel(3) };
    let desk = Desk::new(&[Channel { enabled: false, ..mail.clone() }, mail, later]);
    desk.tell(event(EventKind::RunFailed, NOON - HOUR));
    assert_eq!(desk.log(), [], "nobody is there to be written to");
    let admin = User {
        id: UserId(1),
        email: "admin@example.ie".to_owned(),
        name: "Admin".to_owned(),
        grant: Grant { role: Role::OrgAdmin, organization: Some(key("west")) },
        disabled: false,
        password_hash: String::new(),
        created_at: 0,
        last_login_at: None,
        version: 1,
    };
    let written = desk.store.write_blocking(move |txn| accounts::put_user(txn, None, &admin));
    written.unwrap();
    desk.tell(event(EventKind::RunFailed, NOON));
    desk.tell(event(EventKind::RunHeld, NOON));
    let told: Vec<_> = desk.log().iter().map(|one| (one.channel.0, one.audience.clone())).collect();
    assert_eq!(told, [(2, Some(key("west")))]);
    desk.put(&Channel { organization: Some(key("west")), ..channel(9) });
    desk.tell(event(EventKind::RunFailed, NOON + HOUR));
    let last = desk.log().pop().unwrap();
    assert_eq!((last.channel.0, last.audience), (9, None), "its own channel from then on");
}

fn quiet_channel() -> Channel {
    let hours = QuietHours { from: "22:00".into(), to: "07:00".into(), timezone: "UTC".into() };
    Channel { quiet_hours: Some(hours), ..channel(1) }
}

#[test]
fn the_night_becomes_one_message_in_the_morning_and_urgent_kinds_pass() {
    let desk = Desk::new(&[quiet_channel()]);
    let (night, morning) = (NOON + 10 * HOUR, NOON + 19 * HOUR);
    for minute in 0..90 {
        desk.tell(event(EventKind::RunFailed, night + minute * MINUTE));
        desk.tell(event(EventKind::RunHeld, night + minute * MINUTE));
    }
    desk.tell(Event::new(EventKind::DiskLow, night + HOUR));
    let urgent = desk.send(night + HOUR);
    assert_eq!(totals(&urgent), [1]);
    assert_eq!(urgent[0].kinds(), [EventKind::DiskLow]);
    assert_eq!(totals(&desk.send(morning - 1)), [0; 0]);
    let digest = desk.send(morning);
    assert_eq!(totals(&digest), [180]);
    assert_eq!(digest[0].kinds(), [EventKind::RunFailed, EventKind::RunHeld]);
    // The next night has a digest of its own.
    desk.tell(event(EventKind::RunFailed, night + 24 * HOUR));
    assert_eq!(totals(&desk.send(morning + 24 * HOUR)), [1]);
}

#[test]
fn what_was_collected_before_the_night_joins_the_morning() {
    let desk = Desk::new(&[quiet_channel()]);
    let evening = NOON + 10 * HOUR - 5 * MINUTE;
    desk.tell(event(EventKind::RunFailed, evening));
    assert_eq!(totals(&desk.send(evening)), [1]);
    desk.tell(event(EventKind::RunFailed, evening + MINUTE));
    desk.tell(event(EventKind::RunHeld, evening + 10 * MINUTE));
    assert_eq!(totals(&desk.send(evening + WINDOW)), [0; 0], "due in the quiet hours");
    assert_eq!(totals(&desk.send(NOON + 19 * HOUR)), [2]);
    assert_eq!(desk.log().len(), 2, "the folded message left no row of its own");
}

#[test]
fn what_was_tried_keeps_its_id_over_the_night() {
    let desk = Desk::new(&[quiet_channel()]);
    let evening = NOON + 10 * HOUR - MINUTE;
    desk.tell(event(EventKind::RunFailed, evening));
    let tried = desk.seal(desk.due(evening)[0], None, evening).unwrap();
    assert!(tried.was_tried(), "written before it is sent");
    desk.tell(event(EventKind::RunFailed, evening + 2 * MINUTE));
    assert_eq!(totals(&desk.send(evening + 2 * MINUTE)), [0; 0]);
    let morning = desk.send(NOON + 19 * HOUR);
    assert_eq!(totals(&morning), [1, 1]);
    assert_eq!(morning[0].id, tried.id);
}

#[test]
fn an_outage_leaves_one_collecting_message_for_each_kind() {
    let desk = Desk::new(&[channel(1)]);
    desk.tell(event(EventKind::RunFailed, NOON));
    let failed = desk.seal(desk.due(NOON)[0], None, NOON).unwrap();
    let until = NOON + 6 * HOUR;
    let mut waits = failed.clone();
    (waits.attempts, waits.due_at) = (5, Some(until));
    desk.store.write_blocking(move |txn| channels::put_delivery(txn, &waits)).unwrap();
    for minute in 1..300 {
        let now = NOON + minute * MINUTE;
        desk.tell(event(EventKind::RunFailed, now));
        desk.tell(event(EventKind::RunHeld, now));
        for id in desk.due(now) {
            assert_eq!(desk.seal(id, Some(until), now), None, "the receiver is left alone");
        }
    }
    let sent = desk.send(until);
    assert_eq!(sent[0].id, failed.id, "the oldest first, under its id");
    assert_eq!(totals(&sent), [1, 299, 299], "nothing is lost");
}

#[test]
fn a_message_to_a_channel_that_is_off_or_gone_ends_as_cancelled() {
    let desk = Desk::new(&[channel(1), channel(2)]);
    desk.tell(event(EventKind::RunFailed, NOON));
    desk.put(&Channel { enabled: false, ..channel(1) });
    let deleted = desk.store.write_blocking(|txn| channels::delete_channel(txn, ChannelId(2)));
    deleted.unwrap();
    assert_eq!(desk.send(NOON), []);
    let states: Vec<_> = desk.log().iter().map(|one| (one.state, one.due_at)).collect();
    assert_eq!(states, [(DeliveryState::Cancelled, None); 2]);
}

#[test]
fn an_overfull_outbox_counts_its_oldest_events() {
    let desk = Desk::new(&[channel(1)]);
    let count = notices::EVENTS_MAX + 500;
    let raised = desk.store.write_blocking(move |txn| -> Result<(), store::Error> {
        for number in 0..count {
            let kind = if number % 2 == 0 { EventKind::RunFailed } else { EventKind::RunHeld };
            super::raise(txn, event(kind, NOON))?;
        }
        Ok(())
    });
    raised.unwrap();
    let mut routed = 0;
    while notices::any_raised(&desk.store.read().unwrap()).unwrap() {
        routed += desk.route(NOON);
    }
    assert_eq!(routed as u64, notices::EVENTS_MAX + 2, "two counts stand for the oldest 500");
    assert_eq!(desk.log().iter().map(Delivery::total).sum::<u64>(), count);
}

#[test]
fn a_long_log_loses_its_oldest_ended_rows_and_no_living_one() {
    let desk = Desk::new(&[channel(1)]);
    let filled = desk.store.write_blocking(|txn| -> Result<(), store::Error> {
        for number in 0..channels::NOTICES_KEPT_MAX + 20 {
            let id = channels::next_delivery_id(txn)?;
            let mut delivery = Delivery::new(id, &channel(1), None, NOON);
            if number != 3 {
                delivery.end(DeliveryState::Sent, NOON);
            }
            channels::put_delivery(txn, &delivery)?;
        }
        Ok(())
    });
    filled.unwrap();
    desk.tell(event(EventKind::RunFailed, NOON + 1));
    let log = desk.log();
    assert_eq!(log.len() as u64, channels::NOTICES_KEPT_MAX + 2);
    assert_eq!((log[0].id.0, log[0].state), (4, DeliveryState::Pending));
}

/// One moment: how much later it is in half minutes, the kinds that happen, and how sending goes.
type Moment = (u8, Vec<usize>, u8);

/// Raises and sends as the moments say, then lets days pass; how many events were raised, and told by channel.
fn live_through(moments: &[Moment]) -> (u64, BTreeMap<u32, u64>) {
    let desk = Desk::new(&[quiet_channel(), channel(2)]);
    let (mut told, mut raised, mut now) = (BTreeMap::new(), 0, NOON);
    for (later, kinds, luck) in moments {
        now += i64::from(*later) * MINUTE / 2;
        for kind in kinds {
            desk.tell(event(EventKind::ALL[*kind], now));
            raised += 1;
        }
        for id in desk.due(now) {
            let down = (luck % 3 == 0).then_some(now + HOUR);
            let Some(mut delivery) = desk.seal(id, down, now) else { continue };
            if luck % 5 == 0 {
                delivery.due_at = Some(now + 10 * MINUTE);
            } else {
                *told.entry(delivery.channel.0).or_default() += delivery.total();
                delivery.end(DeliveryState::Sent, now);
            }
            let kept = desk.store.write_blocking(move |txn| channels::put_delivery(txn, &delivery));
            kept.unwrap();
        }
    }
    // Days with moments outside of the quiet hours.
    for _ in 0..10 {
        now += 5 * HOUR;
        for delivery in desk.send(now) {
            *told.entry(delivery.channel.0).or_default() += delivery.total();
        }
    }
    assert_eq!(desk.due(i64::MAX), [], "nothing waits for ever");
    (raised, told)
}

/// Whatever comes in whatever order, every event is told exactly once over each channel.
#[test]
fn nothing_is_lost_and_nothing_told_twice() {
    let moment = (0..90_u8, vec(0..EventKind::ALL.len(), 0..4), any::<u8>());
    check(12, &vec(moment, 1..60), |moments| {
        let (raised, told) = live_through(&moments);
        prop_assert_eq!(told.get(&1).copied().unwrap_or_default(), raised);
        prop_assert_eq!(told.get(&2).copied().unwrap_or_default(), raised);
        Ok(())
    });
}

fn message(delivery: &Delivery) -> text::Message {
    let names = text::Names {
        organizations: BTreeMap::from([("west".into(), "West\r\nBcc: all@example.org".into())]),
        connectors: BTreeMap::from([("con_1".into(), "Fed <b>\u{202e}\u{1b}[31m".into())]),
    };
    text::message(delivery, &names, "https://sync.example.org")
}

fn with(events: impl IntoIterator<Item = Event>) -> Delivery {
    let mut delivery = Delivery::new(DeliveryId(1), &channel(1), None, NOON);
    events.into_iter().for_each(|event| delivery.add(Raised { event, times: 1 }));
    delivery
}

#[test]
fn every_kind_says_what_effect_next_step_and_link() {
    for kind in EventKind::ALL {
        let reason = event(kind, NOON).fact(Event::REASON, "page 3: 503");
        let message = message(&with([reason.fact(Event::CODE, "remote.unavailable")]));
        let lines: Vec<&str> = message.text.lines().collect();
        assert!(message.subject.starts_with("Syncline: "), "{kind}: {message:?}");
        let parts = ["When: ", "Why: ", "Effect: ", "Next: ", "Look: https://sync.example.org/"];
        for part in parts {
            let found = lines.iter().any(|line| line.starts_with(part) && line.len() > part.len());
            assert!(found, "{kind}: no {part:?} in {}", message.text);
        }
        assert!(message.text.contains("page 3: 503 (remote.unavailable)"), "{}", message.text);
        assert_eq!(message.data["events"][0]["kind"], kind.as_str());
    }
}

#[test]
fn names_make_no_line_of_their_own() {
    let one = message(&with([event(EventKind::RunFailed, NOON)]));
    let many = message(&with((0..30).map(|at| event(EventKind::RunFailed, NOON + at))));
    for shown in [&one, &many] {
        assert!(!shown.subject.chars().any(char::is_control), "{:?}", shown.subject);
        assert!(!shown.text.lines().any(|line| line.starts_with("Bcc:")), "{}", shown.text);
        assert!(!shown.text.contains('\u{1b}') && !shown.text.contains('\u{202e}'));
    }
    assert!(one.subject.contains("West\\r\\nBcc: all@example.org"), "{}", one.subject);
    assert_eq!(many.subject, "30 x sync failed");
    assert!(many.text.contains("10 x sync failed: counted, not listed."), "{}", many.text);
    assert_eq!(many.data["count"], 30);
    assert!(many.data.to_string().len() < 20_000, "receivers take 20 KB");
}

fn options() -> Options {
    Options {
        public_url: String::new(),
        window: std::time::Duration::ZERO,
        retry: RequestRetry {
            attempts_max: u32::MAX,
            wait_first: std::time::Duration::from_secs(60),
            wait_max: std::time::Duration::from_secs(6 * 3_600),
        },
        retry_for: std::time::Duration::from_secs(3 * 86_400),
        send_max: std::time::Duration::from_secs(30),
        drain_max: std::time::Duration::ZERO,
    }
}

/// The waits between attempts, and when it is enough.
#[test]
fn waits_double_to_a_cap() {
    let options = options();
    let waits: Vec<u64> =
        (1..=12).map(|attempt| options.retry.wait(attempt, u32::MAX).as_secs() / 60 + 1).collect();
    assert_eq!(waits[..9], [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(waits[9..], [360; 3]);
}

#[test]
fn a_message_that_nobody_wants_ends_soon_and_leaves_its_receiver_open() {
    let desk = Desk::new(&[channel(1)]);
    desk.tell(event(EventKind::RunFailed, NOON));
    let mut unwanted = desk.seal(desk.due(NOON)[0], None, NOON).unwrap();
    let refused = Verdict::Refused { reason: "there is nobody to write to".to_owned() };
    let (mut now, mut states) = (NOON, Vec::new());
    while let Some(due) = unwanted.due_at {
        now = now.max(due);
        unwanted.attempts += 1;
        let (verdict, before) = (refused.clone(), unwanted);
        let noted = desk.store.write_blocking(move |txn| -> Result<Delivery, store::Error> {
            let mut delivery = before.clone();
            dispatch::note(txn, &mut delivery, &verdict, &options(), u32::MAX, now)?;
            Ok(delivery)
        });
        unwanted = noted.unwrap();
        states.push(unwanted.state);
        assert_eq!(dispatch::outage(None, &channel(1), &refused, &options(), 0, now), None);
    }
    assert_eq!(states.len(), 5, "{states:?}");
    assert_eq!(unwanted.state, DeliveryState::Failed);
    assert!(now - NOON <= 15 * MINUTE, "{} minutes", (now - NOON) / MINUTE);
    let known = Down { until: NOON, version: 1, failures: 3 };
    let after = |verdict: &Verdict| {
        dispatch::outage(Some(known), &channel(1), verdict, &options(), 0, NOON)
    };
    assert_eq!(after(&refused), Some(known), "an outage is neither over nor longer");
    assert_eq!(after(&Verdict::Sent { answer: "ok".to_owned() }), None);
}

/// It may be the message that is at fault, which no answer tells: the others must get their turn.
#[test]
fn what_was_not_tried_goes_before_what_failed() {
    let desk = Desk::new(&[channel(1)]);
    desk.tell(event(EventKind::RunFailed, NOON));
    let failing = desk.seal(desk.due(NOON)[0], None, NOON).unwrap();
    desk.tell(event(EventKind::RunHeld, NOON + 1));
    let due = desk.due(NOON + 1);
    assert_eq!(due[0], failing.id, "it is the first that is due");
    let next = |ids: &[DeliveryId]| {
        dispatch::untried_first(&desk.store.read().unwrap(), ids).unwrap().unwrap()
    };
    assert_eq!(next(&due), due[1]);
    assert_eq!(next(&due[..1]), failing.id);
    // However often the one failed: the receiver is left alone by what it failed in a row.
    let failed = Verdict::Retry { reason: "500".to_owned(), after: None };
    let down = |before| {
        dispatch::outage(before, &channel(1), &failed, &options(), u32::MAX, NOON).unwrap()
    };
    let first = down(None);
    assert_eq!((first.failures, first.until / 1_000), (1, (NOON + MINUTE) / 1_000 - 1));
    assert_eq!(down(Some(first)).failures, 2);
    let changed = Down { version: 0, failures: 9, ..first };
    assert_eq!(down(Some(changed)).failures, 1, "a changed channel begins anew");
}

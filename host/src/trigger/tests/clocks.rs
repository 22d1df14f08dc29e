//! Zones, clocks that are set, and months of stops and kills.

use super::*;
use crate::cron::Calendar;
use crate::test_seed;
use jiff::tz::TimeZone;
use proptest::strategy::Strategy as _;

#[tokio::test]
async fn each_organization_counts_in_its_own_zone() {
    let mut rig = Rig::new(&["Europe/Dublin", "America/Edmonton"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-01T09:00:00Z").await;
    let by: Vec<_> = rig.fires().iter().map(|fire| fire.connection.0).collect();
    assert_eq!(by, [1, 2]);
    assert_eq!(rig.told(), told(&[(Fired, "2026-01-01T02:00", 1), (Fired, "2026-01-01T09:00", 1)]));
    let next = upcoming(&rig.read(), &schedule("0 2 * * *"), None, rig.now(), 3).unwrap();
    let next: Vec<String> =
        next.iter().map(|next| format!("{} {}", next.nominal, next.zone)).collect();
    assert_eq!(
        next,
        [
            "2026-01-02T02:00:00Z Europe/Dublin",
            "2026-01-02T09:00:00Z America/Edmonton",
            "2026-01-03T02:00:00Z Europe/Dublin",
        ]
    );
}

#[tokio::test]
async fn a_clock_that_is_set_doubles_and_loses_nothing() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.set("2026-01-05T02:00:00Z").await;
    rig.finish().await;
    let begun = rig.fires().len();
    // Back by an hour, by a day, to before everything began: what was done is not done again.
    for back in ["2026-01-05T01:00:00Z", "2026-01-04T02:00:00Z", "1970-01-01T00:00:30Z"] {
        rig.set(back).await;
        rig.set("2026-01-05T02:00:10Z").await;
        assert_eq!(rig.fires().len(), begun, "{back}");
    }
    // Ahead by a day and back: the night that came early does not come again, and the one after it does.
    rig.set("2026-01-06T02:00:00Z").await;
    rig.finish().await;
    rig.set("2026-01-05T03:00:00Z").await;
    rig.set("2026-01-06T02:00:30Z").await;
    assert_eq!(rig.fires().len(), begun + 1);
    rig.set("2026-01-07T02:00:00Z").await;
    rig.finish().await;
    assert_eq!(rig.fires().len(), begun + 2);
    // Ahead by a year and back: nobody waits for a year.
    rig.set("2027-01-07T12:00:00Z").await;
    rig.finish().await;
    rig.set("2026-01-07T12:00:00Z").await;
    let ahead = rig.fires().len();
    rig.set("2026-01-08T02:00:00Z").await;
    assert_eq!(rig.finish().await, 1);
    assert_eq!(rig.told()[ahead..], told(&[(Fired, "2026-01-08T02:00", 1)]));
}

#[tokio::test]
async fn what_was_made_while_the_clock_ran_ahead_does_not_wait_for_it() {
    let mut rig = Rig::new(&[]).await;
    rig.clock.set(at("2027-06-01T00:00:00Z"));
    rig.connect(1, "UTC").await;
    let now = rig.now();
    rig.add(Schedule { armed_at: now, created_at: now, ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T12:00:00Z").await;
    assert_eq!(rig.told(), []);
    rig.set("2026-01-02T02:00:00Z").await;
    rig.finish().await;
    rig.set("2026-01-03T02:00:00Z").await;
    assert_eq!(rig.told(), told(&[(Fired, "2026-01-02T02:00", 1), (Fired, "2026-01-03T02:00", 1)]));
}

#[tokio::test]
async fn a_new_zone_of_an_organization_makes_up_for_nothing() {
    let mut rig = Rig::new(&["Europe/Dublin", "Europe/Dublin"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-01T20:00:00Z").await;
    // There it was two in the morning three hours ago.
    let now = rig.now();
    rig.write(move |txn| {
        directory::put_organization(txn, &organization(1, "Asia/Tokyo"))?;
        rearm(txn, OrgNo(1), now)
    })
    .await;
    rig.settle().await;
    rig.finish().await;
    rig.set("2026-01-02T17:00:00Z").await;
    let of = |connection: u32| -> Vec<String> {
        let fires = rig.fires().into_iter().filter(|fire| fire.connection.0 == connection);
        fires.map(|fire| to_text(fire.nominal_at.unwrap())).collect()
    };
    assert_eq!(of(1), ["2026-01-01T02:00:00.000Z", "2026-01-02T17:00:00.000Z"]);
    assert_eq!(of(2), ["2026-01-01T02:00:00.000Z", "2026-01-02T02:00:00.000Z"]);
}

/// Months of nights in a zone with changes of the clocks, with stops, kills and jumps of the clock at random: every
/// nominal fire is dealt with exactly once, and none comes to two runs.
#[test]
fn months_of_stops_and_kills_lose_and_double_nothing() {
    let step = (1_i64..40, 0_u8..8);
    let steps = proptest::collection::vec(step, 60..120);
    let cases =
        (steps, proptest::sample::select(vec!["30 1 * * *", "0 */4 * * *", "15 2 * * 1,4"]))
            .prop_map(|(steps, pattern)| (steps, pattern));
    test_seed::check(6, &cases, |(steps, pattern)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&steps, pattern));
        Ok(())
    });
}

async fn play(steps: &[(i64, u8)], pattern: &'static str) {
    let mut rig = Rig::new(&["Europe/Dublin"]).await;
    rig.clock.set(at("2026-03-01T00:00:00Z"));
    let begin = rig.clock.now();
    rig.connect(1, "Europe/Dublin").await;
    rig.add(schedule(pattern)).await;
    rig.start().await;
    let mut runs_seen = 0;
    for (hours, what) in steps {
        let next = rig.clock.now() + jiff::SignedDuration::from_mins(hours * 60 / 2 + 7);
        match what {
            // The loop is killed wherever it stands after the clock moved.
            0 => {
                rig.clock.set(next);
                rig.scheduler.ring();
                tokio::task::yield_now().await;
                rig.kill().await;
                rig.start().await;
            }
            1 => {
                rig.stop().await;
                rig.clock.set(next);
                rig.start().await;
            }
            2 => {
                rig.clock.set(rig.clock.now() - jiff::SignedDuration::from_mins(90));
                rig.settle().await;
                rig.clock.set(next);
                rig.settle().await;
            }
            _ => {
                rig.clock.set(next);
                rig.settle().await;
            }
        }
        if *what != 3 {
            runs_seen += rig.finish().await;
        }
    }
    runs_seen += rig.finish().await;
    let calendar = Calendar::new(
        crate::cron::parse(pattern).unwrap(),
        TimeZone::get("Europe/Dublin").unwrap(),
    );
    let expected = calendar.count(begin, rig.clock.now(), u64::MAX);
    let fires = rig.fires();
    let dealt: u64 = fires.iter().map(|fire| fire.count).sum();
    assert_eq!(dealt, expected, "`{pattern}`: {:?}", rig.told());
    let mut asked: Vec<RunId> = fires.iter().filter_map(|fire| fire.run).collect();
    let count = asked.len();
    asked.dedup();
    assert_eq!((asked.len(), count), (runs_seen, runs_seen), "each fire has a run of its own");
}

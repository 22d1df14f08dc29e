//! Which nights come to runs, which are made up for, and what the list of fires tells of them.

use super::*;
use crate::model::directory::ConnectorStatus;
use crate::model::notice::EventKind;
use crate::store::notices;
use std::collections::BTreeMap;

#[tokio::test]
async fn every_night_comes_to_one_run_also_over_restarts() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.set("2026-01-01T01:59:59Z").await;
    assert_eq!(rig.told(), []);
    rig.set("2026-01-01T02:00:00Z").await;
    rig.start().await;
    rig.set("2026-01-01T02:00:20Z").await;
    let (jobs, fires) = (rig.jobs(), rig.fires());
    assert_eq!((jobs.len(), jobs[0].trigger), (1, Trigger::Scheduled));
    assert_eq!(fires[0].run, Some(jobs[0].run));
    let run = runs::get(&rig.read(), jobs[0].run).unwrap().unwrap();
    assert_eq!(run.requested_by, "schedule sch_1");
    assert_eq!(rig.finish().await, 1);
    rig.set("2026-01-02T02:00:00Z").await;
    rig.kill().await;
    rig.start().await;
    assert_eq!(rig.told(), told(&[(Fired, "2026-01-01T02:00", 1), (Fired, "2026-01-02T02:00", 1)]));
    assert_eq!(rig.finish().await, 1);
}

#[tokio::test]
async fn the_clock_alone_wakes_the_loop() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    let mut looked = rig.scheduler.looked();
    for day in 1..=3 {
        let next = looked.borrow().unwrap().next.unwrap();
        assert_eq!(next, at(&format!("2026-01-0{day}T02:00:00Z")));
        rig.clock.set(next);
        looked.wait_for(|looked| looked.unwrap().at == next).await.unwrap();
        assert_eq!(rig.finish().await, 1);
    }
}

/// A fire that cannot be written down is not forgotten.
#[tokio::test]
async fn a_full_disk_puts_a_night_off_and_loses_none() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    let full = rig.store.dir().join(FULL);
    std::fs::create_dir(&full).unwrap();
    for time in ["2026-01-01T02:00:00Z", "2026-01-01T02:30:00Z"] {
        rig.set(time).await;
        assert_eq!(rig.told(), []);
        assert!(rig.jobs().is_empty());
    }
    std::fs::remove_dir(&full).unwrap();
    let mut looked = rig.scheduler.looked();
    rig.clock.set(at("2026-01-01T02:30:30Z"));
    looked.wait_for(|looked| looked.unwrap().at == rig.clock.now()).await.unwrap();
    assert_eq!(rig.told(), told(&[(CaughtUp, "2026-01-01T02:00", 1)]));
    assert_eq!(rig.jobs().len(), 1);
}

#[tokio::test]
async fn nothing_from_before_the_schedule_or_the_connection_is_made_up_for() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.clock.set(at("2026-01-05T12:00:00Z"));
    rig.connect(2, "UTC").await;
    let now = rig.now();
    rig.add(Schedule { armed_at: now, created_at: now, ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-05T13:00:00Z").await;
    assert_eq!(rig.told(), []);
    // A connection that is made later does not make up for the nights before it.
    rig.set("2026-01-06T03:00:00Z").await;
    rig.connect(3, "UTC").await;
    rig.settle().await;
    assert_eq!(rig.told().len(), 2, "{:?}", rig.told());
}

#[tokio::test]
async fn after_days_of_rest_one_run_makes_up_and_older_nights_are_told_as_missed() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.stop().await;
    rig.clock.set(at("2026-01-04T10:00:00Z"));
    rig.start().await;
    assert_eq!(
        rig.told(),
        told(&[(Missed, "2026-01-03T02:00", 3), (CaughtUp, "2026-01-04T02:00", 1)])
    );
    assert_eq!(rig.jobs().len(), 1);
    let raised = rig.write(|txn| notices::take_raised(txn, 10)).await;
    let [raised] = &raised[..] else { panic!("{raised:?}") };
    assert_eq!(raised.event.kind, EventKind::ScheduleMissed);
    assert_eq!(raised.event.organization.as_deref(), Some("org-1"));
    assert_eq!(raised.event.facts["count"], "3");
    // Every ten minutes, and nine hours off: one run for all of it, and nobody is told.
    rig.finish().await;
    rig.change(|schedule| schedule.cron = "*/10 * * * *".to_owned()).await;
    rig.finish().await;
    rig.stop().await;
    rig.clock.set(at("2026-01-04T19:00:00Z"));
    rig.start().await;
    assert_eq!(rig.told().last().unwrap().2, 54, "{:?}", rig.told());
    assert_eq!(rig.jobs().len(), 1);
    assert!(rig.write(|txn| notices::take_raised(txn, 10)).await.is_empty());
}

#[tokio::test]
async fn a_missed_night_tells_the_window_in_its_own_unit() {
    for (seconds, words) in [(86_400, " 24 h "), (5_400, " 90 min "), (90, " 90 s "), (0, " 0 s ")]
    {
        let mut rig = Rig::new(&["UTC"]).await;
        rig.add(Schedule { catch_up_millis: seconds * 1_000, ..schedule("0 2 * * *") }).await;
        rig.start().await;
        rig.stop().await;
        rig.clock.set(at("2026-01-03T01:59:00Z"));
        rig.start().await;
        let reason = rig.fires()[0].reason.clone().unwrap();
        assert!(reason.contains(words), "{reason}");
    }
}

#[tokio::test]
async fn connections_are_spread_and_each_keeps_its_place() {
    let zones = ["UTC"; 200];
    let mut rig = Rig::new(&zones).await;
    rig.add(Schedule { jitter_millis: 300_000, ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-01T02:02:30Z").await;
    let half = rig.jobs().len();
    assert!((60..140).contains(&half), "{half} of 200 in the first half");
    rig.set("2026-01-01T02:05:00Z").await;
    let offsets = |rig: &Rig, day: &str| -> BTreeMap<u32, i64> {
        let begin = to_millis(at(&format!("{day}T02:00:00Z")));
        let fires = rig.fires().into_iter().filter(|fire| fire.nominal_at == Some(begin));
        fires.map(|fire| (fire.connection.0, fire.due_at.unwrap() - begin)).collect()
    };
    assert_eq!(rig.finish().await, 200);
    rig.start().await;
    rig.set("2026-01-02T02:05:00Z").await;
    assert_eq!(offsets(&rig, "2026-01-01"), offsets(&rig, "2026-01-02"));
    assert_eq!(offsets(&rig, "2026-01-02").len(), 200);
    assert!(rig.fires().iter().all(|fire| fire.outcome != Skipped && fire.count == 1));
}

#[tokio::test]
async fn the_list_of_fires_keeps_the_newest() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.options.fires_kept_max = 3;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    for day in 1..=8 {
        rig.set(&format!("2026-01-0{day}T02:00:00Z")).await;
        rig.finish().await;
    }
    let numbers: Vec<u64> = rig.fires().iter().map(|fire| fire.number).collect();
    assert_eq!(numbers, [6, 7, 8]);
}

#[tokio::test]
async fn what_is_left_out_over_months_counts_for_its_own_days() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2,14 * * *")).await;
    rig.start().await;
    rig.connector(|row| row.status = ConnectorStatus::Inactive).await;
    let begin = at("2026-01-01T00:00:00Z");
    let day = |number: i64| begin + jiff::SignedDuration::from_hours(24 * number);
    for number in 0..60 {
        for hours in [2, 14] {
            rig.clock.set(day(number) + jiff::SignedDuration::from_hours(hours));
            rig.settle().await;
        }
    }
    let counts: Vec<u64> = rig.fires().iter().map(|fire| fire.count).collect();
    assert_eq!(counts, [2; 60], "a line for each day");
    rig.clock.set(day(60));
    let drift = || drift(&rig.read(), FIRST, None, rig.now()).unwrap();
    let since = to_millis(day(53));
    let expected = Drift { since, expected: 14, skipped: 14, ..Drift::default() };
    assert_eq!(drift(), expected);
    // One line that began long before the seven days stands for some of them alone.
    rig.write(move |txn| {
        let mut long = schedules::fire(txn, FIRST, 60)?.unwrap();
        long.nominal_from = Some(to_millis(begin) + 2 * 3_600_000);
        long.count = 120;
        schedules::put_fire(txn, FIRST, &long)?;
        (1..60).try_for_each(|number| {
            let mut old = schedules::fire(txn, FIRST, number)?.unwrap();
            old.at = 0;
            schedules::put_fire(txn, FIRST, &old)
        })
    })
    .await;
    assert_eq!(drift(), expected);
}

#[tokio::test]
async fn a_list_that_is_too_short_says_from_when_on_it_counts() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.options.fires_kept_max = 3;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    for day in 1..=5 {
        rig.set(&format!("2026-01-0{day}T02:00:00Z")).await;
        rig.finish().await;
        let drift = drift(&rig.read(), FIRST, None, rig.now()).unwrap();
        let since = if day > 3 { rig.fires()[0].at } else { rig.now() - 7 * 24 * 3_600_000 };
        assert_eq!((drift.since, drift.fired), (since, day.min(3)));
    }
}

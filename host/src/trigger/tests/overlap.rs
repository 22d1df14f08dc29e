//! What becomes of a fire while the run before it is not over.

use super::*;
use crate::queue;

#[tokio::test]
async fn a_run_that_is_not_over_is_not_overtaken() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 * * * *")).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    for hour in 2..=4 {
        rig.set(&format!("2026-01-01T0{hour}:00:00Z")).await;
        rig.claim().await;
    }
    let fires = rig.fires();
    // Fires in a row that are left out for the same reason are one line.
    assert_eq!(
        rig.told(),
        told(&[(Fired, "2026-01-01T01:00", 1), (Skipped, "2026-01-01T04:00", 3)])
    );
    assert_eq!(fires[1].code.as_deref(), Some("schedule.overlap"));
    assert!(fires[1].reason.as_ref().unwrap().contains("run_1 for the same is still running"));
    rig.finish().await;
    rig.set("2026-01-01T05:00:00Z").await;
    assert_eq!(rig.fires().len(), 3);
}

#[tokio::test]
async fn one_run_may_wait_behind_one() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(Schedule { overlap: Overlap::BufferOne, ..schedule("0 * * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    rig.claim().await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-01T03:00:00Z").await;
    let states: Vec<JobState> = rig.jobs().iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Running, JobState::Pending]);
    let codes: Vec<_> = rig.fires().into_iter().map(|fire| fire.code).collect();
    assert_eq!(codes, [None, None, Some("schedule.buffered".to_owned())]);
}

#[tokio::test]
async fn a_run_may_be_cancelled_for_the_next_one_but_never_a_persons() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(Schedule { overlap: Overlap::CancelOther, ..schedule("0 * * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    rig.claim().await;
    rig.set("2026-01-01T02:00:00Z").await;
    let jobs = rig.jobs();
    assert_eq!((jobs.len(), jobs[0].cancel, jobs[1].cancel), (2, true, false));
    assert_eq!(*rig.cancelled.lock().unwrap(), [jobs[0].run]);
    // The one that waits is replaced too, at once.
    rig.set("2026-01-01T03:00:00Z").await;
    let second = runs::get(&rig.read(), jobs[1].run).unwrap().unwrap();
    assert_eq!((second.status, rig.jobs().len()), (RunStatus::Cancelled, 2));
    rig.finish().await;
    let by_hand = by_hand(&rig).await;
    rig.claim().await;
    rig.set("2026-01-01T04:00:00Z").await;
    let jobs = rig.jobs();
    assert_eq!((jobs[0].run, jobs[0].cancel, jobs.len()), (by_hand, false, 2));
}

#[tokio::test]
async fn a_schedule_cancels_nothing_but_its_own_runs() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(Schedule { id: ScheduleId(2), ..schedule("0 1 * * *") }).await;
    let (overlap, mode) = (Overlap::CancelOther, Mode::Incremental);
    rig.add(Schedule { overlap, mode, ..schedule("15,30,45 1 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    rig.claim().await;
    let nightly = rig.jobs()[0].run;
    rig.set("2026-01-01T01:15:00Z").await;
    let own = rig.jobs()[1].run;
    // A webhook joins it and is the more urgent asker: it is the schedule's all the same.
    let now = rig.now();
    let joined = rig.write(move |txn| queue::enqueue(txn, hint(now))).await;
    assert_eq!((joined.run, joined.joined), (own, true));
    rig.set("2026-01-01T01:30:00Z").await;
    let status = |run: RunId| runs::get(&rig.read(), run).unwrap().unwrap().status;
    assert_eq!(status(own), RunStatus::Cancelled);
    let jobs = rig.jobs();
    assert_eq!((jobs.len(), jobs[0].run, jobs[0].cancel), (2, nightly, false));
    assert!(rig.cancelled.lock().unwrap().is_empty());
}

/// Each of the two counts on it.
#[tokio::test]
async fn a_run_that_two_schedules_asked_for_is_not_cancelled_by_one() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(Schedule { id: ScheduleId(2), ..schedule("0 1 * * *") }).await;
    let (overlap, mode) = (Overlap::CancelOther, Mode::Incremental);
    rig.add(Schedule { overlap, mode, ..schedule("0,30 1 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    assert_eq!(rig.jobs().len(), 1);
    rig.claim().await;
    rig.set("2026-01-01T01:30:00Z").await;
    let jobs = rig.jobs();
    assert_eq!((jobs.len(), jobs[0].cancel), (2, false));
}

/// What a webhook asks for.
fn hint(now: i64) -> queue::Request {
    queue::Request {
        connection: connection(1, 0),
        requests: vec![EntityRequest {
            entity: "thing".to_owned(),
            mode: Mode::Ids,
            ids: vec!["a".to_owned()],
            filters: None,
        }],
        trigger: Trigger::Webhook,
        dry_run: false,
        strategy: "s".to_owned(),
        requested_by: "webhook".to_owned(),
        max_retries: 3,
        now,
    }
}

//! The rules of the queue on a store, with time set by hand.

mod model;

use super::*;
use crate::model::ids::{ConnectionId, ConnectorId, OrgNo};
use crate::model::run::{Mode, RunError};
use crate::store::{Store, directory};

pub(super) const CAPS: Caps =
    Caps { running_max: 5, running_per_connector_max: 2, aging_millis: 300_000 };
pub(super) const LEASE: i64 = 60_000;

pub(super) struct Rig {
    _directory: tempfile::TempDir,
    pub(super) store: Store,
}

impl Rig {
    /// Organizations and connectors from 1 on, each with each connected.
    pub(super) fn new(organizations: u32, connectors: u32) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(directory.path(), &store::Options::default()).unwrap();
        let rig = Rig { _directory: directory, store };
        rig.write(move |txn| {
            for number in 1..=connectors {
                directory::put_connector(txn, &connector(number, true))?;
                for org in 1..=organizations {
                    directory::put_connection(txn, &connection(org, number))?;
                }
            }
            Ok(())
        });
        rig
    }

    pub(super) fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&Txn) -> Result<T, store::Error> + Send + 'static,
    ) -> T {
        self.store.write_blocking(write).unwrap()
    }

    fn job(&self, id: JobId) -> Option<Job> {
        jobs::get(&self.store.read().unwrap(), id).unwrap()
    }

    fn run(&self, id: RunId) -> Run {
        runs::get(&self.store.read().unwrap(), id).unwrap().unwrap()
    }

    fn ask(&self, request: Request) -> Enqueued {
        self.write(move |txn| enqueue(txn, request.clone()))
    }

    fn claim(&self, now: i64) -> Option<Job> {
        self.write(move |txn| claim(txn, CAPS, "me", now, LEASE))
    }

    /// Ends a claimed job as it ended.
    fn end(&self, job: &Job, status: RunStatus, now: i64) {
        let job = job.clone();
        self.write(move |txn| {
            let held = holder(txn, &job)?.unwrap();
            let run = runs::get(txn, job.run)?.unwrap();
            finish(txn, &held, &Run { status, completed_at: Some(now), ..run })
        });
    }

    fn postpone(&self, job: &Job, due_at: i64) -> Run {
        self.postpone_as(job, Postponed { due_at, counts: true, told: false })
    }

    fn postpone_as(&self, job: &Job, postponed: Postponed) -> Run {
        let job = job.clone();
        self.write(move |txn| {
            let held = holder(txn, &job)?.unwrap();
            let mut run = runs::get(txn, job.run)?.unwrap();
            run.errors = vec![error("remote.unavailable")];
            postpone(txn, &held, run, postponed)
        })
    }

    fn check(&self) -> Vec<Job> {
        jobs::checked(&self.store.read().unwrap())
    }
}

fn error(code: &str) -> RunError {
    let (code, message) = (code.to_owned(), "away".to_owned());
    RunError { code, message, page: None, record_id: None, at: clock_text() }
}

fn clock_text() -> String {
    crate::clock::to_text(0)
}

pub(super) fn connector(number: u32, well: bool) -> crate::model::directory::Connector {
    let status = if well { "active" } else { "error" };
    serde_json::from_value(serde_json::json!({
        "id": ConnectorId(number), "name": "one", "federationCode": "f", "plugin": "p",
        "authType": "none", "endpoints": {}, "config": {}, "syncConfig": {"enabled": true},
        "templateId": null, "status": status, "createdAt": 0, "updatedAt": 0, "version": 1,
    }))
    .unwrap()
}

pub(super) fn connection(org: u32, number: u32) -> Connection {
    serde_json::from_value(serde_json::json!({
        "id": ConnectionId(org * 100 + number), "organization": format!("org-{org}"),
        "orgNo": OrgNo(org), "connectorId": ConnectorId(number),
        "federationOrgId": format!("remote-{org}"), "strategy": null, "webhooksEnabled": true,
        "entities": {}, "enabledAt": 0, "disconnectedAt": null, "version": 1,
    }))
    .unwrap()
}

pub(super) fn full(entity: &str) -> EntityRequest {
    EntityRequest { entity: entity.to_owned(), mode: Mode::Full, ids: vec![], filters: None }
}

pub(super) fn ids(entity: &str, ids: &[&str]) -> EntityRequest {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    EntityRequest { entity: entity.to_owned(), mode: Mode::Ids, ids, filters: None }
}

pub(super) fn request(org: u32, number: u32, trigger: Trigger, now: i64) -> Request {
    Request {
        connection: connection(org, number),
        requests: vec![full("member")],
        trigger,
        dry_run: false,
        strategy: "s".to_owned(),
        requested_by: "test".to_owned(),
        max_retries: crate::retry::RETRIES_DEFAULT,
        now,
    }
}

fn webhook(org: u32, number: u32, id: &str, now: i64) -> Request {
    let requests = vec![ids("member", &[id])];
    Request { requests, ..request(org, number, Trigger::Webhook, now) }
}

/// Claims all that may run at `now`, one after the other.
#[track_caller]
fn claims(rig: &Rig, now: i64, expect: &[Enqueued]) {
    let mut claimed = Vec::new();
    while let Some(job) = rig.claim(now) {
        claimed.push(job.id);
    }
    assert_eq!(claimed, expect.iter().map(|one| one.job).collect::<Vec<_>>());
    rig.check();
}

#[test]
fn the_best_priority_comes_first_then_the_oldest() {
    use Trigger::{Manual, Retry, Scheduled, Webhook};
    let rig = Rig::new(5, 5);
    let asked: Vec<Enqueued> = [Retry, Scheduled, Manual, Webhook, Manual]
        .into_iter()
        .zip(1..)
        .map(|(trigger, number)| rig.ask(request(number, number, trigger, i64::from(number))))
        .collect();
    let order = [2, 4, 3, 1, 0].map(|at: usize| asked[at].clone());
    claims(&rig, 100, &order);
}

#[test]
fn a_job_that_waited_long_counts_better_and_a_retry_waits_for_its_time() {
    let rig = Rig::new(3, 3);
    let later = 2 * CAPS.aging_millis;
    let retry = rig.ask(request(3, 3, Trigger::Manual, 0));
    let job = rig.claim(0).unwrap();
    rig.postpone(&job, later + 1);
    let scheduled = rig.ask(request(1, 1, Trigger::Scheduled, 0));
    let manual = rig.ask(request(2, 2, Trigger::Manual, later));
    claims(&rig, later, &[scheduled, manual]);
    assert_eq!(jobs::next_due(&rig.store.read().unwrap(), later).unwrap(), Some(later + 1));
    claims(&rig, later + 1, &[retry]);
    assert_eq!(jobs::next_due(&rig.store.read().unwrap(), later).unwrap(), None);
}

#[test]
fn a_clock_that_is_set_back_holds_nobody_up() {
    let rig = Rig::new(4, 2);
    let hour = 60 * 60_000;
    let scheduled = rig.ask(request(1, 1, Trigger::Scheduled, 2 * hour));
    let manual = rig.ask(request(2, 2, Trigger::Manual, 2 * hour + 1));
    let backfill = rig.ask(request(3, 2, Trigger::Retry, hour));
    let webhook = rig.ask(request(4, 1, Trigger::Webhook, hour));
    claims(&rig, hour, &[manual, webhook, scheduled, backfill]);
}

/// However many urgent requests come, each scheduled one has its turn.
#[test]
fn a_stream_of_urgent_requests_starves_nobody() {
    let rig = Rig::new(8, 1);
    let one = Caps { running_max: 1, ..CAPS };
    let scheduled = rig.ask(request(8, 1, Trigger::Retry, 0));
    let minute = 60_000;
    for at in 0..60 {
        let now = at * minute;
        for org in 1..=7 {
            rig.ask(request(org, 1, Trigger::Manual, now));
        }
        let job = rig.write(move |txn| claim(txn, one, "me", now, LEASE)).unwrap();
        if job.id == scheduled.job {
            assert!(now <= 3 * CAPS.aging_millis + 7 * minute, "its turn came after {at} minutes");
            return;
        }
        rig.end(&job, RunStatus::Completed, now);
    }
    panic!("it never had its turn");
}

#[test]
fn an_organization_without_running_jobs_goes_first() {
    let rig = Rig::new(2, 3);
    let other = |request: Request| Request { requests: vec![full("order")], ..request };
    let first = rig.ask(request(1, 1, Trigger::Manual, 1));
    let second = rig.ask(other(request(1, 2, Trigger::Manual, 2)));
    let third = rig.ask(request(2, 3, Trigger::Manual, 3));
    claims(&rig, 10, &[first, third, second]);
}

#[test]
fn caps_and_collisions_hold_a_job_back() {
    let rig = Rig::new(7, 5);
    // Another connector on the same entity of the same organization.
    let first = rig.ask(request(1, 1, Trigger::Manual, 0));
    let collides = rig.ask(request(1, 2, Trigger::Manual, 1));
    claims(&rig, 10, std::slice::from_ref(&first));
    // A dry run of the same connection.
    let dry = rig.ask(Request { dry_run: true, ..request(1, 1, Trigger::Manual, 2) });
    claims(&rig, 10, &[]);
    // Two of one connector, the third waits.
    let second = rig.ask(request(2, 1, Trigger::Manual, 3));
    let third = rig.ask(request(3, 1, Trigger::Manual, 4));
    claims(&rig, 10, std::slice::from_ref(&second));
    // Five in all.
    let more: Vec<Enqueued> =
        (4..=7).map(|org| rig.ask(request(org, org - 2, Trigger::Manual, 5))).collect();
    claims(&rig, 10, &more[..3]);
    for job in rig.check().into_iter().filter(|job| job.state == JobState::Running) {
        rig.end(&job, RunStatus::Completed, 20);
    }
    claims(&rig, 20, &[collides, third, more[3].clone()]);
    assert!(rig.job(dry.job).is_some());
}

#[test]
fn jobs_of_a_sick_connector_wait_until_it_is_well() {
    let rig = Rig::new(2, 2);
    rig.write(|txn| directory::put_connector(txn, &connector(1, false)));
    let sick = rig.ask(request(1, 1, Trigger::Manual, 0));
    let well = rig.ask(request(2, 2, Trigger::Scheduled, 0));
    claims(&rig, 10, &[well]);
    assert_eq!(pick(&rig.store.read().unwrap(), CAPS, 10).unwrap(), None, "no commit for nothing");
    rig.write(|txn| directory::put_connector(txn, &connector(1, true)));
    claims(&rig, 10, &[sick]);
}

#[test]
fn requests_join_what_waits_and_never_what_runs() {
    let rig = Rig::new(1, 1);
    let first = rig.ask(webhook(1, 1, "a", 0));
    let joined = rig.ask(webhook(1, 1, "b", 1));
    assert_eq!((joined.run, joined.joined), (first.run, true));
    assert_eq!(rig.run(first.run).requests, vec![ids("member", &["a", "b"])]);
    let job = rig.claim(5).unwrap();
    let next = rig.ask(webhook(1, 1, "a", 6));
    assert_ne!(next.run, first.run, "what came during a run waits for the next");
    let scheduled = rig.ask(request(1, 1, Trigger::Scheduled, 7));
    assert_eq!(scheduled.run, next.run);
    assert_eq!(rig.job(next.job).unwrap().priority, Priority::Webhook, "the more urgent decides");
    rig.end(&job, RunStatus::Completed, 8);
    claims(&rig, 9, &[next]);
}

#[test]
fn a_person_makes_a_retry_due_and_machines_leave_its_time() {
    let rig = Rig::new(1, 1);
    let first = rig.ask(request(1, 1, Trigger::Scheduled, 0));
    let job = rig.claim(0).unwrap();
    let run = rig.postpone(&job, 120_000);
    assert_eq!((run.status, run.next_retry_at), (RunStatus::Waiting, Some(120_000)));
    assert_eq!((run.attempt, run.retry_count, run.max_retries), (1, 1, 3));
    claims(&rig, 119_999, &[]);
    let hint = rig.ask(webhook(1, 1, "a", 1_000));
    assert_eq!(hint.run, first.run, "a full sync covers it");
    assert_eq!(rig.run(first.run).status, RunStatus::Waiting);
    let asked = rig.ask(request(1, 1, Trigger::Manual, 2_000));
    assert_eq!((asked.run, asked.joined), (first.run, true));
    assert_eq!(rig.run(first.run).status, RunStatus::Queued);
    assert_eq!(rig.run(first.run).next_retry_at, None);
    let again = rig.claim(2_000).unwrap();
    assert_eq!((again.id, again.attempt, again.by_person), (job.id, 1, true));
    assert_eq!(rig.run(first.run).attempt, 2);
}

#[test]
fn what_a_request_adds_has_its_retries_before_it() {
    let rig = Rig::new(1, 1);
    let first = rig.ask(webhook(1, 1, "a", 0));
    let job = rig.claim(0).unwrap();
    rig.postpone(&job, 120_000);
    rig.ask(webhook(1, 1, "a", 1));
    assert_eq!(rig.job(first.job).unwrap().retry_count, 1, "nothing new");
    rig.ask(webhook(1, 1, "b", 1));
    assert_eq!(rig.job(first.job).unwrap().retry_count, 0);
    assert_eq!(rig.run(first.run).retry_count, 0);
}

#[test]
fn a_success_withdraws_the_retry_of_the_same_and_no_other() {
    for (withdrawn, wanted) in [(true, full("member")), (false, full("team"))] {
        let rig = Rig::new(1, 1);
        let failed =
            rig.ask(Request { requests: vec![wanted], ..request(1, 1, Trigger::Scheduled, 0) });
        let job = rig.claim(0).unwrap();
        // It came while the run was under way, and so is a run of its own.
        let other = rig.ask(request(1, 1, Trigger::Webhook, 1));
        rig.postpone(&job, 120_000);
        let second = rig.claim(2).unwrap();
        assert_eq!(second.id, other.job);
        rig.end(&second, RunStatus::Completed, 3);
        let run = rig.run(failed.run);
        let expect = if withdrawn { RunStatus::Cancelled } else { RunStatus::Waiting };
        assert_eq!(run.status, expect);
        assert_eq!(run.superseded_by, withdrawn.then_some(other.run));
        assert_eq!(rig.check().len(), usize::from(!withdrawn));
    }
}

/// The run may have read the page that the later asker means before it was changed.
#[test]
fn a_success_does_not_withdraw_what_was_asked_for_while_it_was_under_way() {
    let rig = Rig::new(1, 1);
    let failed = rig.ask(request(1, 1, Trigger::Scheduled, 0));
    let job = rig.claim(0).unwrap();
    rig.ask(request(1, 1, Trigger::Webhook, 1));
    rig.postpone(&job, 120_000);
    let second = rig.claim(2).unwrap();
    let late = rig.ask(webhook(1, 1, "a", 3));
    assert_eq!((late.run, late.joined), (failed.run, true));
    rig.end(&second, RunStatus::Completed, 4);
    assert_eq!(rig.run(failed.run).status, RunStatus::Waiting);
    // The next success covers it.
    rig.ask(webhook(1, 1, "a", 5));
    let third = rig.claim(120_000).unwrap();
    assert_eq!(third.id, job.id);
    rig.end(&third, RunStatus::Completed, 120_001);
    assert_eq!(rig.check().len(), 0);
}

#[test]
fn a_second_run_that_must_wait_hands_over_to_the_first() {
    let rig = Rig::new(1, 1);
    let first = rig.ask(request(1, 1, Trigger::Scheduled, 0));
    let job = rig.claim(0).unwrap();
    let second = rig
        .ask(Request { requests: vec![ids("team", &["t"])], ..request(1, 1, Trigger::Webhook, 1) });
    rig.postpone(&job, 120_000);
    let job = rig.claim(2).unwrap();
    assert_eq!(job.id, second.job);
    let run = rig.postpone(&job, 60_000);
    assert_eq!((run.status, run.superseded_by), (RunStatus::Failed, Some(first.run)));
    let waiting = rig.run(first.run);
    assert_eq!(waiting.next_retry_at, Some(120_000));
    assert_eq!(waiting.requests, vec![full("member"), ids("team", &["t"])]);
    assert_eq!(rig.check().len(), 1);
}

/// What it takes over has its retries before it, and nobody comes earlier than the remote system said.
#[test]
fn who_takes_over_has_its_retries_and_keeps_to_the_time_that_was_told() {
    for (wanted, retry_count) in [(ids("team", &["t"]), 0), (full("member"), 1)] {
        let rig = Rig::new(1, 1);
        let first = rig.ask(request(1, 1, Trigger::Scheduled, 0));
        let job = rig.claim(0).unwrap();
        rig.ask(Request { requests: vec![wanted], ..request(1, 1, Trigger::Webhook, 1) });
        rig.postpone(&job, 120_000);
        let job = rig.claim(2).unwrap();
        let hour = 3_600_000;
        rig.postpone_as(&job, Postponed { due_at: hour, counts: false, told: true });
        let (waiting, row) = (rig.run(first.run), rig.job(first.job).unwrap());
        assert_eq!((waiting.next_retry_at, row.due_at), (Some(hour), hour));
        assert_eq!((waiting.retry_count, row.retry_count), (retry_count, retry_count));
        assert!(rig.claim(hour - 1).is_none());
        assert_eq!(rig.claim(hour).unwrap().run, first.run);
    }
}

#[test]
fn a_job_that_failed_for_good_is_kept_and_pruned_by_its_age() {
    let rig = Rig::new(2, 1);
    for (org, at) in [(1, 1_000), (2, 2_000)] {
        rig.ask(request(org, 1, Trigger::Manual, 0));
        let job = rig.claim(0).unwrap();
        rig.end(&job, RunStatus::Failed, at);
        assert_eq!(rig.job(job.id).unwrap().state, JobState::Dead);
        claims(&rig, 5_000, &[]);
    }
    assert_eq!(rig.write(|txn| prune(txn, 1_001, 10)), 1);
    let left = rig.check();
    assert_eq!(left.iter().map(|job| job.org_no).collect::<Vec<_>>(), [OrgNo(2)]);
    assert_eq!(rig.write(|txn| prune(txn, 5_000, 0)), 0, "bounded");
    assert_eq!(rig.write(|txn| prune(txn, 5_000, 10)), 1);
    assert!(rig.check().is_empty());
}

#[test]
fn cancelling_sticks_and_keeps_what_webhooks_brought() {
    let rig = Rig::new(1, 1);
    // A mixed job, waiting to run; then waiting for a retry; then running.
    for stage in 0..3 {
        rig.ask(webhook(1, 1, "w", 0));
        let mixed = rig.ask(request(1, 1, Trigger::Scheduled, 1));
        if stage > 0 {
            let job = rig.claim(2).unwrap();
            if stage == 1 {
                rig.postpone(&job, 50);
            }
        }
        let expect = if stage == 2 { Cancelled::Asked } else { Cancelled::Now };
        assert_eq!(rig.write(move |txn| cancel(txn, mixed.run, 3)), expect);
        if stage == 2 {
            let job = rig.job(mixed.job).unwrap();
            assert!(job.cancel, "the wish is durable");
            rig.end(&job, RunStatus::Cancelled, 4);
        }
        assert_eq!(rig.run(mixed.run).status, RunStatus::Cancelled);
        assert_eq!(rig.write(move |txn| cancel(txn, mixed.run, 5)), Cancelled::TooLate);
        let left = rig.claim(60).unwrap();
        assert_ne!(left.run, mixed.run);
        assert_eq!(
            left.kind,
            JobKind::Sync { requests: vec![ids("member", &["w"])], dry_run: false }
        );
        // Its own cancellation brings nothing back.
        rig.end(&left, RunStatus::Cancelled, 61);
        assert!(rig.check().is_empty());
    }
}

#[test]
fn a_job_is_given_back_untouched_and_resumed_first() {
    let rig = Rig::new(1, 1);
    let first = rig.ask(request(1, 1, Trigger::Scheduled, 0));
    let job = rig.claim(5).unwrap();
    let second = rig.ask(request(1, 1, Trigger::Scheduled, 6));
    rig.write({
        let (id, fence) = (job.id, job.fence);
        move |txn| release(txn, id, fence)
    });
    assert_eq!(rig.run(first.run).status, RunStatus::Queued);
    assert!(!rig.write(move |txn| Ok(holder(txn, &job)?.is_some())));
    // What others ask for does not change a run that began.
    let third = rig.ask(request(1, 1, Trigger::Manual, 7));
    assert_eq!(third.run, second.run);
    rig.check();
    let again =
        rig.write(|txn| claim(txn, Caps { aging_millis: i64::MAX, ..CAPS }, "me", 8, LEASE));
    let again = again.unwrap();
    assert_eq!((again.attempt, rig.run(again.run).attempt), (0, 1), "no attempt was used");
}

#[test]
fn leases_that_nobody_renews_end() {
    let rig = Rig::new(2, 2);
    rig.ask(request(1, 1, Trigger::Manual, 0));
    rig.ask(request(2, 2, Trigger::Manual, 0));
    let (alive, hung) = (rig.claim(0).unwrap(), rig.claim(0).unwrap());
    let round = |now: i64, claims: Vec<(JobId, u64)>| {
        rig.write(move |txn| hold_on(txn, &claims, now, now + LEASE))
    };
    let mine = (alive.id, alive.fence);
    assert_eq!(round(LEASE - 1, vec![mine]), Held::default());
    assert_eq!(round(LEASE, vec![mine]), Held { lost: vec![], freed: 1 });
    assert_eq!(rig.job(hung.id).unwrap().state, JobState::Pending);
    let again = rig.claim(LEASE).unwrap();
    assert_eq!(again.id, hung.id);
    let both = vec![mine, (hung.id, hung.fence)];
    assert_eq!(round(LEASE, both), Held { lost: vec![hung.id], freed: 0 });
    assert!(!rig.write(move |txn| Ok(holder(txn, &hung)?.is_some())), "it is fenced");
    // A new process takes up what the old one held, without a look at what waits.
    assert_eq!(rig.write(|txn| reclaim(txn, "me")), 0);
    assert_eq!(rig.write(|txn| reclaim(txn, "the next one")), 2);
    rig.check();
}

#[test]
fn a_full_queue_takes_only_what_joins() {
    let rig = Rig::new(1, 3);
    let read = |request: &Request, max| has_room(&rig.store.read().unwrap(), request, max).unwrap();
    rig.ask(request(1, 1, Trigger::Manual, 0));
    rig.ask(Request { dry_run: true, ..request(1, 1, Trigger::Manual, 0) });
    let new = request(1, 2, Trigger::Manual, 0);
    assert!(read(&new, 3) && !read(&new, 2));
    assert!(read(&request(1, 1, Trigger::Manual, 0), 2), "it joins");
}

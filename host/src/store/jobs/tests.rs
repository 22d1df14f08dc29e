use super::*;
use crate::model::job::JobKind;
use crate::model::{RunId, Trigger};
use crate::store::tables::META;
use crate::store::{Options, Store};

/// A sync of a connection of its own.
fn job(number: u32, state: JobState, due_at: i64) -> Job {
    Job {
        id: JobId(number.into()),
        organization: "org".to_owned(),
        org_no: OrgNo(1),
        connector: ConnectorId(1),
        connection: ConnectionId(number),
        run: RunId(number.into()),
        kind: JobKind::Sync { requests: Vec::new(), dry_run: false },
        entities: vec!["member".to_owned()],
        trigger: Trigger::Manual,
        priority: Priority::Manual,
        state,
        created_at: 0,
        due_at,
        attempt: 0,
        retry_count: 0,
        uncounted: 0,
        begun: false,
        by_person: false,
        webhooks_only: false,
        from_webhooks: Vec::new(),
        behind: None,
        cancel: false,
        fence: 1,
        lease: None,
        error: None,
        ended_at: (state == JobState::Dead).then_some(due_at),
    }
}

/// An earlier program kept all that wait in one lane for each priority, under the priority's own number.
fn put_in_old_lane(txn: &Txn, job: &Job) -> Result<(), Error> {
    let lane = Key::new().u32(job.connector.0).u32(job.priority as u32);
    let key = lane.u64(time(job.due_at)).u64(job.id.0);
    txn.put(JOBS_READY, key.bytes(), &brief(job)?)
}

#[test]
fn jobs_of_an_earlier_program_move_to_lanes_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = [
        job(1, JobState::Pending, 50),
        job(2, JobState::Waiting, 70),
        job(3, JobState::Running, 20),
        job(4, JobState::Dead, 10),
        Job { priority: Priority::Backfill, ..job(5, JobState::Waiting, 60) },
    ];
    let store = Store::create(dir.path(), &Options::default()).unwrap();
    let old = jobs.clone();
    store
        .write_blocking(move |txn: &Txn| -> Result<(), Error> {
            old.iter().try_for_each(|job| insert(txn, job))?;
            txn.delete_prefix(JOBS_READY, &Key::new())?;
            for job in old.iter().filter(|job| is_ready(job)) {
                put_in_old_lane(txn, job)?;
            }
            txn.delete(META, Key::new().text("retry-lanes").bytes())
        })
        .unwrap();
    drop(store);

    let store = Store::open(dir.path(), &Options::default()).unwrap();
    let read = store.read().unwrap();
    assert_eq!(checked(&read), jobs);
    let mut ready = Vec::new();
    let visit = &mut |one: Ready| {
        ready.push((one.job, one.waits, one.due_at));
        Step::Next
    };
    walk_ready(&read, visit).unwrap();
    assert_eq!(ready, [(JobId(1), false, 50), (JobId(2), true, 70), (JobId(5), true, 60)]);
    assert_eq!(next_due(&read, 0).unwrap(), Some(60));
}

fn is_ready(job: &Job) -> bool {
    matches!(job.state, JobState::Pending | JobState::Waiting)
}

use super::claim::choose;
use super::*;
use crate::model::ids::{ConnectionId, ConnectorId, OrgNo};
use crate::model::job::merge_requests;
use crate::model::run::Mode;

const CAPS: Caps = Caps { running_max: 5, running_per_connector_max: 2 };

fn job(id: u64, org: u32, connector: u32, state: JobState, trigger: Trigger) -> Job {
    Job {
        id: JobId(id),
        organization: org.to_string(),
        org_no: OrgNo(org),
        connector: ConnectorId(connector),
        connection: ConnectionId(org * 100 + connector),
        run: RunId(id),
        kind: JobKind::Sync { requests: Vec::new(), dry_run: false },
        entities: vec!["member".to_owned()],
        trigger,
        state,
        created_at: 0,
        due_at: i64::try_from(id).unwrap(),
        attempt: 0,
        cancel: false,
        fence: 0,
        lease: None,
    }
}

/// The id of the job that is chosen at time 1000; 0 for none.
fn check(jobs: &[Job], expect: u64) {
    let chosen = choose(jobs, CAPS, 1000).map_or(0, |index| jobs[index].id.0);
    assert_eq!(chosen, expect, "{jobs:#?}");
}

#[test]
fn the_best_priority_comes_first_then_the_oldest() {
    use JobState::Pending;
    use Trigger::{Manual, Scheduled, Webhook};
    check(&[], 0);
    check(&[job(1, 1, 1, Pending, Scheduled), job(2, 2, 1, Pending, Webhook)], 2);
    check(&[job(1, 1, 1, Pending, Webhook), job(2, 2, 1, Pending, Manual)], 2);
    check(&[job(2, 1, 1, Pending, Manual), job(1, 2, 1, Pending, Manual)], 1);
}

#[test]
fn a_job_that_is_not_due_waits() {
    let mut late = job(1, 1, 1, JobState::Pending, Trigger::Manual);
    late.due_at = 1001;
    check(&[late], 0);
}

#[test]
fn an_organization_without_running_jobs_goes_first() {
    use JobState::{Pending, Running};
    let mut waiting = job(2, 1, 2, Pending, Trigger::Manual);
    waiting.entities = vec!["order".to_owned()];
    let jobs =
        [job(1, 1, 1, Running, Trigger::Manual), waiting, job(3, 2, 3, Pending, Trigger::Manual)];
    check(&jobs, 3);
}

#[test]
fn caps_and_collisions_hold_a_job_back() {
    use JobState::{Pending, Running};
    let running = |id, org, connector| job(id, org, connector, Running, Trigger::Manual);
    let waiting = |id, org, connector| job(id, org, connector, Pending, Trigger::Manual);
    // The same connection, and another connector on the same entity of the same organization.
    check(&[running(1, 1, 1), waiting(2, 1, 1)], 0);
    check(&[running(1, 1, 1), waiting(2, 1, 2)], 0);
    // Two of one connector run; the third waits.
    check(&[running(1, 1, 1), running(2, 2, 1), waiting(3, 3, 1)], 0);
    check(&[running(1, 1, 1), running(2, 2, 1), waiting(3, 3, 1), waiting(4, 4, 2)], 4);
    // Five run.
    let mut five: Vec<Job> = (1..=5).map(|n| running(n.into(), n, n)).collect();
    five.push(waiting(6, 6, 6));
    check(&five, 0);
}

#[test]
fn requests_merge() {
    let request = |entity: &str, mode, ids: &[&str]| EntityRequest {
        entity: entity.to_owned(),
        mode,
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        filters: None,
    };
    let merged = |parts: Vec<EntityRequest>| {
        let mut into = Vec::new();
        parts.into_iter().for_each(|part| merge_requests(&mut into, vec![part]));
        into
    };
    use Mode::{Full, Ids, Incremental};
    assert_eq!(
        merged(vec![request("member", Ids, &["b", "a"]), request("member", Ids, &["a", "c"])]),
        vec![request("member", Ids, &["a", "b", "c"])]
    );
    assert_eq!(
        merged(vec![request("member", Ids, &["a"]), request("member", Full, &[])]),
        vec![request("member", Full, &[])]
    );
    assert_eq!(
        merged(vec![request("member", Full, &[]), request("member", Incremental, &[])]),
        vec![request("member", Full, &[])]
    );
    assert_eq!(
        merged(vec![request("member", Full, &[]), request("team", Ids, &["t"])]),
        vec![request("member", Full, &[]), request("team", Ids, &["t"])]
    );
}

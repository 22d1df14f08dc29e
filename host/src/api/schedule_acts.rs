//! What a person does with a schedule: let it rest, go on, and run it now.

use super::answer::Answer;
use super::audit::Act;
use super::problem::Problem;
use super::schedule_body as body;
use super::schedules::{changed, find, managed};
use super::schema;
use super::{Api, Caller};
use crate::model::schedule::Schedule;
use crate::store::Txn;
use crate::trigger;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::{Value, json};

/// Lets a schedule rest, for a while or until somebody resumes it. What would have fired meanwhile is not made up for.
#[utoipa::path(
    post, path = "/sync/schedules/{id}/pause", tag = "schedules",
    request_body = schema::SchedulePauseRequest,
    responses((status = 200, body = schema::Schedule))
)]
pub(super) async fn pause(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let (known, reach) = (id.clone(), caller.reach());
    api.read(move |read, _| managed(reach, &find(read, &known)?)).await?;
    let pause = body::pause(&bytes, &caller.name, api.now())?;
    let change = move |_: &Txn, schedule: &mut Schedule, _: i64| {
        schedule.paused = Some(pause.clone());
        Ok(())
    };
    changed(api, id, (caller, "pauseSchedule"), None, change).await
}

/// Ends a pause: the next fire is the next one from now on.
#[utoipa::path(
    post, path = "/sync/schedules/{id}/resume", tag = "schedules",
    responses((status = 200, body = schema::Schedule))
)]
pub(super) async fn resume(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Answer, Problem> {
    let change = |_: &Txn, schedule: &mut Schedule, now: i64| {
        let rested = schedule.pause_at(now).is_some();
        schedule.armed_at = if rested { now } else { schedule.armed_at(now) };
        schedule.paused = None;
        Ok(())
    };
    changed(api, id, (caller, "resumeSchedule"), None, change).await
}

/// Runs a schedule now, for all its connections, whether it is paused or not.
#[utoipa::path(
    post, path = "/sync/schedules/{id}/trigger", tag = "schedules",
    responses(
        (status = 202, body = schema::ScheduleTriggered),
        (status = 409, description = "Nothing could be asked for: `schedule.no-connection`, `connector.not-active`, \
            `connector.error`, `plugin.missing`, `entity.unknown`, `entity.mode`"),
    )
)]
pub(super) async fn trigger(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Answer, Problem> {
    let (scheduler, now) = (api.scheduler.clone(), api.now());
    let answer = api
        .commit(move |txn| {
            let schedule = find(txn, &id)?;
            managed(caller.reach(), &schedule)?;
            let by = (&*caller.name, now);
            let options = scheduler.options();
            let done = trigger::trigger(txn, &schedule, scheduler.requests(), options, by)?;
            let first = done.iter().find_map(|one| one.outcome.as_ref().ok());
            let Some(first) = first else {
                let refused = done.into_iter().find_map(|one| one.outcome.err());
                let (code, detail) = refused.unwrap_or_else(|| {
                    let detail = "the schedule has no connection that could be synced";
                    ("schedule.no-connection".to_owned(), detail.to_owned())
                });
                return Err(Problem::conflict(&code, detail));
            };
            let runs: Vec<Value> = done
                .iter()
                .map(|one| {
                    let enqueued = one.outcome.as_ref().ok();
                    let refused = one.outcome.as_ref().err();
                    json!({
                        "organizationId": one.connection.organization,
                        "connectionId": one.connection.id,
                        "syncId": enqueued.map(|enqueued| enqueued.run),
                        "jobId": enqueued.map(|enqueued| enqueued.job),
                        "joined": enqueued.is_some_and(|enqueued| enqueued.joined),
                        "code": refused.map(|(code, _)| code),
                        "message": refused.map(|(_, message)| message),
                    })
                })
                .collect();
            let view = json!({
                "scheduleId": schedule.id, "syncId": first.run, "jobId": first.job, "runs": runs,
            });
            let act =
                Act::new("triggerSchedule", schedule.id).of_key(schedule.organization.clone());
            caller.log(txn, act.with(json!({ "runs": runs.len() })))?;
            Ok(Answer::accepted(view).at(format!("/api/v1/sync/status/{}", first.run)))
        })
        .await?;
    api.deps.bell.notify_one();
    Ok(answer)
}

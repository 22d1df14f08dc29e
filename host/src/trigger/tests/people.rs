//! What people do to schedules: run them by hand, pause them, switch their connectors.

use super::*;
use crate::model::access::OrgKey;
use crate::model::directory::{AuthType, ConnectorStatus};
use crate::model::schedule::Pause;
use crate::queue::{self, Caps};

#[tokio::test]
async fn a_person_runs_it_at_any_time_and_the_nights_stay() {
    let mut rig = Rig::new(&["UTC"]).await;
    let pause = Pause { until: None, reason: "holidays".to_owned(), by: "x".to_owned(), at: 0 };
    rig.add(Schedule { paused: Some(pause), ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    let run = by_hand(&rig).await;
    assert_eq!(rig.jobs()[0].trigger, Trigger::Manual);
    assert_eq!(by_hand(&rig).await, run, "joined");
    rig.finish().await;
    rig.change(|schedule| schedule.paused = None).await;
    rig.set("2026-01-01T02:00:00Z").await;
    let outcomes: Vec<Outcome> = rig.fires().iter().map(|fire| fire.outcome).collect();
    assert_eq!(outcomes, [ByHand, ByHand, Fired]);
}

#[tokio::test]
async fn what_keeps_a_connection_from_being_synced_is_told() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.connector(|row| row.status = ConnectorStatus::Inactive).await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.connector(|row| {
        row.status = ConnectorStatus::Active;
        row.auth_type = AuthType::OAuth2;
    })
    .await;
    rig.set("2026-01-02T02:00:00Z").await;
    rig.connector(|row| row.auth_type = AuthType::None).await;
    rig.change(|schedule| schedule.entity = "nothing".to_owned()).await;
    rig.set("2026-01-03T02:00:00Z").await;
    let codes: Vec<_> =
        rig.fires().into_iter().map(|fire| (fire.code.unwrap(), fire.count)).collect();
    let expected =
        [("connector.not-active", 1), ("oauth.not-authorized", 1), ("entity.unknown", 1)];
    assert_eq!(codes, expected.map(|(code, count)| (code.to_owned(), count)));
    assert!(rig.jobs().is_empty());
    // A connection that ended is none.
    rig.write(|txn| {
        let mut row = directory::connection(txn, OrgNo(1), ConnectionId(1))?.unwrap();
        row.disconnected_at = Some(1);
        directory::put_connection(txn, &row)
    })
    .await;
    rig.set("2026-01-04T02:00:00Z").await;
    assert_eq!(rig.fires().len(), 3);
}

/// The queue holds its jobs back: an outage of minutes at two costs nobody the night.
#[tokio::test]
async fn the_nights_of_a_disabled_connector_wait_as_one_run() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.connector(|row| row.status = ConnectorStatus::Error).await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-02T02:00:00Z").await;
    let caps = Caps { running_max: 1, running_per_connector_max: 1, aging_millis: 60_000 };
    assert_eq!(queue::pick(&rig.read(), caps, rig.now()).unwrap(), None);
    rig.connector(|row| row.status = ConnectorStatus::Active).await;
    let [job] = &rig.jobs()[..] else { panic!("one job") };
    assert_eq!(queue::pick(&rig.read(), caps, rig.now()).unwrap(), Some(job.id));
    assert_eq!(
        rig.told(),
        told(&[(Fired, "2026-01-01T02:00", 1), (Skipped, "2026-01-02T02:00", 1)])
    );
    let codes: Vec<_> = rig.fires().into_iter().map(|fire| fire.code).collect();
    assert_eq!(codes, [None, Some("schedule.overlap".to_owned())]);
}

#[tokio::test]
async fn a_pause_makes_up_for_nothing_and_ends_by_itself() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    let until = to_millis(at("2026-01-03T02:00:00Z"));
    rig.change(move |schedule| {
        let (reason, by) = ("move".to_owned(), "x".to_owned());
        schedule.paused = Some(Pause { until: Some(until), reason, by, at: 0 });
    })
    .await;
    rig.set("2026-01-02T02:00:00Z").await;
    assert_eq!(rig.told(), []);
    let next = upcoming(
        &rig.read(),
        &schedules::get(&rig.read(), FIRST).unwrap().unwrap(),
        None,
        rig.now(),
        1,
    );
    assert_eq!(next.unwrap()[0].nominal, at("2026-01-03T02:00:00Z"));
    // Nobody rings at the end of a pause. The fire on its very end is one.
    let mut looked = rig.scheduler.looked();
    rig.clock.set(at("2026-01-03T02:00:00Z"));
    let end = rig.clock.now();
    looked.wait_for(|looked| looked.unwrap().at == end).await.unwrap();
    assert_eq!(rig.told(), told(&[(Fired, "2026-01-03T02:00", 1)]));
}

#[tokio::test]
async fn a_connector_has_the_schedule_that_its_setting_says() {
    let rig = Rig::new(&["UTC"]).await;
    let options = Options::default();
    let generated = async |rig: &Rig, change: fn(&mut Connector), now: i64| -> Vec<Schedule> {
        let options = options.clone();
        rig.write(move |txn| {
            let mut row = directory::connector(txn, CONNECTOR)?.unwrap();
            change(&mut row);
            directory::put_connector(txn, &row)?;
            keep_in_step(txn, &row, &options, now)?;
            schedules::of_connector(txn, CONNECTOR)
        })
        .await
    };
    assert_eq!(generated(&rig, |_| (), 10).await, []);
    let made = generated(&rig, |row| row.sync_config.enabled = true, 20).await;
    let [one] = &made[..] else { panic!("{made:?}") };
    assert_eq!(
        (one.cron.as_str(), one.timezone.as_deref(), one.generated),
        ("0 2 * * *", None, true)
    );
    assert_eq!((one.armed_at, one.version), (20, 1));
    assert_eq!(generated(&rig, |_| (), 30).await, made, "nothing changed");
    let moved =
        generated(&rig, |row| row.sync_config.schedule = Some("0 4 * * *".to_owned()), 40).await;
    assert_eq!((moved[0].cron.as_str(), moved[0].armed_at, moved[0].version), ("0 4 * * *", 40, 2));
    let renamed = generated(&rig, |row| row.name = "two".to_owned(), 50).await;
    assert_eq!((renamed[0].name.as_str(), renamed[0].armed_at), ("two", 40));
    let inactive = generated(&rig, |row| row.status = ConnectorStatus::Inactive, 60).await;
    assert_eq!(inactive, renamed, "what keeps it from running is told, and it stays");
    assert_eq!(generated(&rig, |row| row.deleted_at = Some(70), 70).await, []);
    let again = generated(&rig, |row| row.deleted_at = None, 80).await;
    assert_eq!(again[0].armed_at, 80);
    assert_eq!(generated(&rig, |row| row.sync_config.enabled = false, 90).await, []);
}

#[tokio::test]
async fn a_schedule_of_one_organization_leaves_the_others_alone() {
    let mut rig = Rig::new(&["UTC", "UTC"]).await;
    let organization = Some(OrgKey { id: "org-2".to_owned(), no: OrgNo(2) });
    rig.add(Schedule { organization, ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T02:00:00Z").await;
    let of: Vec<u32> = rig.fires().iter().map(|fire| fire.connection.0).collect();
    assert_eq!(of, [2]);
}

//! The schedule that a connector's own setting makes: one row for all its connections.

use super::Options;
use crate::ask;
use crate::model::Mode;
use crate::model::directory::Connector;
use crate::model::schedule::{Overlap, Schedule};
use crate::store::{self, Txn, schedules};

/// Every night, unless the connector says otherwise.
pub const PATTERN_DEFAULT: &str = "0 2 * * *";

/// Makes the connector's schedule follow the connector, in the transaction that writes it: it is there while the
/// connector is and syncs by itself, and its pattern and zone are the connector's.
pub fn keep_in_step(
    txn: &Txn,
    connector: &Connector,
    options: &Options,
    now: i64,
) -> Result<(), store::Error> {
    let wanted = connector.deleted_at.is_none() && connector.sync_config.enabled;
    let found = schedules::of_connector(txn, connector.id)?;
    let found = found.into_iter().find(|schedule| schedule.generated);
    let cron = connector.sync_config.schedule.as_deref().unwrap_or(PATTERN_DEFAULT).to_owned();
    let timezone = connector.sync_config.timezone.clone();
    let Some(known) = found else {
        if !wanted {
            return Ok(());
        }
        let schedule = Schedule {
            id: schedules::next_id(txn)?,
            name: connector.name.clone(),
            organization: None,
            connector: connector.id,
            entity: ask::ALL.to_owned(),
            mode: Mode::Full,
            cron,
            timezone,
            overlap: Overlap::Skip,
            catch_up_millis: options.catch_up_millis,
            jitter_millis: options.jitter_millis,
            enabled: true,
            generated: true,
            paused: None,
            armed_at: now,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        return schedules::put(txn, &schedule);
    };
    if !wanted {
        return schedules::delete(txn, &known);
    }
    let moved = known.cron != cron || known.timezone != timezone;
    if !moved && known.name == connector.name {
        return Ok(());
    }
    // Another pattern does not make up for what it would have done before.
    let armed_at = if moved { now } else { known.armed_at };
    let (name, version) = (connector.name.clone(), known.version + 1);
    let known = Schedule { name, cron, timezone, armed_at, updated_at: now, version, ..known };
    schedules::put(txn, &known)
}

//! What must be true of a year, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::agenda::{Outage, Party};
use super::course::Course;
use super::receiver::Message;
use super::tale::time;
use super::world::{CLUBS, Schedule, TOKEN_SECONDS};
use crate::trials::api::text;

/// The spread of a schedule that says nothing, and what is still in time.
const SPREAD: SignedDuration = SignedDuration::from_mins(5);
const CATCH_UP: SignedDuration = SignedDuration::from_hours(24);
/// From the end of an outage until a probe finds the connector well, at the latest, and the retries behind it.
const RECOVERY: SignedDuration = SignedDuration::from_hours(7);
/// What events may be told of in such a year.
const KINDS: [&str; 5] =
    ["runFailed", "scheduleMissed", "connectorDisabled", "connectorRecovered", "recovered"];
/// From here on as much goes as comes.
const STEADY_DAYS: usize = 30;

type Violations = Vec<String>;

pub fn violations(course: &Course) -> anyhow::Result<Violations> {
    let mut found = Violations::new();
    for (schedule, (_, fires)) in course.ids.schedules.iter().zip(&course.tale.fires) {
        for (club, zone) in &schedule.clubs {
            let of_club = |fire: &&Value| fire["organizationId"] == *club;
            let lines: Vec<&Value> = fires.iter().filter(of_club).collect();
            nights(course, (schedule, club, zone), &lines, &mut found)?;
        }
    }
    runs(course, &mut found)?;
    ends(course, &mut found)?;
    deliveries(course, &mut found);
    tokens(course, &mut found);
    let state = course.world.receiver.state();
    found.extend(state.faults.iter().map(|fault| format!("the receiver: {fault}")));
    notices(course, &state.taken, &mut found)?;
    drop(state);
    records(course, &mut found)?;
    sizes(course, &mut found);
    found.extend(course.inconsistencies()?);
    Ok(found)
}

/// Each night is in exactly one line, and each line is as it must be.
fn nights(
    course: &Course,
    (schedule, club, zone): (&Schedule, &str, &str),
    lines: &[&Value],
    found: &mut Violations,
) -> anyhow::Result<()> {
    let expected = schedule.daily.fires(zone, course.begin, course.end)?;
    let mut ahead = expected.iter().peekable();
    for line in lines {
        let what = format!("{} of {club}: {line}", schedule.name);
        let (from, to) = (time(line, "nominalFrom")?, time(line, "nominalAt")?);
        let mut count = 0;
        while let Some(at) = ahead.next_if(|at| **at <= to) {
            if *at < from {
                found.push(format!("{at} is lost, before {what}"));
            } else {
                count += 1;
            }
        }
        if line["count"] != count {
            found.push(format!("{count} nights are counted otherwise, or twice: {what}"));
        }
        found.extend(fault(course, line, to)?.map(|fault| format!("{fault}: {what}")));
    }
    found.extend(ahead.map(|at| format!("{at} is lost: {} of {club}", schedule.name)));
    let mut caught_up = BTreeSet::new();
    for line in lines.iter().filter(|line| line["outcome"] == "caughtUp") {
        if !caught_up.insert(time(line, "at")?) {
            found.push(format!("made up for by more than one run: {line}"));
        }
    }
    Ok(())
}

/// What is wrong with a line that ends with this night.
fn fault(course: &Course, line: &Value, night: Timestamp) -> anyhow::Result<Option<&'static str>> {
    let at = time(line, "at")?;
    let back = course.tale.away.iter().find(|(_, back)| *back == at);
    let due = line["dueAt"].as_str().map(str::parse::<Timestamp>).transpose()?;
    Ok(match line["outcome"].as_str() {
        Some("fired") => {
            let Some(due) = due else { return Ok(Some("not due")) };
            let in_time =
                at == due || back.is_some_and(|(began, back)| due >= *began && due <= *back);
            match line["count"] == 1 && due >= night && due < night + SPREAD && in_time {
                true => None,
                false => Some("not in time"),
            }
        }
        Some("caughtUp") => {
            let Some(due) = due else { return Ok(Some("not due")) };
            let slept = back.is_some_and(|(began, _)| due >= *began);
            // The window counts from the turn in the spread.
            (!slept || due < at - CATCH_UP).then_some("nothing to make up for")
        }
        Some("missed") => (back.is_none() || night >= at - CATCH_UP).then_some("not missed"),
        Some("skipped") => {
            let troubled = in_trouble(course, at, Party::Federation)
                || in_trouble(course, at, Party::Authority);
            match line["code"].as_str().unwrap_or_default() {
                // Two schedules of one club that are made up for at once need one run, and so do two nights of a
                // disabled connector.
                "schedule.overlap" if troubled || back.is_some() => None,
                _ => Some("no reason to leave it out"),
            }
        }
        _ => Some("nobody asked for this"),
    })
}

fn in_trouble(course: &Course, at: Timestamp, party: Party) -> bool {
    let near = |outage: &Outage| {
        outage.party == party && outage.begin <= at && at <= outage.end + RECOVERY
    };
    course.agenda.outages.iter().any(near)
}

/// Each run belongs to somebody who asked for it, and each who asked has one.
fn runs(course: &Course, found: &mut Violations) -> anyhow::Result<()> {
    let runs = &course.tale.runs;
    let (mut asked, mut own) = (BTreeSet::new(), BTreeSet::new());
    for line in course.tale.fires.iter().flat_map(|(_, lines)| lines) {
        let Some(run) = line["syncId"].as_str() else { continue };
        asked.insert(run.to_owned());
        if line["joined"] == false && !own.insert(run.to_owned()) {
            found.push(format!("two fires have one run: {line}"));
        }
        if !runs.contains_key(run) {
            found.push(format!("its run is lost: {line}"));
        }
    }
    for row in course.tale.delivered.values() {
        for run in row["runs"].as_array().into_iter().flatten() {
            asked.insert(text(run, "syncId")?);
        }
    }
    for (id, run) in runs {
        if !asked.contains(id) && run["trigger"] != "manual" {
            found.push(format!("nobody asked for {run}"));
        }
        let by_schedule = run["requestedBy"].as_str().is_some_and(|by| by.starts_with("schedule "));
        if by_schedule && !own.contains(id) {
            found.push(format!("no fire asked for {run}"));
        }
    }
    Ok(())
}

/// How runs ended: what failed for good failed because an outage outlasted its retries.
fn ends(course: &Course, found: &mut Violations) -> anyhow::Result<()> {
    for run in course.tale.runs.values() {
        let party = match course.ids.name(&run["connectorId"]) {
            "federation" => Party::Federation,
            _ => Party::Authority,
        };
        let Ok(ended) = time(run, "completedAt") else {
            found.push(format!("it never ended: {run}"));
            continue;
        };
        let created = time(run, "createdAt")?;
        let outage =
            course.agenda.outages.iter().find(|outage| {
                outage.party == party && outage.begin <= ended && ended < outage.end
            });
        let replaced = !run["supersededBy"].is_null();
        let wrong = match run["status"].as_str() {
            Some("completed") => {
                let inside = outage.is_some_and(|outage| outage.begin < ended);
                let scheduled = run["trigger"] == "scheduled";
                (inside && scheduled && party == Party::Federation)
                    .then_some("completed in an outage")
            }
            Some("failed" | "cancelled") if replaced => None,
            Some("failed") => match outage {
                _ if run["retryCount"] != run["maxRetries"] => Some("it had retries left"),
                Some(outage) if created >= outage.begin - SignedDuration::from_mins(1) => None,
                _ => Some("no outage outlasted it"),
            },
            _ => Some("an end that nothing explains"),
        };
        found.extend(wrong.map(|wrong| format!("{wrong}: {run}")));
    }
    Ok(())
}

/// What was accepted came to an end and to a run.
fn deliveries(course: &Course, found: &mut Violations) {
    for id in &course.tale.accepted {
        match course.tale.delivered.get(id) {
            None => found.push(format!("the delivery {id} is lost")),
            Some(row) => {
                let runs = row["runs"].as_array().map_or(0, Vec::len);
                if row["status"] != "ended" || runs != 1 {
                    found.push(format!("a delivery came to nothing: {row}"));
                }
            }
        }
    }
}

/// A token is asked for ahead of its end or after it, never used behind it, and never asked for twice.
fn tokens(course: &Course, found: &mut Violations) {
    let state = course.world.authority.state();
    if state.api_refused > 0 || state.dead > 0 {
        let (refused, dead) = (state.api_refused, state.dead);
        found.push(format!(
            "{refused} requests with a token that had ended, {dead} refresh tokens used twice"
        ));
    }
    // A tenth of its life ahead of its end, and up to a tenth of that more.
    let least = SignedDuration::from_secs(i64::try_from(TOKEN_SECONDS * 89 / 100).unwrap_or(0));
    for pair in state.granted.windows(2) {
        if pair[1].duration_since(pair[0]) < least {
            found.push(format!("a token that was good was replaced: {} and {}", pair[0], pair[1]));
        }
    }
    if state.granted.is_empty() {
        found.push("no token was ever granted".to_owned());
    }
}

/// Each message is taken once, and together they tell of everything that happened, once.
fn notices(course: &Course, messages: &[Message], found: &mut Violations) -> anyhow::Result<()> {
    let mut ids = BTreeSet::new();
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    for message in messages {
        if !ids.insert(&message.id) {
            found.push(format!("taken twice: {message:?}"));
        }
        for (kind, count) in &message.kinds {
            *told.entry(kind.as_str()).or_default() += count;
        }
    }
    let mut count = |kind: &str| told.remove(kind).unwrap_or(0);
    let lines = course.tale.fires.iter().flat_map(|(_, lines)| lines);
    let missed = lines.filter(|line| line["outcome"] == "missed").count() as u64;
    let (failed, recovered) = failures(course)?;
    let expected = [("runFailed", failed), ("recovered", recovered), ("scheduleMissed", missed)];
    for (kind, expected) in expected {
        let told = count(kind);
        if told != expected {
            found.push(format!("{kind}: {expected} happened, {told} were told"));
        }
    }
    let (disabled, well) = (count("connectorDisabled"), count("connectorRecovered"));
    if disabled != well {
        found.push(format!("{disabled} times a connector was disabled, {well} times it recovered"));
    }
    found.extend(
        told.keys().filter(|kind| !KINDS.contains(kind)).map(|kind| format!("told of {kind}")),
    );
    Ok(())
}

/// Runs that failed for good, and how often a connection worked again after one.
fn failures(course: &Course) -> anyhow::Result<(u64, u64)> {
    let mut ended: BTreeMap<&str, Vec<(Timestamp, &str)>> = BTreeMap::new();
    let real = course.tale.runs.values().filter(|run| run["supersededBy"].is_null());
    for run in real {
        let connection = run["connectionId"].as_str().unwrap_or_default();
        let status = run["status"].as_str().unwrap_or_default();
        ended.entry(connection).or_default().push((time(run, "completedAt")?, status));
    }
    let (mut failed, mut recovered) = (0, 0);
    for runs in ended.values_mut() {
        runs.sort();
        failed += runs.iter().filter(|(_, status)| *status == "failed").count() as u64;
        let again = |pair: &&[(Timestamp, &str)]| pair[0].1 == "failed" && pair[1].1 == "completed";
        recovered += runs.windows(2).filter(again).count() as u64;
    }
    Ok((failed, recovered))
}

/// At the end the records are those of the federation, and who is gone from there is not active.
fn records(course: &Course, found: &mut Violations) -> anyhow::Result<()> {
    let email = |row: &Value| row["email"].as_str().unwrap_or_default().trim().to_owned();
    for club in &CLUBS {
        let mut theirs = BTreeMap::new();
        for member in course.world.federation.members(club.name)? {
            theirs.insert(text(&member, "memberId")?, email(&member));
        }
        for record in course.tale.records.get(club.name).into_iter().flatten() {
            let ids = record["externalIds"].as_object().into_iter().flatten();
            let mut ids = ids.filter_map(|(_, id)| id.as_str());
            let member = ids.find(|id| id.starts_with("GAA-")).unwrap_or_default();
            match theirs.remove(member) {
                Some(email_there) if email_there == email(&record["fields"]) => {}
                None if record["status"] == "inactive" => {}
                there => {
                    found.push(format!("{}: {there:?} is there, and here {record}", club.name))
                }
            }
        }
        found.extend(
            theirs.keys().map(|member| format!("{}: there is no record of {member}", club.name)),
        );
    }
    Ok(())
}

/// Once as much goes as comes, disk and memory stay as they are.
fn sizes(course: &Course, found: &mut Violations) {
    let steady = course.tale.sizes.get(STEADY_DAYS..).unwrap_or_default();
    let (before, behind) = steady.split_at(steady.len() / 2);
    let most =
        |days: &[(u64, u64)], of: fn(&(u64, u64)) -> u64| days.iter().map(of).max().unwrap_or(0);
    let grown = |before: u64, behind: u64| behind > before + before / 4 + (8 << 20);
    let disk = (most(before, |day| day.0), most(behind, |day| day.0));
    let memory = (most(before, |day| day.1), most(behind, |day| day.1));
    if grown(disk.0, disk.1) {
        found.push(format!("the data directory grows: {} bytes, later {}", disk.0, disk.1));
    }
    if grown(memory.0, memory.1) {
        found.push(format!("the process grows: {} bytes, later {}", memory.0, memory.1));
    }
}

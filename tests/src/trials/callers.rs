//! Who calls a server in each of its lives, until it is gone: somebody who edits, somebody who asks for syncs, and the
//! sender of deliveries.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::Api;
use super::hooks::{self, Signed};
use super::ledger::{Ask, Edit, edited, request};
use super::lives::Trial;
use super::stage::{HOOKED_MEMBERS, ORG};
use crate::dice::Dice;
use crate::foireann::generate::member_id;
use crate::http::Connection;

const EDIT_PAUSE: Duration = Duration::from_millis(5);
const ASK_PAUSE_MILLIS: u64 = 60;
/// 50 deliveries in a second.
const DELIVERY_PERIOD: Duration = Duration::from_millis(20);
/// So many of them repeat an earlier one, and so many are sent twice at once.
const REPEATED_PERCENT: u64 = 25;
const TWICE_PERCENT: u64 = 10;

pub(super) struct Callers<'a> {
    pub(super) trial: &'a Trial,
    pub(super) api: &'a Api,
    /// Set when the server is gone.
    pub(super) over: &'a AtomicBool,
    /// Told of every answer to a delivery.
    pub(super) answered: mpsc::Sender<()>,
}

impl Callers<'_> {
    fn go_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    /// Edits records one after the other; answers the last number.
    pub(super) fn edit(&self, mut dice: Dice, first: u64) -> u64 {
        let (trial, mut number) = (self.trial, first);
        while self.go_on() {
            let record = dice.pick(&trial.records).clone();
            let edit = Edit { number, acknowledged: false };
            trial.ledger().edits.entry(record.clone()).or_default().push(edit);
            let path = format!("/organizations/{ORG}/records/{record}");
            let body = json!({"fields": {"lastName": edited(number)}});
            match self.api.send("PATCH", &path, &[("If-Match", "*")], &body) {
                Ok((200, _)) => {
                    let mut ledger = trial.ledger();
                    let last = ledger.edits.get_mut(&record).and_then(|edits| edits.last_mut());
                    last.into_iter().for_each(|edit| edit.acknowledged = true);
                }
                Ok((status, answer)) => {
                    trial.ledger().refused.push(format!("an edit: {status} {answer}"));
                }
                Err(_) => break,
            }
            number += 1;
            std::thread::sleep(EDIT_PAUSE);
        }
        number
    }

    /// Asks for syncs, and looks at how they end.
    pub(super) fn ask(&self, mut dice: Dice) {
        let (trial, mut number) = (self.trial, 0);
        while self.go_on() {
            number += 1;
            let key = format!("{:016x}-{number}", dice.roll());
            let at = {
                let mut ledger = trial.ledger();
                ledger.asks.push(Ask { key: key.clone(), run: None });
                ledger.asks.len() - 1
            };
            let body = request(&trial.connector, &key);
            let run = match self.api.send("POST", "/sync/member", &[], &body) {
                Ok((202, answer)) => answer["syncId"].as_str().unwrap_or_default().to_owned(),
                Ok((status, answer)) => {
                    trial.ledger().refused.push(format!("a sync: {status} {answer}"));
                    return;
                }
                Err(_) => return,
            };
            trial.ledger().asks[at].run = Some(run.clone());
            std::thread::sleep(Duration::from_millis(dice.below(ASK_PAUSE_MILLIS)));
            let row = self.api.send("GET", &format!("/sync/status/{run}"), &[], &Value::Null);
            if let Ok((200, row)) = row
                && row["status"] == "completed"
            {
                let seen = (row["status"].clone(), row["counts"].clone());
                trial.ledger().ended.insert(run, seen);
            }
        }
    }

    /// Sends deliveries: first those that an earlier life left without an answer, then new ones, and in between earlier
    /// ones again.
    pub(super) fn deliver(&self, mut dice: Dice) {
        let mut left = self.trial.deliveries().unanswered();
        while self.go_on() {
            let begin = Instant::now();
            let sent = self.trial.deliveries().all.len() as u64;
            let number = match left.pop() {
                Some(number) => number,
                None if sent > 0 && dice.percent(REPEATED_PERCENT) => dice.below(sent) + 1,
                None => self.news(&mut dice),
            };
            let times = if dice.percent(TWICE_PERCENT) { 2 } else { 1 };
            if self.send(number, times).is_err() {
                return;
            }
            std::thread::sleep(DELIVERY_PERIOD.saturating_sub(begin.elapsed()));
        }
    }

    /// The federation changes a member, and has a delivery to tell of it.
    fn news(&self, dice: &mut Dice) -> u64 {
        let members = HOOKED_MEMBERS;
        let member = member_id(members.start + dice.below(members.end - members.start));
        let number = self.trial.deliveries().begin(&member);
        let name = json!({"firstName": hooks::named(number)});
        if let Err(why) = self.trial.federation.patch(&member, &name) {
            self.trial.deliveries().findings.wrong.push(format!("{member}: {why:#}"));
        }
        number
    }

    /// Sends a delivery, so many times at once. An error is a server that is gone.
    fn send(&self, number: u64, times: usize) -> io::Result<()> {
        let mut connections = Vec::new();
        for _ in 0..times {
            let delivery = self.trial.deliveries().repeat(number);
            let signed = Signed::new(&self.trial.connector, &delivery).map_err(io::Error::other)?;
            let mut connection = Connection::open(self.api.address)?;
            signed.write(&mut connection)?;
            connections.push(connection);
        }
        for mut connection in connections {
            let answer = connection.read()?;
            // Nobody may wait for it any more.
            let _ = self.answered.send(());
            self.trial.deliveries().answered(number, &answer);
        }
        Ok(())
    }
}

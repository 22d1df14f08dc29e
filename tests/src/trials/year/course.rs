//! A year as it goes by: the clock is moved to the next moment at which the server waits for something or the world does
//! something, and not before everything that happens at the moment has come to rest.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use syncline::app::StartOptions;
use syncline::clock::Clock;
use syncline::config::Config;
use syncline::signature::{self, shipped};
use tempfile::TempDir;

use super::agenda::{Act, Agenda, End, Fires, Mood, Party, Trouble};
use super::tale::Tale;
use super::world::{self, BEGIN, CLUBS, HOOK_SECRET, Ids, World};
use crate::dice::Dice;
use crate::foireann::fault::RetryAfter;
use crate::foireann::{Fault, Rule};
use crate::http::{Connection, Request};
use crate::trials::api::{Api, text};
use crate::trials::server::{self, Server};
use crate::trials::stage;

/// Longer is no rest: something hangs.
const REST_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(2);
/// Of a page of a slow federation, in real time.
const SLOW_MILLIS: u64 = 3;
/// What a federation that is busy asks for.
const BUSY_SECONDS: u64 = 600;
/// What is kept for less than the whole year is looked at every so many days.
const LOOK_DAYS: u64 = 7;
/// Members that a club must keep: where many go at once, a brake holds the run.
const MEMBERS_MIN: usize = 6;

pub struct Course {
    pub clock: Clock,
    pub begin: Timestamp,
    pub end: Timestamp,
    pub world: World,
    pub agenda: Agenda,
    pub ids: Ids,
    pub tale: Tale,
    config: Config,
    directory: TempDir,
    token: String,
    server: Option<Server>,
    /// Moments at which the clock stood.
    pub moments: u64,
    mood: Mood,
    down: Option<Trouble>,
    /// The number of the next new member.
    next_member: u64,
    hooks: u64,
}

impl Course {
    /// A server that knows its world and has synced everybody once.
    pub fn begin(seed: u64, days: u64) -> anyhow::Result<Course> {
        let begin: Timestamp = BEGIN.parse()?;
        let length = SignedDuration::from_hours(24 * i64::try_from(days)?);
        let end = begin.checked_add(length)?;
        let clock = Clock::seeded(begin, seed);
        let world = World::start(seed, &clock)?;
        let (config, directory) = (world.config(), TempDir::new()?);
        let token = server::init(&config, &data(&directory))?;
        let mut course = Course {
            clock,
            begin,
            end,
            world,
            agenda: Agenda::default(),
            ids: Ids::default(),
            tale: Tale::default(),
            config,
            directory,
            token,
            server: None,
            moments: 0,
            mood: Mood::Well,
            down: None,
            next_member: 100_000,
            hooks: 0,
        };
        course.start()?;
        course.ids = course.world.tell(course.api()?)?;
        course.agenda = course.plan(seed, days)?;
        course.sync_all("completed")?;
        Ok(course)
    }

    fn plan(&self, seed: u64, days: u64) -> anyhow::Result<Agenda> {
        let span = (self.begin, self.end);
        let schedules = &self.ids.schedules;
        let twice = |schedule: &world::Schedule| schedule.name == "twice-a-day";
        let federation = world::fires(schedules, |schedule| !twice(schedule), span)?;
        let authority = world::fires(schedules, twice, span)?;
        let fires = Fires { federation: &federation, authority: &authority };
        Ok(Agenda::new(seed, (self.begin, days), CLUBS.len(), &fires))
    }

    pub fn api(&self) -> anyhow::Result<&Api> {
        Ok(&self.server.as_ref().context("the server is off")?.api)
    }

    pub fn data(&self) -> PathBuf {
        data(&self.directory)
    }

    /// Lets the whole time go by.
    pub fn go(&mut self) -> anyhow::Result<()> {
        let mut look = 1;
        loop {
            let day = self.begin + SignedDuration::from_hours(24 * i64::try_from(look)?);
            let act = self.agenda.acts.front().map(|(at, _)| *at);
            let next = [self.clock.awaited(), act, Some(day)].into_iter().flatten().min();
            // While the server was off a look may have been left out.
            let next = next.unwrap_or(day).min(self.end).max(self.clock.now());
            self.move_to(next)?;
            while let Some((_, act)) = self.agenda.acts.pop_front_if(|(at, _)| *at <= next) {
                self.act(act)?;
                self.rest()?;
            }
            if next >= day {
                self.look(look)?;
                look += 1;
            }
            if next >= self.end {
                return Ok(());
            }
        }
    }

    /// Everybody is synced once more, and the server ends in order.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        self.sync_all("completed")?;
        let api = self.api()?.clone();
        self.tale.look(&api)?;
        self.tale.close(&api, &self.ids)?;
        if let Some(server) = self.server.take() {
            server.stop();
        }
        Ok(())
    }

    fn move_to(&mut self, at: Timestamp) -> anyhow::Result<()> {
        self.clock.set(at);
        self.moments += 1;
        self.rest()
    }

    fn rest(&self) -> anyhow::Result<()> {
        ensure!(
            self.clock.is_settled_within(REST_MAX),
            "at {} the server does not come to rest",
            self.clock.now()
        );
        Ok(())
    }

    fn look(&mut self, day: u64) -> anyhow::Result<()> {
        self.tale.size(self.data().as_path())?;
        // What the stand-ins remember is not to count as the server's.
        self.world.federation.world().requests.clear();
        self.world.authority.state().asked.clear();
        if day.is_multiple_of(LOOK_DAYS)
            && let Some(server) = &self.server
        {
            let api = server.api.clone();
            self.tale.look(&api)?;
            self.rest()?;
        }
        Ok(())
    }

    fn act(&mut self, act: Act) -> anyhow::Result<()> {
        match act {
            Act::Down(party, trouble) => self.switch(party, Some(trouble)),
            Act::Up(party) => self.switch(party, None),
            Act::Mood(mood) => {
                self.mood = mood;
                self.behave();
                self.note("mood", json!({"mood": format!("{mood:?}")}));
            }
            Act::Change { club, dice, told } => self.change(club, dice, told)?,
            Act::Restart { end, off } => self.restart(end, off)?,
        }
        Ok(())
    }

    fn note(&mut self, event: &str, more: Value) {
        self.tale.note(self.clock.now(), event, more);
    }

    fn switch(&mut self, party: Party, down: Option<Trouble>) {
        match party {
            Party::Federation => {
                self.down = down;
                self.behave();
            }
            Party::Authority => self.world.authority.state().down = down.is_some(),
            Party::Receiver => self.world.receiver.state().down = down.is_some(),
        }
        let how = format!("{down:?}");
        let event = if down.is_some() { "down" } else { "up" };
        self.note(event, json!({"who": party.as_str(), "how": how}));
    }

    /// What the federation does from now on.
    fn behave(&self) {
        let mut world = self.world.federation.world();
        world.rules.clear();
        match self.down {
            Some(Trouble::Away) => return world.rules.add(Rule::any(Fault::status(503))),
            Some(Trouble::Busy) => {
                return world
                    .rules
                    .add(Rule::any(Fault::too_many(RetryAfter::Seconds(BUSY_SECONDS))));
            }
            None => {}
        }
        match self.mood {
            Mood::Well => {}
            Mood::Slow => world.rules.add(Rule::any(Fault::Delay { ms: SLOW_MILLIS })),
            Mood::Stumbles => {
                for club in &CLUBS {
                    world.rules.add(Rule::listing(Fault::status(502)).club(club.name).once());
                }
            }
        }
    }

    fn change(&mut self, club: usize, dice: u64, told: bool) -> anyhow::Result<()> {
        let (mut dice, name) = (Dice::new(dice, 1), CLUBS[club % CLUBS.len()].name);
        let members = self.world.federation.members(name)?;
        let ids: Vec<String> =
            members.iter().map(|member| text(member, "memberId")).collect::<Result<_, _>>()?;
        let (member, event) = match dice.below(8) {
            0 => {
                let number = self.next_member;
                self.next_member += 1;
                self.world.federation.add(name, number, number)?;
                (crate::foireann::generate::member_id(number), "created")
            }
            1 if ids.len() > MEMBERS_MIN => {
                let gone = dice.pick(&ids).clone();
                self.world.federation.delete(&gone)?;
                (gone, "deleted")
            }
            _ => {
                let member = dice.pick(&ids).clone();
                let email = format!("{}@year.example", dice.below(1_000_000));
                self.world.federation.patch(&member, &json!({"email": email}))?;
                (member, "updated")
            }
        };
        let told = told && self.server.is_some();
        self.note("change", json!({"club": name, "member": member, "what": event, "told": told}));
        if told { self.send(name, &member, event) } else { Ok(()) }
    }

    /// A webhook as the federation signs it. It must be accepted.
    fn send(&mut self, club: &str, member: &str, event: &str) -> anyhow::Result<()> {
        self.hooks += 1;
        let body = json!({
            "connectorId": self.ids.federation, "federationOrgId": club, "memberId": member,
            "event": event,
        });
        let verifier = shipped("original").context("no such scheme")?;
        let now = self.clock.now().as_millisecond();
        let id = format!("hook-{}", self.hooks);
        let body = body.to_string();
        let signed = signature::sign(&verifier, HOOK_SECRET, &id, now, body.as_bytes())?;
        let headers: Vec<(&str, &str)> =
            signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let target = format!("/webhooks/{}", self.ids.federation);
        let request =
            Request { method: "POST", target: &target, headers: &headers, body: &signed.body };
        let answer = Connection::open(self.api()?.address)?.send(&request)?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "a webhook is answered {}: {said}", answer.status);
        let answer: Value = serde_json::from_str(&said)?;
        ensure!(answer["status"] == "accepted", "a webhook is {answer}");
        self.tale.accepted.push(text(&answer, "deliveryId")?);
        Ok(())
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let options = StartOptions { clock: self.clock.clone(), ..StartOptions::default() };
        let server = Server::start(&self.config, &self.data(), &self.token, options)?;
        self.server = Some(server);
        self.rest()
    }

    /// The process ends and comes back after a while; the world goes on meanwhile.
    fn restart(&mut self, end: End, off: SignedDuration) -> anyhow::Result<()> {
        if off > SignedDuration::from_hours(24) {
            // What will be kept no longer by then.
            let api = self.api()?.clone();
            self.tale.look(&api)?;
        }
        let began = self.clock.now();
        let server = self.server.take().context("the server is off")?;
        match end {
            End::Orderly => server.stop(),
            End::Vanished => server.vanish(),
            End::MidRun => {
                self.begin_run(&server.api)?;
                server.vanish();
                self.behave();
            }
        }
        let back = (began + off).min(self.end - SignedDuration::from_hours(1));
        while let Some((at, act)) = self.agenda.acts.pop_front_if(|(at, _)| *at <= back) {
            self.clock.set(at);
            // Nobody is there whom it could end.
            if !matches!(act, Act::Restart { .. }) {
                self.act(act)?;
            }
        }
        self.clock.set(back);
        self.tale.away.push((began, back));
        self.note("start", json!({"after": format!("{end:?}"), "since": began.to_string()}));
        self.start()
    }

    /// A person asks for a run that is under way when this returns: its second page does not come. Where the federation is
    /// away, or the connector is disabled, there is none.
    fn begin_run(&self, api: &Api) -> anyhow::Result<()> {
        if self.down.is_some() {
            return Ok(());
        }
        let club = CLUBS[0].name;
        let seen = {
            let mut world = self.world.federation.world();
            world.rules.clear();
            world.rules.add(Rule::page(2, Fault::Hang).club(club).once());
            world.requests.back().map_or(0, |request| request.seq)
        };
        let body = json!({"organizationId": club, "connectorId": self.ids.federation});
        let (status, _) = api.send("POST", "/sync/all", &[], &body)?;
        let hangs = || {
            let world = self.world.federation.world();
            world
                .requests
                .iter()
                .rev()
                .take_while(|request| request.seq > seen)
                .any(|request| request.page == Some(2) && request.club.as_deref() == Some(club))
        };
        let begin = Instant::now();
        while status == 202 && !hangs() {
            ensure!(begin.elapsed() < REST_MAX, "a run does not begin");
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// A person asks for a run of everybody, which must end like this.
    fn sync_all(&mut self, status: &str) -> anyhow::Result<()> {
        let clubs = CLUBS.iter().map(|club| (club.name, self.ids.federation.clone()));
        let platform = (world::MEMBER_OF_PLATFORM.name, self.ids.platform.clone());
        let all: Vec<(&str, String)> = clubs.chain([platform]).collect();
        for (club, connector) in all {
            let body = json!({"organizationId": club, "connectorId": connector, "mode": "full"});
            let api = self.api()?.clone();
            let run = text(&api.call("POST", "/sync/all", &body)?, "syncId")?;
            self.rest()?;
            let row = api.get(&format!("/sync/status/{run}"))?;
            ensure!(row["status"] == status, "a run for {club} ended otherwise: {row:#}");
        }
        Ok(())
    }

    /// What the files say against each other when the server is gone.
    pub fn inconsistencies(&self) -> anyhow::Result<Vec<String>> {
        stage::faults_of_files(&self.data())
    }
}

fn data(directory: &TempDir) -> PathBuf {
    Path::new(directory.path()).join("data")
}

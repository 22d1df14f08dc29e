//! Plays the story through the HTTP API, and looks whether everything came as the story says.

use super::super::client::{Client, segment};
use super::super::lookup::{all, items, text};
use super::super::output::{Io, at};
use super::super::problem::{Exit, Problem};
use super::super::sync::follow;
use crate::clock::Clock;
use crate::config;
use crate::demo::{
    self, API_KEY, Author, ENTITY, Expect, FEDERATION_CODE, Federation, Kind, ORGANIZATION,
    ORGANIZATION_NAME, PLUGIN, Remote, SLOTS, Scene,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Where the server is, and the tokens of a person and of a program.
pub(super) struct Access {
    pub(super) server: String,
    pub(super) token: String,
    pub(super) machine_token: String,
}

impl Access {
    fn client(&self, token: &str) -> Result<Client, Problem> {
        Client::new(&config::Cli { server: self.server.clone(), token: Some(token.to_owned()) })
    }
}

/// What came of one scene. Values are as the API gave them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) external_id: String,
    pub(super) field: &'static str,
    pub(super) base: Value,
    pub(super) federation: Value,
    pub(super) local: Value,
    pub(super) result: Value,
    /// The record's, in the end.
    pub(super) status: String,
    /// The strategy that decided; null where there was no conflict.
    pub(super) strategy: Value,
    pub(super) note: String,
    /// What the story expects instead; none where it came true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missed: Option<String>,
}

/// The story as it went.
pub(super) struct Told {
    /// Both runs, as the API shows them.
    pub(super) runs: Vec<Value>,
    pub(super) outcomes: Vec<Outcome>,
    /// The conflict lines of the second run.
    pub(super) conflicts: Vec<Value>,
    /// The conflict that still waits.
    pub(super) open: Option<String>,
}

impl Told {
    /// Whether all of it went as it should.
    pub(super) fn verdict(&self) -> Result<(), Problem> {
        let missed = self.outcomes.iter().filter_map(|outcome| {
            let missed = outcome.missed.as_ref()?;
            Some(format!("{}: {missed}", outcome.kind.title()))
        });
        let causes: Vec<String> = missed.collect();
        if causes.is_empty() {
            return Ok(());
        }
        let problem = Problem::failed("the demo did not end as it should; please report this");
        Err(Problem { causes, ..problem })
    }
}

pub(super) async fn play(
    access: &Access,
    federation: &Federation,
    members: u32,
    io: &mut Io<'_>,
) -> Result<Told, Problem> {
    let stage = Stage {
        person: access.client(&access.token)?,
        program: access.client(&access.machine_token)?,
        federation,
        members,
        connector: String::new(),
    };
    let stage = Stage { connector: stage.connect().await?, ..stage };
    io.say("first sync: everything is new");
    let first = stage.sync(io).await?;
    let created = at(&first, "counts.created");
    if created.as_u64() != Some(u64::from(members)) {
        let message = format!("the first sync made {created} records of {members}");
        return Err(Problem::failed(message));
    }
    let scenes = demo::scenes(|slot| federation.founder(slot));
    let mut before = Vec::with_capacity(scenes.len());
    for slot in 0..SLOTS {
        before.push(stage.record(slot).await?);
    }
    io.say("editing on both sides");
    stage.edit_here(&scenes, &before).await?;
    for scene in &scenes {
        federation.play(scene.slot, scene.field, &scene.remote, Clock::system().now());
    }
    let mut edited = Vec::with_capacity(scenes.len());
    for row in &before {
        edited.push(stage.again(row).await?);
    }
    io.say("second sync: what changed");
    let second = stage.sync(io).await?;
    let id = text(&second, "syncId");
    let conflicts = all(&stage.person, &format!("/sync/status/{}/conflicts", segment(&id))).await?;
    stage.decide(&scenes).await?;
    let seen = Seen {
        before,
        edited,
        open: all(&stage.person, "/conflicts").await?,
        failures: all(&stage.person, "/sync/failures").await?,
        conflicts,
    };
    let mut outcomes = Vec::with_capacity(scenes.len());
    for scene in &scenes {
        outcomes.push(stage.outcome(scene, &seen).await?);
    }
    let open = seen.open.first().map(|row| text(row, "id"));
    Ok(Told { runs: vec![first, second], outcomes, conflicts: seen.conflicts, open })
}

struct Stage<'a> {
    person: Client,
    program: Client,
    federation: &'a Federation,
    members: u32,
    connector: String,
}

/// What is known when the second run is over. Records are in the order of their slots.
struct Seen {
    before: Vec<Value>,
    edited: Vec<Value>,
    conflicts: Vec<Value>,
    open: Vec<Value>,
    failures: Vec<Value>,
}

impl Stage<'_> {
    /// Sets up organization, connector and connection; answers the connector's id.
    async fn connect(&self) -> Result<String, Problem> {
        let organization = json!({
            "id": ORGANIZATION, "name": ORGANIZATION_NAME, "timezone": "Europe/Dublin", "defaultRegion": "IE",
        });
        self.person.post("/organizations", &organization).await?;
        let connector = json!({
            "name": "Demo federation",
            "federationCode": FEDERATION_CODE,
            "plugin": PLUGIN,
            "authType": "apiKey",
            "credentials": { "apiKey": API_KEY },
            "endpoints": { "baseUrl": format!("http://{}", self.federation.address()) },
            "config": {
                "pageSize": demo::page_size(self.members),
                // This federation is at home: nobody has to be spared.
                "requestsPerMinute": 1_000_000,
            },
            "syncConfig": { "enabled": true, "conflictStrategy": "federation_wins" },
        });
        let connector = text(&self.person.post("/connectors", &connector).await?, "id");
        let fields: Map<String, Value> = demo::scenes(|slot| self.federation.founder(slot))
            .iter()
            .filter_map(|scene| {
                let strategy = scene.kind.strategy()?;
                Some((scene.field.to_owned(), json!({ "strategy": strategy })))
            })
            .collect();
        let connection = json!({
            "connectorId": connector,
            "federationOrgId": ORGANIZATION,
            "entities": { ENTITY: { "direction": "pull", "fields": fields } },
        });
        let path = format!("/organizations/{ORGANIZATION}/connections");
        self.person.post(&path, &connection).await?;
        Ok(connector)
    }

    /// One full run, to its end.
    async fn sync(&self, io: &mut Io<'_>) -> Result<Value, Problem> {
        let body = json!({
            "organizationId": ORGANIZATION, "connectorId": self.connector, "mode": "full",
        });
        let accepted = self.person.post(&format!("/sync/{ENTITY}"), &body).await?;
        let run = follow(&self.person, &text(&accepted, "syncId"), io).await?;
        let status = text(&run, "status");
        if status == "completed" {
            return Ok(run);
        }
        let mut problem = Problem::failed(format!("the run ended {status}"));
        let errors = at(&run, "errors").as_array().into_iter().flatten();
        problem.causes = errors
            .map(|error| format!("{}: {}", text(error, "code"), text(error, "message")))
            .chain(at(&run, "heldReason").as_str().map(str::to_owned))
            .collect();
        Err(problem)
    }

    /// The record here of a member of the story.
    async fn record(&self, slot: u32) -> Result<Value, Problem> {
        let id = self.federation.founder(slot).member_id;
        let query = [("entity", Some(ENTITY.to_owned())), ("q", Some(id.clone()))];
        let path = format!("/organizations/{ORGANIZATION}/records");
        let found = self.person.get(&path, &query).await?;
        let is_it = |row: &&Value| {
            let ids = at(row, "externalIds").as_object();
            ids.is_some_and(|ids| ids.values().any(|known| known.as_str() == Some(&id)))
        };
        let row = items(&found).iter().find(is_it).cloned();
        row.ok_or_else(|| Problem::new(Exit::NotFound, format!("the record {id} has not arrived")))
    }

    async fn again(&self, row: &Value) -> Result<Value, Problem> {
        self.person.get(&path_of(row), &[]).await
    }

    async fn edit_here(&self, scenes: &[Scene], records: &[Value]) -> Result<(), Problem> {
        for scene in scenes {
            let row = usize::try_from(scene.slot).ok().and_then(|slot| records.get(slot));
            let (Some(edit), Some(row)) = (&scene.local, row) else {
                continue;
            };
            let client = match edit.by {
                Author::Person => &self.person,
                Author::System => &self.program,
            };
            let path = path_of(row);
            let tagged = client.get_tagged(&path).await?;
            let body = json!({ "fields": { scene.field: edit.value } });
            client.patch(&path, &tagged, &body).await?;
        }
        Ok(())
    }

    /// A person decides the held conflict that the story gives to one.
    async fn decide(&self, scenes: &[Scene]) -> Result<(), Problem> {
        let to_decide = scenes.iter().filter(|scene| scene.kind == Kind::ManualResolved);
        for scene in to_decide {
            let id = self.federation.founder(scene.slot).member_id;
            let open = all(&self.person, "/conflicts").await?;
            if let Some(item) = find(&open, &id, scene.field) {
                let path = format!("/conflicts/{}/resolve", segment(&text(item, "id")));
                let choice = match scene.expect {
                    Expect::Remote => "remote",
                    Expect::Base | Expect::Local => "local",
                };
                self.person.post(&path, &json!({ "choice": choice })).await?;
            }
        }
        Ok(())
    }

    async fn outcome(&self, scene: &Scene, seen: &Seen) -> Result<Outcome, Problem> {
        let founder = self.federation.founder(scene.slot);
        let slot = usize::try_from(scene.slot).unwrap_or(usize::MAX);
        let value = |rows: &[Value]| match rows.get(slot) {
            Some(row) if scene.field.is_empty() => at(row, "status").clone(),
            Some(row) => at(at(row, "fields"), scene.field).clone(),
            None => Value::Null,
        };
        let after = match seen.before.get(slot) {
            Some(row) => self.again(row).await?,
            None => self.record(scene.slot).await?,
        };
        let listed = self.federation.member(&founder.member_id);
        let federation = match &listed {
            None => json!("not listed"),
            Some(member) if scene.field.is_empty() => json!(member.name()),
            Some(member) => json!(member.get(scene.field)),
        };
        let result = match (scene.kind, scene.field) {
            (Kind::Created, _) => {
                let name = |field| text(at(&after, "fields"), field);
                json!(format!("{} {}", name("firstName"), name("lastName")))
            }
            (_, "") => at(&after, "status").clone(),
            (_, field) => at(at(&after, "fields"), field).clone(),
        };
        let line = find(&seen.conflicts, &founder.member_id, scene.field);
        let failure = seen.failures.iter().find(|row| text(row, "externalId") == founder.member_id);
        let outcome = Outcome {
            kind: scene.kind,
            name: founder.name(),
            external_id: founder.member_id,
            field: scene.field,
            base: value(&seen.before),
            federation,
            local: value(&seen.edited),
            result,
            status: text(&after, "status"),
            strategy: line.map_or(Value::Null, |line| at(line, "strategy").clone()),
            note: match (line, failure) {
                (Some(line), _) => text(line, "note"),
                (None, Some(failure)) if scene.kind == Kind::Quarantined => {
                    text(failure, "message")
                }
                (None, _) => String::new(),
            },
            missed: None,
        };
        let missed = missed(scene, &outcome, line, failure.is_some(), &seen.open);
        Ok(Outcome { missed, ..outcome })
    }
}

/// What the story promised and the engine did not keep.
fn missed(
    scene: &Scene,
    outcome: &Outcome,
    line: Option<&Value>,
    quarantined: bool,
    open: &[Value],
) -> Option<String> {
    let expected = match (scene.expect, &scene.remote) {
        (_, Remote::Remove) => &json!("inactive"),
        (Expect::Base, _) => &outcome.base,
        (Expect::Remote, _) => &outcome.federation,
        (Expect::Local, _) => &outcome.local,
    };
    let held = line.is_some_and(|line| at(line, "held").as_bool() == Some(true));
    let is_open = find(open, &outcome.external_id, scene.field).is_some();
    let manual = matches!(scene.kind, Kind::ManualOpen | Kind::ManualResolved);
    let conditions = [
        (
            outcome.result == *expected,
            format!("the record holds {}, not {expected}", outcome.result),
        ),
        (
            outcome.strategy.as_str() == scene.kind.strategy(),
            format!("decided by {}, not by {:?}", outcome.strategy, scene.kind.strategy()),
        ),
        (held == manual, format!("held by the run: {held}")),
        (is_open == (scene.kind == Kind::ManualOpen), format!("waits for a person: {is_open}")),
        ((outcome.status == "active") == scene.active, format!("the record is {}", outcome.status)),
        (quarantined == (scene.kind == Kind::Quarantined), format!("in quarantine: {quarantined}")),
    ];
    let broken = conditions.into_iter().find(|(kept, _)| !kept);
    broken.map(|(_, words)| format!("{} of {}: {words}", scene.field, outcome.external_id))
}

fn path_of(row: &Value) -> String {
    format!("/organizations/{ORGANIZATION}/records/{}", segment(&text(row, "id")))
}

/// The row about a field of a member.
fn find<'a>(rows: &'a [Value], external_id: &str, field: &str) -> Option<&'a Value> {
    rows.iter().find(|row| text(row, "externalId") == external_id && text(row, "field") == field)
}

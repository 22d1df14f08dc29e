//! The federation's API: members lists, member details, the CSV export, credentials.
//!
//! Owns the state of the process ([`World`]) and the way of one request through it. Connections
//! are independent; the state is behind one lock that is never held across a wait.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

use super::client::SeenRequest;
use super::club::Page;
use super::control;
use super::fault::Fault;
use super::members_csv::{self, CsvStyle};
use super::roster::Roster;
use super::rule::{Rule, RuleBook, Target};
use super::sabotage::{self, error_text, message_of};
use super::wire::{self, Answer, Reply, Request};

/// Requests remembered; the oldest go first.
const REQUESTS_KEPT_MAX: usize = 100_000;
/// What `limit` is when a request does not say.
const PAGE_SIZE_DEFAULT: u64 = 100;

/// How the simulator was started; `reset` goes back to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    pub clubs: Vec<String>,
    /// Per club.
    pub members: u64,
    pub seed: u64,
    /// A larger `limit` is cut to this.
    pub page_size_max: u64,
    /// In front of every path of the API, such as `/v2`; may be empty.
    pub base_path: String,
    pub auth: Auth,
    pub csv: CsvStyle,
    /// Added to every `Date` header.
    pub clock_skew_s: i64,
}

/// The credentials that the API wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Auth {
    #[default]
    None,
    /// Header `X-API-Key`.
    ApiKey(String),
    Basic {
        username: String,
        password: String,
    },
    Bearer(String),
}

/// Everything that the process knows.
pub struct World {
    pub settings: Settings,
    /// As they were at the start, with the rules of the script.
    origin: (Settings, Vec<Rule>),
    pub roster: Roster,
    pub rules: RuleBook,
    pub requests: VecDeque<SeenRequest>,
    requests_seen: u64,
}

impl World {
    pub fn new(settings: Settings, script: Vec<Rule>) -> World {
        let roster = Roster::new(settings.seed, &settings.clubs, settings.members);
        let mut rules = RuleBook::default();
        script.iter().cloned().for_each(|rule| rules.add(rule));
        World {
            origin: (settings.clone(), script),
            settings,
            roster,
            rules,
            requests: VecDeque::new(),
            requests_seen: 0,
        }
    }

    /// Back to how the process was started.
    pub fn reset(&mut self) {
        let (settings, script) = self.origin.clone();
        *self = World::new(settings, script);
    }

    /// One request's way: control, log, credentials, faults, answer.
    pub fn answer(&mut self, request: &Request) -> Reply {
        let (path, query) = request.split_target();
        if let Some(path) = path.strip_prefix("/_control") {
            return Reply::Http(Box::new(control::answer(self, request, path, query)));
        }
        let Some(path) = path.strip_prefix(self.settings.base_path.as_str()) else {
            return plain_error(404);
        };
        let (asked, target) = Asked::parse(path, query);
        let authorized = self.settings.auth.accepts(request);
        self.remember(request, &target, authorized);
        if request.method != "GET" {
            return plain_error(405);
        }
        if !authorized {
            return plain_error(401);
        }
        let faults = self.rules.strike(&target).map(Fault::flat).unwrap_or_default();
        let answer = self.honest_or_bent(&asked, &faults);
        let mut answer = answer.unwrap_or_else(error);
        answer.clock_skew_s = self.settings.clock_skew_s;
        let reply = Reply::Http(Box::new(answer));
        faults.iter().fold(reply, |reply, fault| sabotage::edit_reply(fault, reply, request))
    }

    fn honest_or_bent(&mut self, asked: &Asked, faults: &[Fault]) -> Result<Answer, u16> {
        let seed = self.roster.seed();
        match asked {
            Asked::List { club, page, limit } => {
                let (page, limit) = (page.ok_or(400_u16)?, limit.ok_or(400_u16)?);
                let limit = limit.min(self.settings.page_size_max);
                let club = self.roster.club(club).map_err(|_| 404_u16)?;
                if faults.is_empty() {
                    return Ok(Answer::json(200, club.page(page, limit)));
                }
                faults.iter().for_each(|fault| sabotage::edit_members(fault, club, seed));
                let mut draft = Page::of(club, page, limit);
                for fault in faults {
                    sabotage::edit_page(fault, &mut draft, club, seed);
                }
                Ok(Answer::json(200, draft.render()))
            }
            Asked::Member { id, club } => {
                let detail = self.roster.detail(club.as_deref(), id).ok_or(404_u16)?;
                Ok(Answer::json(200, detail))
            }
            Asked::Csv { club } => {
                let club = club.clone().or_else(|| self.settings.clubs.first().cloned());
                let club = self.roster.club(&club.ok_or(404_u16)?).map_err(|_| 404_u16)?;
                let file = members_csv::render(club.rows(), seed, &self.settings.csv);
                Ok(Answer::new(200, "text/csv; charset=utf-8", file))
            }
            Asked::Other => Err(404),
        }
    }

    fn remember(&mut self, request: &Request, target: &Target, authorized: bool) {
        if self.requests.len() == REQUESTS_KEPT_MAX {
            self.requests.pop_front();
        }
        self.requests_seen += 1;
        self.requests.push_back(SeenRequest {
            seq: self.requests_seen,
            at: jiff::Timestamp::now().to_string(),
            method: request.method.clone(),
            target: request.target.clone(),
            page: target.page,
            club: target.club.clone(),
            member_id: target.member_id.clone(),
            auth: auth_kinds(request),
            authorized,
            headers: request.headers.iter().map(masked).collect(),
        });
    }
}

/// The kinds of credentials that a request carries, right or wrong.
fn auth_kinds(request: &Request) -> Vec<String> {
    let scheme = request
        .header("authorization")
        .map(|value| value.split(' ').next().unwrap_or_default().to_ascii_lowercase());
    let key = request.header("x-api-key").map(|_| "apiKey".to_owned());
    scheme.into_iter().chain(key).collect()
}

/// A header for the log, without the secret in it.
fn masked((name, value): &(String, String)) -> (String, String) {
    let secret = ["authorization", "x-api-key", "cookie"];
    let name = name.to_ascii_lowercase();
    let value = if secret.contains(&name.as_str()) { "present" } else { value.as_str() };
    (name, value.to_owned())
}

impl Auth {
    fn accepts(&self, request: &Request) -> bool {
        let authorization = |wanted: String| request.header("authorization") == Some(&wanted);
        match self {
            Auth::None => true,
            Auth::ApiKey(key) => request.header("x-api-key") == Some(key),
            Auth::Bearer(token) => authorization(format!("Bearer {token}")),
            Auth::Basic { username, password } => {
                let pair = format!("{username}:{password}");
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                authorization(format!("Basic {pair}"))
            }
        }
    }
}

/// What a path below the base asks for. Page and limit are none where they are no number from 1.
enum Asked {
    List { club: String, page: Option<u64>, limit: Option<u64> },
    Member { id: String, club: Option<String> },
    Csv { club: Option<String> },
    Other,
}

impl Asked {
    fn parse(path: &str, query: &str) -> (Asked, Target) {
        let mut target = Target { path: decoded(path), ..Target::default() };
        let segments: Vec<String> = path.split('/').skip(1).map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let number = |name, default| match parameter(query, name) {
            None => Some(default),
            Some(text) => text.parse().ok().filter(|&number| number > 0),
        };
        let asked = match segments.as_slice() {
            ["clubs", club, "members"] => {
                let page = number("page", 1);
                target.club = Some((*club).to_owned());
                target.page = page;
                let limit = number("limit", PAGE_SIZE_DEFAULT);
                Asked::List { club: (*club).to_owned(), page, limit }
            }
            ["members", id] => {
                target.member_id = Some((*id).to_owned());
                target.club = parameter(query, "club");
                Asked::Member { id: (*id).to_owned(), club: target.club.clone() }
            }
            ["clubs", club, "members.csv"] => {
                target.club = Some((*club).to_owned());
                Asked::Csv { club: target.club.clone() }
            }
            ["members.csv"] => Asked::Csv { club: None },
            _ => Asked::Other,
        };
        (asked, target)
    }
}

/// A query parameter, decoded; the first of its name.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).next()
}

/// Undoes percent-coding; what is no code stays as it is.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = (byte == b'%').then(|| tail.get(..2)).flatten();
        match code.and_then(|code| hex::decode(code).ok()) {
            Some(byte) => {
                bytes.extend(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn error(status: u16) -> Answer {
    Answer::json(status, error_text(status, message_of(status)))
}

fn plain_error(status: u16) -> Reply {
    Reply::Http(Box::new(error(status)))
}

/// Serves connections until the task is dropped.
pub async fn serve(listener: TcpListener, world: Arc<Mutex<World>>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            // A client that goes away in the middle is its own business.
            let _ = serve_connection(stream, &world).await;
        });
    }
}

async fn serve_connection(mut stream: TcpStream, world: &Mutex<World>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    while let Some(request) = wire::read_request(&mut stream, &mut buffer).await? {
        let close = request.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        let reply = world.lock().unwrap_or_else(PoisonError::into_inner).answer(&request);
        if !wire::send(&mut stream, reply).await? || close {
            break;
        }
    }
    Ok(())
}

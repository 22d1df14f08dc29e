//! A stand-in for a platform's authorization server and its API, with scripted faults at the token endpoint.
//!
//! Owns one grant whose tokens rotate. It runs in the process of the test; each connection is served once and closed. What
//! a strict server would check of the flow is checked against a real one elsewhere.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use syncline::clock::Clock;

const HEAD_BYTES_MAX: usize = 64 << 10;
const DEADLINE: Duration = Duration::from_secs(60);

/// What happens to one request to the token endpoint.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status with these header lines and this body, and nothing is granted.
    Answer { status: u16, headers: Vec<String>, body: String },
    /// Members laid over those of an honest answer; null takes one away.
    Lay(Value),
    /// The connection is cut before the request has an effect.
    CutBefore,
    /// New tokens are granted and the connection is cut instead of telling them.
    CutAfter,
    /// The request has no effect until [`Authority::release`].
    HoldBefore,
    /// New tokens are granted and told only after [`Authority::release`].
    HoldAfter,
}

impl Fault {
    pub fn answer(status: u16, body: &str) -> Fault {
        Fault::Answer { status, headers: Vec::new(), body: body.to_owned() }
    }
}

/// Everything that the authority knows.
#[derive(Debug)]
pub struct State {
    /// Of the tokens that are granted next.
    pub access_seconds: u64,
    /// Whether the refresh token before the present one is still taken.
    pub grace: bool,
    /// Added to honest answers.
    pub more: Value,
    /// Answers of the API to a good token wait for [`Authority::release`].
    pub hold_api: bool,
    /// How often tokens were granted; the present ones are named after it.
    pub generation: u64,
    /// What asked for tokens: the decoded body, and `authorization` where the header was there.
    pub asked: Vec<Value>,
    pub revoked: Vec<Value>,
    /// Requests to the API with the present token, and with another one.
    pub api_good: u64,
    pub api_refused: u64,
    /// Requests that are held now.
    pub held: usize,
    /// By which access tokens end; without one they are good until the next are granted.
    pub clock: Option<Clock>,
    /// When tokens were granted, by that clock.
    pub granted: Vec<Timestamp>,
    /// Refresh tokens that were not worth any.
    pub dead: u64,
    /// The token endpoint answers nothing but 503.
    pub down: bool,
    script: VecDeque<Fault>,
    released: u64,
}

/// A running authority. It serves until the test process ends.
#[derive(Clone)]
pub struct Authority {
    address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Authority {
    /// # Errors
    /// Where no port is free.
    pub fn start() -> io::Result<Authority> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let state = State {
            access_seconds: 3600,
            grace: false,
            more: json!({}),
            hold_api: false,
            generation: 0,
            asked: Vec::new(),
            revoked: Vec::new(),
            api_good: 0,
            api_refused: 0,
            held: 0,
            clock: None,
            granted: Vec::new(),
            dead: 0,
            down: false,
            script: VecDeque::new(),
            released: 0,
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let authority = Authority { address: listener.local_addr()?, shared };
        let serving = authority.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let authority = serving.clone();
                // A client that goes away in the middle is its own business.
                thread::spawn(move || drop(authority.serve(stream)));
            }
        });
        Ok(authority)
    }

    pub fn host_port(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next requests to the token endpoint meet these, one each.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().script.extend(faults);
    }

    /// Lets everything go on that is held.
    pub fn release(&self) {
        let mut state = self.state();
        state.released += 1;
        state.hold_api = false;
        drop(state);
        self.shared.1.notify_all();
    }

    /// Waits until the state is as wanted.
    ///
    /// # Panics
    /// After a minute.
    #[track_caller]
    pub fn wait(&self, what: &str, wanted: impl Fn(&State) -> bool) {
        let begin = Instant::now();
        while !wanted(&self.state()) {
            assert!(begin.elapsed() < DEADLINE, "waited for {what}: {:#?}", self.state());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The tokens that are good now.
    pub fn tokens(&self) -> (String, String) {
        let generation = self.state().generation;
        (access(generation), refresh(generation))
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let request = read(&mut stream)?;
        let path = request.target.split('?').next().unwrap_or_default();
        match path {
            "/token" => self.token(stream, &request),
            "/revoke" => {
                let asked = seen(&request);
                self.state().revoked.push(asked);
                answer(&mut stream, 200, &[], "")
            }
            _ if path.starts_with("/api/") => self.api(stream, &request),
            _ => answer(&mut stream, 404, &[], "{}"),
        }
    }

    fn token(&self, mut stream: TcpStream, request: &Request) -> io::Result<()> {
        let form = seen(request);
        let fault = {
            let mut state = self.state();
            state.asked.push(form.clone());
            match state.down {
                true => Some(Fault::answer(503, "{}")),
                false => state.script.pop_front(),
            }
        };
        match fault {
            Some(Fault::Answer { status, headers, body }) => {
                return answer(&mut stream, status, &headers, &body);
            }
            Some(Fault::CutBefore) => return Ok(()),
            Some(Fault::HoldBefore) => self.hold(),
            _ => {}
        }
        let granted = grant(&mut self.state(), &form);
        match fault {
            Some(Fault::CutAfter) => return Ok(()),
            Some(Fault::HoldAfter) => self.hold(),
            _ => {}
        }
        let Some(mut body) = granted else {
            return answer(&mut stream, 400, &[], r#"{"error":"invalid_grant"}"#);
        };
        if let (Some(Fault::Lay(over)), Some(body)) = (&fault, body.as_object_mut()) {
            for (name, value) in over.as_object().into_iter().flatten() {
                body.insert(name.clone(), value.clone());
            }
            body.retain(|_, value| !value.is_null());
        }
        answer(&mut stream, 200, &[], &body.to_string())
    }

    fn api(&self, mut stream: TcpStream, request: &Request) -> io::Result<()> {
        let good = {
            let mut state = self.state();
            let wanted = format!("Bearer {}", access(state.generation));
            let good = request.header("authorization") == Some(&wanted) && !state.has_ended();
            if good {
                state.api_good += 1
            } else {
                state.api_refused += 1
            }
            good
        };
        if !good {
            let challenge = "WWW-Authenticate: Bearer error=\"invalid_token\"".to_owned();
            return answer(&mut stream, 401, &[challenge], "{}");
        }
        if self.state().hold_api {
            self.hold();
        }
        let member = json!({
            "memberId": "M-1", "firstName": "Aoife", "lastName": "Byrne",
            "dateOfBirth": "1990-01-02", "membershipStatus": "Active",
        });
        let page = json!({"members": [member], "totalCount": 1, "page": 1, "hasMore": false});
        answer(&mut stream, 200, &[], &page.to_string())
    }

    fn hold(&self) {
        let mut state = self.state();
        let before = state.released;
        state.held += 1;
        while state.released == before {
            state = self.shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.held -= 1;
    }
}

impl State {
    /// Whether the present access token has had its time.
    fn has_ended(&self) -> bool {
        let (Some(clock), Some(granted)) = (&self.clock, self.granted.last()) else { return false };
        clock.now() >= *granted + Duration::from_secs(self.access_seconds)
    }
}

fn access(generation: u64) -> String {
    format!("canary-access-{generation}")
}

fn refresh(generation: u64) -> String {
    format!("canary-refresh-{generation}")
}

/// New tokens for what a form presents; none where it is not worth any.
fn grant(state: &mut State, form: &Value) -> Option<Value> {
    let presented = form["refresh_token"].as_str().unwrap_or_default();
    let good = match form["grant_type"].as_str() {
        Some("authorization_code") => form["code"] == "canary-code",
        Some("refresh_token") => {
            presented == refresh(state.generation)
                || state.grace && presented == refresh(state.generation.saturating_sub(1))
        }
        _ => false,
    };
    if !good {
        state.dead += 1;
        return None;
    }
    let now = state.clock.as_ref().map(Clock::now);
    state.granted.extend(now);
    state.generation += 1;
    let mut body = json!({
        "access_token": access(state.generation),
        "refresh_token": refresh(state.generation),
        "token_type": "bearer",
        "expires_in": state.access_seconds,
    });
    if let (Some(body), Some(more)) = (body.as_object_mut(), state.more.as_object()) {
        body.extend(more.clone());
    }
    Some(body)
}

pub(crate) struct Request {
    target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&String> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value)
    }
}

/// The form as an object, with the header of the client's proof.
fn seen(request: &Request) -> Value {
    let text = String::from_utf8_lossy(&request.body);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| crate::foireann::decoded(&text.replace('+', " "));
    let mut form: serde_json::Map<String, Value> =
        pairs.map(|(name, value)| (decoded(name), Value::String(decoded(value)))).collect();
    if let Some(authorization) = request.header("authorization") {
        form.insert("authorization".to_owned(), authorization.as_str().into());
    }
    form.into()
}

pub(crate) fn read(stream: &mut TcpStream) -> io::Result<Request> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break at;
        }
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk)?;
        if count == 0 || bytes.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..count]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    let missing = length.saturating_sub(body.len()) as u64;
    stream.take(missing).read_to_end(&mut body)?;
    Ok(Request { target: target.to_owned(), headers, body })
}

pub(crate) fn answer(
    stream: &mut TcpStream,
    status: u16,
    headers: &[String],
    body: &str,
) -> io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())
}

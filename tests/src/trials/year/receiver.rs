//! A receiver of notifications that remembers what it took, and may be away.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;
use syncline::clock::Clock;

use crate::authority;

/// One message that was taken.
#[derive(Debug, Clone)]
pub struct Message {
    pub at: Timestamp,
    pub id: String,
    /// How many events of each kind it tells of.
    pub kinds: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub struct State {
    pub taken: Vec<Message>,
    pub refused: u64,
    pub down: bool,
    /// What could not be understood.
    pub faults: Vec<String>,
}

/// It serves until the process ends.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    pub fn start(clock: Clock) -> anyhow::Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver = Receiver { address: listener.local_addr()?, state: Arc::default() };
        let state = Arc::clone(&receiver.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, clock) = (Arc::clone(&state), clock.clone());
                thread::spawn(move || {
                    let served = serve(stream, &state, &clock);
                    let fault = served.err().map(|fault| format!("{fault:#}"));
                    lock(&state).faults.extend(fault);
                });
            }
        });
        Ok(receiver)
    }

    pub fn host_port(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, clock: &Clock) -> anyhow::Result<()> {
    let request = authority::read(&mut stream)?;
    let status = {
        let mut state = lock(state);
        if state.down {
            state.refused += 1;
            503
        } else {
            let id = request.header("webhook-id").context("a message without an id")?;
            let body: Value = serde_json::from_slice(&request.body)?;
            let kinds = kinds(&body["data"])?;
            state.taken.push(Message { at: clock.now(), id: id.clone(), kinds });
            200
        }
    };
    Ok(authority::answer(&mut stream, status, &[], "{}")?)
}

fn kinds(data: &Value) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for event in data["events"].as_array().context("no events")? {
        let kind = event["kind"].as_str().context("an event without a kind")?;
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    for (kind, count) in data["more"].as_object().into_iter().flatten() {
        *kinds.entry(kind.clone()).or_default() += count.as_u64().unwrap_or(0);
    }
    Ok(kinds)
}

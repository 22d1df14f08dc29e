//! Whole commands against a scripted server: what they send, print and end with.

mod surface;
mod verbs;

use super::output::Io;
use super::problem::Exit;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as the server saw it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    /// Method, path and query.
    line: String,
    authorization: String,
    if_match: String,
    content_type: String,
    body: String,
}

/// One exchange: the expected request line and the answer.
type Step = (&'static str, u16, Value);

/// Answers the steps in order, each on a connection of its own, then stops listening.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(steps: Vec<Step>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let thread = std::thread::spawn(move || {
            for (_, status, answer) in steps {
                let (stream, _) = listener.accept().unwrap();
                log.lock().unwrap().push(serve_one(stream, status, &answer));
            }
        });
        Server { address, seen, thread }
    }

    fn finish(self) -> Vec<Seen> {
        self.thread.join().unwrap();
        self.seen.lock().unwrap().clone()
    }
}

fn serve_one(mut stream: TcpStream, status: u16, answer: &Value) -> Seen {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut seen = Seen::default();
    let mut length = 0;
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    seen.line = line.trim_end().trim_end_matches(" HTTP/1.1").replace("/api/v1", "");
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "authorization" => seen.authorization = value.to_owned(),
            "if-match" => seen.if_match = value.to_owned(),
            "content-type" => seen.content_type = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    seen.body = String::from_utf8_lossy(&body).into_owned();
    let body = if answer.is_null() { String::new() } else { answer.to_string() };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\netag: \"v7\"\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    seen
}

/// What a command left behind.
#[derive(Debug)]
struct Ended {
    exit: Exit,
    out: String,
    err: String,
}

fn command(args: &[&str], environment: &[(&str, &str)], input: &str) -> Ended {
    let args = std::iter::once("syncline").chain(args.iter().copied()).map(OsString::from);
    let environment = environment.iter().map(|(n, v)| (OsString::from(n), OsString::from(v)));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let io = Io {
        out: &mut out,
        err: &mut err,
        input: &mut input.as_bytes(),
        err_terminal: false,
        color: false,
    };
    let exit = super::run(args.collect(), environment.collect(), io);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { exit, out: text(out), err: text(err) }
}

/// Runs a command against a script and checks each request line.
#[track_caller]
fn against(steps: Vec<Step>, args: &[&str], input: &str) -> (Ended, Vec<Seen>) {
    let expected: Vec<&str> = steps.iter().map(|(line, ..)| *line).collect();
    let server = Server::start(steps);
    let environment = [
        ("SYNCLINE_SERVER", server.address.as_str()),
        ("SYNCLINE_TOKEN", "token-1"),
        ("FEDERATION_KEY", "key-from-variable"),
        // A proxy that nobody should ask.
        ("HTTP_PROXY", "http://127.0.0.1:1"),
    ];
    let ended = command(args, &environment, input);
    if ended.exit == Exit::Unreachable {
        panic!("the script ran out: {ended:?}");
    }
    let seen = server.finish();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(lines, expected);
    assert!(seen.iter().all(|seen| seen.authorization == "Bearer token-1"));
    (ended, seen)
}

fn body(seen: &Seen) -> Value {
    serde_json::from_str(&seen.body).unwrap()
}

fn list(items: Value) -> Value {
    json!({ "items": items, "nextCursor": null })
}

const CONNECTORS: &str = "GET /connectors?limit=200";
const ORGANIZATIONS: &str = "GET /organizations?limit=200";

fn connectors() -> Step {
    (CONNECTORS, 200, list(json!([{"id": "con_1", "name": "main"}, {"id": "con_2", "name": "b"}])))
}

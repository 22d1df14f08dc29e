//! A server that plays a script, byte by byte where a test wants it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Counted over all connections, from 0.
    pub(super) index: usize,
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }
}

/// One thing that the server does in answer.
pub(super) enum Step {
    Send(Vec<u8>),
    /// Sends the same bytes until the client goes away.
    Flood(Vec<u8>),
    /// Sends the same bytes now and then until the client goes away.
    Trickle(Vec<u8>),
    /// Does nothing until the client goes away.
    Hang,
    Close,
    /// Breaks the connection off with a TCP reset.
    Reset,
}

type Script = dyn Fn(&Seen) -> Vec<Step> + Send + Sync;

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    arrived: watch::Sender<usize>,
    left: watch::Sender<usize>,
    connections: AtomicUsize,
}

pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

impl Server {
    pub(super) async fn start(
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::new(Vec::new()),
            arrived: watch::Sender::new(0),
            left: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    serve(stream, &shared).await;
                    shared.left.send_modify(|count| *count += 1);
                });
            }
        });
        Server { address, shared, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns once `count` requests have arrived.
    pub(super) async fn arrived(&self, count: usize) {
        self.shared.arrived.subscribe().wait_for(|arrived| *arrived >= count).await.unwrap();
    }

    /// Returns once `count` connections have ended.
    pub(super) async fn left(&self, count: usize) {
        self.shared.left.subscribe().wait_for(|left| *left >= count).await.unwrap();
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut buffer = Vec::new();
    while let Some(mut seen) = receive(&mut stream, &mut buffer).await {
        {
            let mut all = shared.seen.lock().unwrap();
            seen.index = all.len();
            all.push(seen.clone());
        }
        shared.arrived.send_modify(|count| *count += 1);
        for step in (shared.script)(&seen) {
            let alive = match step {
                Step::Send(bytes) => stream.write_all(&bytes).await.is_ok(),
                Step::Flood(bytes) => {
                    while stream.write_all(&bytes).await.is_ok() {}
                    false
                }
                Step::Trickle(bytes) => {
                    while stream.write_all(&bytes).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    false
                }
                Step::Hang => {
                    let mut rest = [0; 64];
                    while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
                    false
                }
                Step::Close => false,
                Step::Reset => {
                    stream.set_zero_linger().unwrap();
                    false
                }
            };
            if !alive {
                return;
            }
        }
    }
}

async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let seen = Seen { index: 0, method, target, headers, body: Vec::new() };
    let length: usize = seen.header("content-length").map_or(0, |value| value.parse().unwrap());
    while buffer.len() < end + 4 + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    Some(Seen { body, ..seen })
}

/// A whole answer with these further header lines.
pub(super) fn answer(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<Step> {
    let body = body.as_ref();
    let mut bytes = head(status, headers, &format!("content-length: {}", body.len()));
    bytes.extend_from_slice(body);
    vec![Step::Send(bytes)]
}

/// The head of an answer; `framing` is its last header line.
pub(super) fn head(status: u16, headers: &[&str], framing: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} X\r\n");
    for header in headers.iter().chain([&framing]) {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

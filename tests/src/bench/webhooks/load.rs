//! Senders: connections that each send one signed delivery behind the other and note how long the answers take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use syncline::signature::{Verifier, shipped, sign};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{BODY_BYTES, SECRET};

/// No two deliveries of this process are the same, whichever load they belong to: one that came before costs less.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Of an answer's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Where and how fast.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub path: String,
    pub connections: usize,
    /// Time from one delivery of a connection to its next, where it is not sent at once.
    pub every: Option<Duration>,
}

/// One answered delivery.
#[derive(Clone, Copy)]
pub struct Answered {
    pub at: jiff::Timestamp,
    pub took: Duration,
}

/// What a load came to.
pub struct Outcome {
    pub answered: Vec<Answered>,
    pub seconds: f64,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.answered.len() as f64 / self.seconds
    }

    /// Milliseconds below which that share of the answers stayed; of those that ended within `during`, where it is given.
    pub fn percentile(
        &self,
        share: f64,
        during: Option<(jiff::Timestamp, jiff::Timestamp)>,
    ) -> Option<f64> {
        let within =
            |answer: &&Answered| during.is_none_or(|(from, to)| (from..=to).contains(&answer.at));
        let mut times: Vec<Duration> =
            self.answered.iter().filter(within).map(|answer| answer.took).collect();
        times.sort_unstable();
        let at = ((times.len() as f64 * share).ceil() as usize).checked_sub(1)?;
        Some(times.get(at)?.as_secs_f64() * 1_000.0)
    }
}

/// Sends until `stop` says so, on a runtime of one thread.
pub fn run(load: &Load, stop: &Arc<AtomicBool>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let verifier = shipped("standard").context("the scheme is not there")?;
    let started = Instant::now();
    let answered = runtime.block_on(async {
        let mut senders = tokio::task::JoinSet::new();
        for number in 0..load.connections {
            let (load, verifier, stop) = (load.clone(), Arc::clone(&verifier), Arc::clone(stop));
            senders.spawn(async move {
                if let Some(every) = load.every {
                    // Spread over the interval.
                    tokio::time::sleep(every.mul_f64(number as f64 / load.connections as f64))
                        .await;
                }
                send(&load, &verifier, &stop).await
            });
        }
        let mut answered = Vec::new();
        while let Some(done) = senders.join_next().await {
            answered.extend(done??);
        }
        anyhow::Ok(answered)
    })?;
    Ok(Outcome { answered, seconds: started.elapsed().as_secs_f64() })
}

/// The same for so long.
pub fn for_seconds(load: &Load, seconds: f64) -> anyhow::Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    let bell = Arc::clone(&stop);
    let timer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs_f64(seconds));
        bell.store(true, Ordering::Relaxed);
    });
    let outcome = run(load, &stop);
    let _ = timer.join();
    outcome
}

async fn send(
    load: &Load,
    verifier: &Verifier,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Answered>> {
    let mut stream = TcpStream::connect(load.address).await?;
    stream.set_nodelay(true)?;
    let (mut answered, mut buffer) = (Vec::new(), Vec::with_capacity(HEAD_BYTES_MAX));
    while !stop.load(Ordering::Relaxed) {
        let request = request(load, verifier, NUMBERS.fetch_add(1, Ordering::Relaxed))?;
        let begun = Instant::now();
        stream.write_all(&request).await?;
        let status = answer(&mut stream, &mut buffer).await?;
        let took = begun.elapsed();
        if status != 200 {
            bail!("a delivery was answered {status}: {}", String::from_utf8_lossy(&buffer));
        }
        answered.push(Answered { at: jiff::Timestamp::now(), took });
        if let Some(every) = load.every {
            tokio::time::sleep(every.saturating_sub(took)).await;
        }
    }
    Ok(answered)
}

fn request(load: &Load, verifier: &Verifier, number: u64) -> anyhow::Result<Vec<u8>> {
    let mut body = format!(
        r#"{{"federationOrgId":"club-1","memberId":"M-{number}","event":"updated","padding":""#
    );
    body.extend(std::iter::repeat_n('x', BODY_BYTES.saturating_sub(body.len() + 2)));
    body.push_str("\"}");
    let now = jiff::Timestamp::now().as_millisecond();
    let signed = sign(verifier, SECRET, &format!("msg_{number}"), now, body.as_bytes())?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        load.path,
        body.len()
    );
    for (name, value) in &signed.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut request = head.into_bytes();
    request.extend_from_slice(&signed.body);
    Ok(request)
}

/// Reads one answer and gives its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<u16> {
    buffer.clear();
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
        if buffer.len() > HEAD_BYTES_MAX || stream.read_buf(buffer).await? == 0 {
            bail!("the answer has no end");
        }
    };
    let head = String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.unwrap_or("0").trim().parse()?;
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the answer ended before its end");
        }
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.context("an answer without a status")
}

//! WASI for connectors: what ordinary toolchains import, with nothing behind it.
//!
//! No environment, arguments, files or sockets; clocks stand still, random numbers repeat, stdout and stderr end in a
//! bounded tail. A connector is a function of its request, also where its standard library is not.

use bytes::Bytes;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

/// Any bytes do: hash maps want a seed, and a fixed one makes runs repeatable.
const SEED: [u8; 16] = *b"syncline-plugin.";
const RANDOM_BYTES_MAX: u64 = 64 << 10;
const WRITE_BYTES_MAX: usize = 64 << 10;

/// The context of one session.
pub(in crate::plugin) fn context(stdout: &Tail, stderr: &Tail) -> WasiCtx {
    WasiCtx::builder()
        .stdout(stdout.clone())
        .stderr(stderr.clone())
        .wall_clock(StoppedClock)
        .monotonic_clock(StoppedClock)
        .secure_random(Deterministic::new(SEED.to_vec()))
        .insecure_random(Deterministic::new(SEED.to_vec()))
        .insecure_random_seed(u128::from_le_bytes(SEED))
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .build()
}

/// The only clock of a plugin is the `started-at` of its context.
struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}

/// The last bytes of an output stream; the beginning is forgotten, and the guest never waits.
#[derive(Clone)]
pub(in crate::plugin) struct Tail {
    bytes_max: usize,
    bytes: Arc<Mutex<VecDeque<u8>>>,
}

impl Tail {
    pub(in crate::plugin) fn new(bytes_max: usize) -> Tail {
        Tail { bytes_max, bytes: Arc::default() }
    }

    /// What is there, which is then forgotten.
    pub(in crate::plugin) fn take(&self) -> String {
        let bytes: Vec<u8> = self.lock().drain(..).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn append(&self, new: &[u8]) {
        let mut bytes = self.lock();
        let new = &new[new.len().saturating_sub(self.bytes_max)..];
        let over = (bytes.len() + new.len()).saturating_sub(self.bytes_max);
        bytes.drain(..over);
        bytes.extend(new);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Tail {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Tail {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Tail {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Pollable for Tail {
    fn ready<'life0, 'async_trait>(
        &'life0 mut self,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(std::future::ready(()))
    }
}

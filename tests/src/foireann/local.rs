//! The federation in the process of its user, who changes its state directly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use super::server::{Settings, World, serve};

/// A federation that serves until it is dropped.
pub struct Local {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    _runtime: tokio::runtime::Runtime,
}

impl Local {
    pub fn start(settings: Settings) -> anyhow::Result<Local> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("federation")
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let world = Arc::new(Mutex::new(World::new(settings, Vec::new())));
        runtime.spawn(serve(listener, Arc::clone(&world)));
        Ok(Local { address, world, _runtime: runtime })
    }

    /// `127.0.0.1:PORT`.
    pub fn host_port(&self) -> String {
        self.address.to_string()
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets fields of a member, in every club that has it.
    pub fn patch(&self, id: &str, fields: &Value) -> anyhow::Result<()> {
        let set: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&fields.to_string())?;
        Ok(self.world().roster.patch(None, id, &set, &[])?)
    }

    pub fn delete(&self, id: &str) -> anyhow::Result<()> {
        Ok(self.world().roster.delete(None, id)?)
    }

    /// Adds generated members with the numbers `from..=to` at the end of a club's list.
    pub fn add(&self, club: &str, from: u64, to: u64) -> anyhow::Result<()> {
        let mut world = self.world();
        let seed = world.roster.seed();
        let row = |number| super::generate::list_record(seed, number).into_boxed_str();
        world.roster.club(club)?.append((from..=to).map(row));
        Ok(())
    }

    /// A club's members as they are now, in the order of the list.
    pub fn members(&self, club: &str) -> anyhow::Result<Vec<Value>> {
        let mut world = self.world();
        let rows = world.roster.club(club)?.rows().iter();
        rows.map(|row| serde_json::from_str(row).context("a member is no JSON")).collect()
    }
}

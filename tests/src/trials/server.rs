//! The host in this process: on a runtime of its own, so that it can be stopped in order or be gone at once.

use std::path::Path;
use std::time::Duration;

use syncline::app::{self, Running, StartOptions};
use syncline::config::Config;
use tokio::runtime::Runtime;

use super::api::Api;

/// How long threads that may block get to notice that their server is gone.
const VANISH_MAX: Duration = Duration::from_secs(30);

/// A server that accepts requests.
pub struct Server {
    runtime: Runtime,
    running: Running,
    pub api: Api,
}

fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(2).thread_name("host").enable_all().build()?)
}

/// Makes a data directory and answers its token.
pub fn init(config: &Config, directory: &Path) -> anyhow::Result<String> {
    Ok(runtime()?.block_on(app::init(config, directory, None))?.token)
}

impl Server {
    pub fn start(
        config: &Config,
        directory: &Path,
        token: &str,
        options: StartOptions,
    ) -> anyhow::Result<Server> {
        let runtime = runtime()?;
        let options = StartOptions { plugins_dir: config.plugins_dir(directory), ..options };
        match runtime.block_on(app::start(config.clone(), directory, options)) {
            Ok(running) => {
                let api = Api { address: running.local_addr(), token: token.to_owned() };
                Ok(Server { runtime, running, api })
            }
            Err(error) => {
                runtime.shutdown_timeout(VANISH_MAX);
                Err(error.into())
            }
        }
    }

    /// As on SIGTERM.
    pub fn stop(self) {
        let Server { runtime, running, .. } = self;
        runtime.block_on(running.shutdown());
        runtime.shutdown_timeout(VANISH_MAX);
    }

    /// As when the process ends: nothing is finished, nobody is told.
    pub fn vanish(self) {
        let Server { runtime, running, .. } = self;
        drop(running);
        runtime.shutdown_timeout(VANISH_MAX);
    }
}

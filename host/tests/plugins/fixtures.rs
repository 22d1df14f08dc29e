//! Hostile components, an engine, and ways out that a test can watch.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use syncline::model::RemotePage;
use syncline::model::http::{HttpFailure, HttpRequest, HttpResponse, Outbound};
use syncline::model::remote::{CallContext, PageRequest};
use syncline::plugin::{ConnectorSession, Engine, Error, Limits, Loaded, load};

/// What the connector's marker says when nothing is patched.
const MARKER: &str = "syncline-hostile:";
const MARKER_LEN: usize = 40;

static CONNECTOR: LazyLock<Vec<u8>> = LazyLock::new(|| build("hostile-connector", "wasm32-wasip2"));
static STRATEGY: LazyLock<Vec<u8>> =
    LazyLock::new(|| build("hostile-strategy", "wasm32-unknown-unknown"));
/// One directory for the whole binary: compiling is the slow part of these tests.
static CACHE: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

pub(crate) fn hostile_connector() -> &'static [u8] {
    &CONNECTOR
}

pub(crate) fn hostile_strategy() -> &'static [u8] {
    &STRATEGY
}

/// The hostile connector with another word in its marker: another component, which goes wrong elsewhere.
pub(crate) fn variant(word: &str) -> Vec<u8> {
    let mut bytes = CONNECTOR.clone();
    let marker = format!("{MARKER}{word}");
    assert!(marker.len() <= MARKER_LEN, "the marker has no room for {word}");
    let at = bytes
        .windows(MARKER.len())
        .position(|window| window == MARKER.as_bytes())
        .expect("the component has a marker");
    let padded = format!("{marker:.<MARKER_LEN$}");
    bytes[at..at + MARKER_LEN].copy_from_slice(padded.as_bytes());
    bytes
}

/// A nested cargo, as in `host/build.rs`.
fn build(package: &str, target: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // The one of the bundled components, whose dependencies are built there already.
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("components");
    let built = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--profile", "component", "--package", package])
        .args(["--target", target, "--target-dir"])
        .arg(&target_dir)
        // The linker that makes a component also where no WASI is wanted.
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", component_linker())
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{package}: {}", String::from_utf8_lossy(&built.stderr));
    let file = format!("{}.wasm", package.replace('-', "_"));
    std::fs::read(target_dir.join(target).join("component").join(file)).unwrap()
}

fn component_linker() -> PathBuf {
    let rustc = |arguments: &[&str]| {
        let output = Command::new("rustc").args(arguments).output().expect("rustc runs");
        String::from_utf8(output.stdout).unwrap()
    };
    let sysroot = rustc(&["--print", "sysroot"]);
    let version = rustc(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/wasm-component-ld")
}

pub(crate) fn engine(limits: Limits) -> Arc<Engine> {
    Engine::new(Some(CACHE.path()), limits).unwrap()
}

pub(crate) async fn connector(limits: Limits) -> Arc<Loaded> {
    load(&engine(limits), hostile_connector().into()).await.unwrap()
}

pub(crate) async fn strategy(limits: Limits) -> Arc<Loaded> {
    load(&engine(limits), hostile_strategy().into()).await.unwrap()
}

pub(crate) fn context(behaviour: &str) -> CallContext {
    CallContext {
        config: format!(r#"{{"behave":"{behaviour}"}}"#),
        started_at: "2026-02-28T10:00:00Z".to_owned(),
        ..CallContext::default()
    }
}

pub(crate) fn request(records_max: u32) -> PageRequest {
    let (entity, mode) = ("member".to_owned(), "full".to_owned());
    PageRequest { entity, mode, records_max, ..PageRequest::default() }
}

/// One page of a fresh session.
pub(crate) async fn page_of(
    loaded: &Arc<Loaded>,
    behaviour: &str,
    records_max: u32,
) -> Result<RemotePage, Error> {
    let mut session = ConnectorSession::open(loaded, Counting::answering()).await.unwrap();
    session.fetch_page(&context(behaviour), &request(records_max)).await
}

/// A way out that counts, and answers at once or never.
#[derive(Default)]
pub(crate) struct Counting {
    hangs: bool,
    pub(crate) sent: AtomicU32,
    pub(crate) hinted: AtomicU32,
}

impl Counting {
    pub(crate) fn answering() -> Arc<Counting> {
        Arc::default()
    }

    pub(crate) fn hanging() -> Arc<Counting> {
        Arc::new(Counting { hangs: true, ..Counting::default() })
    }
}

impl Outbound for Counting {
    fn send(
        &self,
        _request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFailure>> + Send + '_>> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            Ok(HttpResponse { status: 204, ..HttpResponse::default() })
        })
    }

    fn prefetch(&self, _request: HttpRequest) {
        self.hinted.fetch_add(1, Ordering::Relaxed);
    }
}

/// Short budgets, so that the tests are quick; every other limit as shipped.
pub(crate) fn short() -> Limits {
    Limits {
        cpu_millis_max: 200,
        wall_millis_max: 3_000,
        describe_cpu_millis_max: 200,
        describe_wall_millis_max: 3_000,
        ..Limits::default()
    }
}

/// Far more than any limit allows, on a machine that does other things as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Resident memory of this process.
pub(crate) fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

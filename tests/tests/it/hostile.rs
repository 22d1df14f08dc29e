//! Components that only tests have, built when they are first wanted: the connector that misbehaves on request
//! (`tests/hostile/connector`), and one of many companies' books (`tests/books`).

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

const TARGET: &str = "wasm32-wasip2";

static CONNECTOR: LazyLock<Vec<u8>> = LazyLock::new(|| build("hostile-connector"));
static BOOKS: LazyLock<Vec<u8>> = LazyLock::new(|| build("books-connector"));

pub(crate) fn connector() -> &'static [u8] {
    &CONNECTOR
}

pub(crate) fn books() -> &'static [u8] {
    &BOOKS
}

/// A nested cargo in the target directory of the bundled components, whose dependencies are built there already.
fn build(package: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("components");
    let built = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--profile", "component", "--package", package])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let file = format!("{}.wasm", package.replace('-', "_"));
    std::fs::read(target_dir.join(TARGET).join("component").join(file)).expect("the component")
}

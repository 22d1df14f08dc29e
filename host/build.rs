//! Builds the bundled plugins as components and makes them part of the binary.
//!
//! Owns the nested cargo: its targets, its environment and its target directory. It knows no plugin by name: every
//! directory below `plugins/connectors` and `plugins/strategies` is one. `src/plugin/embedded.rs` includes the result.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A directory of plugins and the target that they are built for.
struct Group {
    directory: &'static str,
    target: &'static str,
}

/// The standard library of `wasip2` brings a few WASI imports along, which the host answers with nothing. Strategies
/// must not import anything, so that they are built for a target without WASI, by the linker that makes components.
const GROUPS: [Group; 2] = [
    Group { directory: "connectors", target: "wasm32-wasip2" },
    Group { directory: "strategies", target: "wasm32-unknown-unknown" },
];

const PROFILE: &str = "component";

/// What the nested cargo must not inherit: flags and wrappers of the outer build (clippy's among them) and what cargo
/// tells a build script about its own package.
const LEAKING: [&str; 19] = [
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_ENCODED_RUSTDOCFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_INCREMENTAL",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
    "TARGET",
    "HOST",
    "PROFILE",
    "OPT_LEVEL",
    "DEBUG",
    "NUM_JOBS",
    "RUSTC_LINKER",
    "CARGO_UNSTABLE_BUILD_STD",
    "CARGO_BIN_NAME",
];
const LEAKING_PREFIXES: [&str; 7] = [
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "DEP_",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = manifest_dir.parent().ok_or("the host crate must be inside the workspace")?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let target_dir = components_dir(&out_dir)?;
    let sysroot = sysroot()?;
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["plugins", "plugin-sdk", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"]
    {
        let path = root.join(name);
        // A path that does not exist would make every build run this again.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }

    let mut embedded = String::from("pub static COMPONENTS: &[EmbeddedComponent] = &[\n");
    for group in &GROUPS {
        let packages = packages(&root.join("plugins").join(group.directory))?;
        if packages.is_empty() {
            continue;
        }
        ensure_target(&sysroot, group.target)?;
        run_cargo(root, &target_dir, &sysroot, group, &packages)?;
        for package in &packages {
            let built = target_dir
                .join(group.target)
                .join(PROFILE)
                .join(format!("{}.wasm", package.replace('-', "_")));
            let file = format!("{package}.wasm");
            fs::copy(&built, out_dir.join(&file)).map_err(|error| {
                format!("the component {} cannot be read: {error}", built.display())
            })?;
            let name = if group.directory == "strategies" {
                package.replace('-', "_")
            } else {
                package.clone()
            };
            let bytes = format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))");
            let _ =
                writeln!(embedded, "    EmbeddedComponent {{ name: \"{name}\", bytes: {bytes} }},");
        }
    }
    embedded.push_str("];\n");
    let file = out_dir.join("embedded.rs");
    fs::write(&file, embedded)
        .map_err(|error| format!("{} cannot be written: {error}", file.display()))
}

/// A target directory of its own beside the profiles of the outer build, whose lock is held while this runs. Debug and
/// release share it: components are always built in the same way.
fn components_dir(out_dir: &Path) -> Result<PathBuf, String> {
    // <target>/[<triple>/]<profile>/build/<package>/out
    let above = out_dir.ancestors().nth(4).ok_or("OUT_DIR is not where cargo puts it")?;
    let target = variable("TARGET")?;
    let target_dir = if above.ends_with(&target) { above.parent().unwrap_or(above) } else { above };
    Ok(target_dir.join("components"))
}

/// The packages below a directory, sorted. A package is named like its directory.
fn packages(directory: &Path) -> Result<Vec<String>, String> {
    let unreadable = |error| format!("{} cannot be read: {error}", directory.display());
    let mut packages = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.path().join("Cargo.toml").is_file() {
            packages.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    packages.sort();
    Ok(packages)
}

fn sysroot() -> Result<PathBuf, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(&rustc).args(["--print", "sysroot"]).output();
    let output =
        output.map_err(|error| format!("{} cannot be run: {error}", rustc.to_string_lossy()))?;
    if !output.status.success() {
        return Err(format!(
            "`rustc --print sysroot` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Adds the target's standard library where rustup may.
fn ensure_target(sysroot: &Path, target: &str) -> Result<(), String> {
    let installed = || sysroot.join("lib/rustlib").join(target).join("lib").is_dir();
    if installed() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]);
    let mut by_hand = format!("rustup target add {target}");
    if let Some(toolchain) = env::var("RUSTUP_TOOLCHAIN").ok().filter(|name| !name.is_empty()) {
        rustup.args(["--toolchain", &toolchain]);
        let _ = write!(by_hand, " --toolchain {toolchain}");
    }
    let reason = match rustup.output() {
        Ok(output) if output.status.success() && installed() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("rustup cannot be run: {error}"),
    };
    Err(format!(
        "the plugins need the Rust target `{target}`, which is not installed. Run `{by_hand}`, or install your \
         distribution's package of the standard library for that target. ({reason})"
    ))
}

fn run_cargo(
    root: &Path,
    target_dir: &Path,
    sysroot: &Path,
    group: &Group,
    packages: &[String],
) -> Result<(), String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if LEAKING.contains(&&*text)
            || LEAKING_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        {
            cargo.env_remove(&name);
        }
    }
    cargo.current_dir(root).args([
        "build",
        "--profile",
        PROFILE,
        "--target",
        group.target,
        "--target-dir",
    ]);
    cargo.arg(target_dir);
    if root.join("Cargo.lock").is_file() {
        cargo.arg("--locked");
    }
    for package in packages {
        cargo.args(["--package", package]);
    }
    if group.target == "wasm32-unknown-unknown" {
        let linker = sysroot
            .join("lib/rustlib")
            .join(variable("HOST")?)
            .join("bin")
            .join(format!("wasm-component-ld{}", env::consts::EXE_SUFFIX));
        if !linker.is_file() {
            return Err(format!("the toolchain has no component linker at {}", linker.display()));
        }
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    let output = cargo.output().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "the plugins in plugins/{} could not be built for {}:\n{}",
        group.directory,
        group.target,
        String::from_utf8_lossy(&output.stderr)
    ))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

//! Components that come over the API, the command line and the directory: what is no plugin is
//! refused in one sentence, and what is one runs after approval only.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline::plugin::{COMPONENTS, sha256_hex};
use syncline_tests::foireann::Options;
use syncline_tests::http::{Answer, Connection, Request};

use crate::fixture::{CLUB, Host, ORG, checked, federation, text};
use crate::rig::{program, signal};

pub(crate) const FOREIGN: &str = "xyz-foireann";

fn bundled(name: &str) -> Vec<u8> {
    let found = COMPONENTS.iter().find(|component| component.name == name);
    found.expect("a bundled component").bytes.to_vec()
}

/// Puts another text of equal length wherever one stands.
fn patched(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut times = 0;
    let mut at = 0;
    while let Some(next) = bytes[at..].windows(from.len()).position(|part| part == from.as_bytes())
    {
        at += next;
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        times += 1;
    }
    assert!(times > 0, "there is no {from:?}");
    bytes
}

/// The bundled connector under another name.
pub(crate) fn foreign() -> Vec<u8> {
    patched(bundled("gaa-foireann"), "gaa-foireann", FOREIGN)
}

#[track_caller]
pub(crate) fn upload(host: &Host, bytes: &[u8]) -> Answer {
    let authorization = format!("Bearer {}", host.token);
    let request = Request {
        method: "POST",
        target: "/api/v1/plugins",
        headers: &[("Authorization", &authorization), ("Content-Type", "application/wasm")],
        body: bytes,
    };
    let answer = Connection::open(host.address()).and_then(|mut server| server.send(&request));
    answer.expect("an answer to the upload")
}

fn named(host: &Host, name: &str) -> Vec<Value> {
    let mut rows = host.list("/plugins");
    rows.retain(|row| row["name"] == name);
    rows
}

/// A component of this text, as WebAssembly's text format has it.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a component in text form")
}

#[test]
fn what_is_no_plugin_is_refused_in_one_sentence() {
    let host = Host::start(&[]);
    let before = host.list("/plugins");
    let mut other_api = foreign();
    for interface in ["types", "http", "pull", "fetch"] {
        let (from, to) = (format!("plugin/{interface}@0.1.0"), format!("plugin/{interface}@0.9.0"));
        other_api = patched(other_api, &from, &to);
    }
    let importing = |import: &str, export: &str| {
        component(&format!(
            "(component (import \"{import}\" (instance)) (instance $i)
               (export \"syncline:plugin/{export}@0.1.0\" (instance $i)))"
        ))
    };
    let mut cut = foreign();
    cut.truncate(cut.len() / 2);
    let mut large = foreign();
    large.resize((16 << 20) + 1, 0);
    let manifest = patched(foreign(), FOREIGN, "XYZ foireann");
    let cases: [(&str, Vec<u8>, &str, &str); 11] = [
        ("nothing", Vec::new(), "plugin.not-wasm", "not WebAssembly"),
        ("text", b"MZ this is no component".to_vec(), "plugin.not-wasm", "not WebAssembly"),
        ("core module", b"\0asm\x01\0\0\0".to_vec(), "plugin.core-module", "wasm32-wasip2"),
        ("half a component", cut, "plugin.malformed", "damaged"),
        ("other version", other_api, "plugin.other-api", "0.9.0"),
        (
            "sockets",
            importing("wasi:sockets/tcp@0.2.6", "pull"),
            "plugin.import",
            "wasi:sockets/tcp",
        ),
        (
            "files",
            importing("wasi:filesystem/types@0.2.6", "pull"),
            "plugin.import",
            "wasi:filesystem",
        ),
        (
            "strategy with a clock",
            importing("wasi:clocks/wall-clock@0.2.6", "resolve"),
            "plugin.import",
            "strategy",
        ),
        ("neither kind", component("(component)"), "plugin.kind", "neither a connector nor"),
        ("bad manifest", manifest, "plugin.manifest", "/id"),
        ("too large", large, "plugin.component-too-large", "16777216"),
    ];
    for (name, bytes, code, words) in cases {
        let answer = upload(&host, &bytes);
        let problem = checked("POST", name, &answer, 422);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
        assert_eq!(problem["code"], code, "{name}: {problem:#}");
        let detail = text(&problem, "detail");
        assert!(detail.contains(words), "{name}: no {words:?} in {detail}");
        assert!(!detail.contains('\n') && detail.len() < 600, "{name}: {detail}");
        assert_eq!(host.list("/plugins"), before, "{name} left a row");
    }
    let directory = host.data_dir().join("plugins");
    let files = fs::read_dir(directory).map_or(0, Iterator::count);
    assert_eq!(files, 0, "an upload that was refused left a file");
}

/// A body that is too large for any other address is refused in the same form.
#[test]
fn a_body_that_is_too_large_is_a_problem_too() {
    let host = Host::with_config(&[], "[limits]\nrequestBodyBytesMax = 2000\n");
    let body = json!({"name": "x".repeat(3_000)});
    let answer = host.send("POST", "/organizations", &[], &body);
    let problem = checked("POST", "/organizations", &answer, 413);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(problem["code"], "body.too-large", "{problem:#}");
}

#[test]
fn a_foreign_component_runs_after_approval_and_is_pinned() {
    let sim = federation(Options::members(12));
    let mut host = Host::start(&[sim.host_port()]);
    let bytes = foreign();
    let sha256 = sha256_hex(&bytes);
    let installed = checked("POST", "/plugins", &upload(&host, &bytes), 201);
    assert_eq!(installed["state"], "pending", "{installed:#}");
    assert_eq!(installed["sha256"], sha256, "{installed:#}");
    assert_eq!(installed["name"], FOREIGN, "{installed:#}");
    assert_eq!(installed["kind"], "connector", "{installed:#}");
    assert_eq!(installed["asks"]["hosts"], json!(["{baseUrl}"]), "{installed:#}");
    checked("POST", "again", &upload(&host, &bytes), 201);
    assert_eq!(named(&host, FOREIGN).len(), 1, "the same bytes are installed once");

    host.create_organization(ORG);
    let wanted = json!({"plugin": FOREIGN});
    let refused = host.call("POST", "/connectors", &connector(&sim.base_url()), 422);
    assert_eq!(refused["errors"][0]["pointer"], "/plugin", "{refused:#}");
    host.call("POST", "/plugins/no-such-plugin/approve", &json!({}), 404);
    let other = json!({"sha256": "0".repeat(64)});
    host.call("POST", &format!("/plugins/{FOREIGN}/approve"), &other, 404);
    host.call("POST", &format!("/plugins/{FOREIGN}/activate"), &json!({"sha256": sha256}), 409);

    let approved = host.call("POST", &format!("/plugins/{FOREIGN}/approve"), &json!({}), 200);
    assert_eq!(approved["state"], "active", "{approved:#}");
    assert_eq!(approved["approvedBy"], "admin", "{approved:#}");
    let connector = host.create_connector(&sim.base_url(), wanted);
    host.connect(ORG, &connector, CLUB, json!({}));
    let run = host.sync(ORG, &connector, json!({}));
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(run["plugin"], json!({"name": FOREIGN, "sha256": sha256}));

    let lock = fs::read_to_string(host.data_dir().join("plugins.lock")).expect("a lock file");
    assert!(lock.contains(&sha256) && lock.contains(FOREIGN), "{lock}");
    host.restart();
    assert_eq!(named(&host, FOREIGN)[0]["state"], "active", "the pin survives a restart");
    assert_eq!(host.sync(ORG, &connector, json!({}))["status"], "completed");

    // Another file under the same name waits for its own approval; the old one serves on.
    let mut newer = bytes.clone();
    newer.extend_from_slice(&[0, 5, 4, b'n', b'o', b't', b'e']);
    let pending = checked("POST", "/plugins", &upload(&host, &newer), 201);
    assert_eq!(pending["state"], "pending", "{pending:#}");
    let run = host.sync(ORG, &connector, json!({}));
    assert_eq!(run["plugin"]["sha256"], sha256, "{run:#}");
    host.call("POST", &format!("/plugins/{FOREIGN}/approve"), &json!({}), 200);
    let run = host.sync(ORG, &connector, json!({}));
    assert_eq!(run["plugin"]["sha256"], sha256_hex(&newer), "{run:#}");
    host.call("POST", &format!("/plugins/{FOREIGN}/activate"), &json!({"sha256": sha256}), 200);
    let run = host.sync(ORG, &connector, json!({}));
    assert_eq!(run["plugin"]["sha256"], sha256, "the older one is back: {run:#}");
}

fn connector(base_url: &str) -> Value {
    json!({
        "name": "Foreign", "federationCode": "xyz", "plugin": FOREIGN, "authType": "apiKey",
        "endpoints": {"baseUrl": base_url}, "credentials": {"apiKey": "k"},
    })
}

#[test]
fn files_of_the_directory_are_pending_or_rejected() {
    let mut host = Host::start(&[]);
    let directory = host.data_dir().join("plugins");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("broken.wasm"), b"no component").expect("written");
    fs::write(directory.join("module.wasm"), b"\0asm\x01\0\0\0").expect("written");
    fs::write(directory.join("mine.wasm"), foreign()).expect("written");
    fs::write(directory.join("readme.txt"), b"not looked at").expect("written");
    for round in ["reloaded", "restarted"] {
        if round == "reloaded" {
            host.call("POST", "/plugins/reload", &json!({}), 200);
        } else {
            host.restart();
        }
        for (name, words) in [("broken", "not WebAssembly"), ("module", "core WebAssembly module")]
        {
            let rows = named(&host, name);
            assert_eq!(rows.len(), 1, "{round}: {name}");
            assert_eq!(rows[0]["state"], "rejected", "{round}: {}", rows[0]);
            assert!(text(&rows[0], "reason").contains(words), "{round}: {}", rows[0]);
        }
        assert_eq!(named(&host, FOREIGN)[0]["state"], "pending", "{round}");
        assert_eq!(host.list("/plugins").len(), COMPONENTS.len() + 3, "{round}");
    }
    host.call("POST", "/plugins/broken/approve", &json!({}), 404);
    host.call("POST", &format!("/plugins/{FOREIGN}/approve"), &json!({}), 200);

    // A bad file over an approved one leaves the approved version serving.
    fs::write(directory.join("mine.wasm"), b"half a fi").expect("written");
    host.call("POST", "/plugins/reload", &json!({}), 200);
    let rows = named(&host, FOREIGN);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0]["state"], "active", "{rows:#?}");
    assert_eq!(named(&host, "mine")[0]["state"], "rejected");
}

/// `--dev` approves what lies in the directory, also what is put there later.
#[test]
fn dev_approves_and_reloads_by_itself() {
    let mut host = Host::start(&[]);
    host.kill();
    let directory = host.data_dir().join("plugins");
    fs::create_dir_all(&directory).expect("a directory");
    host.restart_with(&["--dev"]);
    assert_eq!(named(&host, FOREIGN).len(), 0);
    fs::write(directory.join("mine.wasm"), foreign()).expect("written");
    let begin = Instant::now();
    while named(&host, FOREIGN).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is not seen\n{}", host.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(named(&host, FOREIGN)[0]["state"], "active");
    assert!(!host.data_dir().join("plugins.lock").exists(), "development pins nothing");
    signal(host.process_id(), "TERM");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    host.restart();
    assert_eq!(named(&host, FOREIGN)[0]["state"], "pending", "without --dev it waits");
}

#[test]
fn the_command_line_inspects_installs_and_approves() {
    let host = Host::start(&[]);
    let directory = host.data_dir().join("elsewhere");
    fs::create_dir_all(&directory).expect("a directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).expect("written");
        path.to_string_lossy().into_owned()
    };
    let (good, bad) = (file("good.wasm", &foreign()), file("bad.wasm", b"garbage"));
    let server = format!("http://{}", host.address());
    let environment = [("SYNCLINE_SERVER", server.as_str()), ("SYNCLINE_TOKEN", &host.token)];
    let run = |arguments: &[&str]| {
        let output = program(arguments, &environment);
        let (out, err) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
        (output.status.code(), serde_json::from_slice::<Value>(&out).unwrap_or_default(), err)
    };
    let (code, seen, said) = run(&["plugin", "inspect", &good, "--json"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(seen["name"], FOREIGN, "{seen:#}");
    assert_eq!(named(&host, FOREIGN).len(), 0, "looking installs nothing");
    for verb in ["inspect", "install"] {
        let (code, _, said) = run(&["plugin", verb, &bad, "--json"]);
        assert_eq!(code, Some(1), "{verb}: {said}");
        assert!(said.contains("not WebAssembly"), "{verb}: {said}");
    }
    let (code, seen, said) = run(&["plugin", "install", &good, "--json"]);
    assert_eq!((code, seen["state"].as_str()), (Some(0), Some("pending")), "{said}");
    let (code, seen, said) = run(&["plugin", "approve", FOREIGN, "--json"]);
    assert_eq!((code, seen["state"].as_str()), (Some(0), Some("active")), "{said}");
    assert_eq!(run(&["plugin", "approve", "nobody", "--json"]).0, Some(4));
    let (code, seen, said) = run(&["plugin", "list", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(seen["items"].as_array().map(Vec::len), Some(COMPONENTS.len() + 1), "{seen:#}");
}

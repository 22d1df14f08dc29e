//! Nothing that a connector does reaches a private address: by the real program, a component that tries everything, and
//! listeners that count who knocks.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use syncline_tests::foireann::Options;
use syncline_tests::http::{Connection, Request};

use crate::fixture::{CLUB, Host, ORG, checked, federation, text};
use crate::hostile;

/// Answers every connection with the same bytes, and counts them.
struct Listener {
    address: SocketAddr,
    knocks: Arc<AtomicUsize>,
}

impl Listener {
    fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Listener {
        Listener::on("127.0.0.1:0", answer).expect("a listener on loopback")
    }

    fn on(
        address: &str,
        answer: impl Fn(&str) -> String + Send + 'static,
    ) -> std::io::Result<Listener> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let knocks = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&knocks);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                let Ok(mut stream) = stream else { continue };
                let mut line = String::new();
                if BufReader::new(&mut stream).read_line(&mut line).is_ok() {
                    let path = line.split(' ').nth(1).unwrap_or_default();
                    let _ = stream.write_all(answer(path).as_bytes());
                }
            }
        });
        Ok(Listener { address, knocks })
    }

    /// Nobody should find it.
    fn canary() -> Listener {
        Listener::start(|_| "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary".to_owned())
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(self.knocks.load(Ordering::SeqCst), 0, "{} was reached", self.address);
    }
}

/// The hostile connector, approved and connected; answers the connector's id.
fn connected(host: &Host, base_url: &str) -> String {
    let authorization = format!("Bearer {}", host.token);
    let request = Request {
        method: "POST",
        target: "/api/v1/plugins",
        headers: &[("Authorization", &authorization), ("Content-Type", "application/wasm")],
        body: hostile::connector(),
    };
    let answer = Connection::open(host.address()).and_then(|mut server| server.send(&request));
    let installed = checked("POST", "/plugins", &answer.expect("an answer"), 201);
    let approval = json!({"sha256": installed["sha256"]});
    host.call("POST", "/plugins/hostile/approve", &approval, 200);
    host.create_organization(ORG);
    let more = json!({
        "plugin": "hostile", "authType": "none", "credentials": null,
        "config": {"behave": "reach", "requestsPerMinute": 1_000_000},
    });
    let connector = host.create_connector(base_url, more);
    host.connect(ORG, &connector, CLUB, json!({}));
    connector
}

/// Lets the component ask for its base URL and for these; the lines of the run's list of requests.
#[track_caller]
fn reach(host: &Host, connector: &str, base_url: &str, urls: &[String]) -> Vec<Value> {
    let config = json!({"behave": "reach", "requestsPerMinute": 1_000_000, "urls": urls.join(" ")});
    let body = json!({"endpoints": {"baseUrl": base_url}, "config": config});
    host.change("PATCH", &format!("/connectors/{connector}"), &body, 200);
    let run = host.sync(ORG, connector, json!({"dryRun": true}));
    assert_eq!(run["status"], "completed", "{base_url}: {run:#}\n{}", host.log());
    host.list(&format!("/sync/status/{}/requests", text(&run, "syncId")))
}

/// Whether the address cannot even be saved.
#[track_caller]
fn refused_at_once(host: &Host, connector: &str, base_url: &str) -> bool {
    let path = format!("/connectors/{connector}");
    let body = json!({"endpoints": {"baseUrl": base_url}});
    let answer = host.send("PATCH", &path, &[("If-Match", "*")], &body);
    if answer.status != 422 {
        return false;
    }
    let refused = checked("PATCH", &path, &answer, 422);
    assert_eq!(refused["errors"][0]["pointer"], "/endpoints/baseUrl", "{base_url}: {refused:#}");
    true
}

#[track_caller]
fn all_denied(lines: &[Value], count: usize, what: &str) {
    assert_eq!(lines.len(), count, "{what}: {lines:#?}");
    for line in lines {
        let failure = text(line, "failure");
        assert!(failure.starts_with("request denied: "), "{what}: {line:#}");
        assert_eq!(line["status"], Value::Null, "{what}: {line:#}");
    }
}

#[test]
fn no_spelling_of_a_private_address_is_reached() {
    let canary = Listener::canary();
    let port = canary.address.port();
    let six = Listener::on(&format!("[::1]:{port}"), |_| String::new()).ok();
    let host = Host::start(&[]);
    let connector = connected(&host, "https://federation.example");
    for address in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "017700000001",
        "0",
        "127.255.0.1",
        "%31%32%37.0.0.1",
        "１２７.０.０.１",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[::127.0.0.1]",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "169.254.169.254",
        "localhost",
        "LOCALHOST",
    ] {
        for scheme in ["http", "https"] {
            let base = format!("{scheme}://{address}:{port}/");
            // What is private by its spelling is refused when it is saved; what its name hides, when it is asked.
            if !refused_at_once(&host, &connector, &base) {
                let lines = reach(&host, &connector, &base, &[]);
                all_denied(&lines, 1, &base);
            }
        }
    }
    canary.is_untouched();
    if let Some(six) = six {
        six.is_untouched();
    }
}

#[test]
fn no_url_of_a_component_leads_out_of_its_grants() {
    let canary = Listener::canary();
    let at = canary.address;
    let sim = federation(Options::members(1));
    let host = Host::start(&[sim.host_port()]);
    let connector = connected(&host, &sim.base_url());
    let tried: Vec<String> = [
        format!("http://{at}/"),
        format!("https://{at}/"),
        format!("http://{}@{at}/", sim.host_port()),
        format!("http://{at}@{}/", sim.host_port()),
        format!("http://{}#@{at}/", sim.host_port().replace(':', "%3A")),
        format!("http://127.0.0.1.:{}/", at.port()),
        format!("http://localhost:{}/", at.port()),
        format!("ftp://{at}/"),
        format!("gopher://{at}/_GET"),
        "file:///etc/passwd".to_owned(),
        "http://127.0.0.1:25/".to_owned(),
        "http://127.0.0.1:6379/".to_owned(),
        "http://metadata.google.internal/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("https://api.example.org.:{}/", at.port()),
        format!("https://api.example.org@{at}/"),
        format!("https://аpi.example.org:{}/", at.port()),
    ]
    .into();
    let lines = reach(&host, &connector, &sim.base_url(), &tried);
    // The first is the base URL itself.
    all_denied(&lines[1..], tried.len(), "urls");
    canary.is_untouched();
}

#[test]
fn no_redirect_leads_to_a_private_address() {
    let canary = Listener::canary();
    let at = canary.address;
    let targets = [
        format!("http://{at}/"),
        format!("https://{at}/"),
        format!("//{at}/"),
        format!("http://2130706433:{}/", at.port()),
        format!("http://[::ffff:127.0.0.1]:{}/", at.port()),
        format!("http://localhost:{}/", at.port()),
        format!("http://user@{at}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("gopher://{at}/"),
        "https://api.example.org.evil.example/".to_owned(),
        "/loop".to_owned(),
    ];
    let locations = targets.clone();
    let redirecting = Listener::start(move |path| {
        let number = path.trim_start_matches('/').parse::<usize>().ok();
        let location = number.and_then(|number| locations.get(number)).map_or("/loop", |at| at);
        format!(
            "HTTP/1.1 302 X\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
    });
    let host = Host::start(&[redirecting.address.to_string()]);
    let base = format!("http://{}", redirecting.address);
    let connector = connected(&host, &base);
    let tried: Vec<String> = (0..targets.len()).map(|number| format!("{base}/{number}")).collect();
    let lines = reach(&host, &connector, &base, &tried);
    let denied = |line: &&Value| line["failure"].is_string();
    let failures: Vec<Value> = lines.iter().filter(denied).cloned().collect();
    all_denied(&failures, targets.len() + 1, "redirects");
    let hops: Vec<u64> = lines.iter().filter_map(|line| line["redirects"].as_u64()).collect();
    assert_eq!(hops.iter().max(), Some(&3), "the loop ended after three: {lines:#?}");
    canary.is_untouched();
}

/// A proxy of the environment would see every request, and would look names up itself.
#[test]
fn no_proxy_of_the_environment_is_used() {
    let proxy = Listener::canary();
    let sim = federation(Options::members(3));
    let mut host = Host::start(&[sim.host_port()]);
    let url = format!("http://{}", proxy.address);
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    let lower = names.map(str::to_lowercase);
    let environment: Vec<(&str, &str)> =
        names.iter().copied().chain(lower.iter().map(String::as_str)).map(|n| (n, &*url)).collect();
    host.restart_in(&environment);
    host.create_organization(ORG);
    let connector = host.create_connector(&sim.base_url(), json!({}));
    host.connect(ORG, &connector, CLUB, json!({}));
    let run = host.sync(ORG, &connector, json!({}));
    assert_eq!(run["counts"]["created"], 3, "{run:#}");
    let away = json!({"endpoints": {"baseUrl": "https://federation.invalid"}});
    host.change("PATCH", &format!("/connectors/{connector}"), &away, 200);
    assert_eq!(host.sync(ORG, &connector, json!({}))["status"], "failed");
    proxy.is_untouched();
}

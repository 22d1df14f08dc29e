//! E-mail: a real mail server, with and without TLS and log-in, and what stands in the message.

use serde_json::{Value, json};

use super::*;

const PASSWORD: &str = "canary-mail-password-77d1";

/// A certificate for `localhost` and the authority that signed it, as files.
struct Certificates {
    directory: TempDir,
}

impl Certificates {
    fn new() -> Certificates {
        let directory = TempDir::new().expect("a temporary directory");
        let generated = || rcgen::KeyPair::generate().expect("a key");
        let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let (authority_key, key) = (generated(), generated());
        let root = authority.self_signed(&authority_key).expect("an authority");
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let names = vec!["localhost".to_owned()];
        let leaf = rcgen::CertificateParams::new(names).expect("parameters");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let certificates = Certificates { directory };
        fs::write(certificates.path("root.pem"), root.pem()).expect("a file");
        fs::write(certificates.path("leaf.pem"), leaf.pem()).expect("a file");
        fs::write(certificates.path("key.pem"), key.serialize_pem()).expect("a file");
        certificates
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A mail server with these certificates that wants a log-in.
    #[track_caller]
    fn mailbox(&self, python: &Path, tls: &str) -> Sink {
        Sink::new(python, "mailbox.py")
            .with_argument("--tls", tls)
            .with_argument("--certificate", &self.path("leaf.pem"))
            .with_argument("--key", &self.path("key.pem"))
            .with_argument("--user", "syncline")
            .with_variable("MAILBOX_PASSWORD", PASSWORD)
            .started()
    }
}

fn config(sink: &Sink, tls: &str) -> Value {
    json!({
        "host": "localhost", "port": sink.port, "tls": tls,
        "from": "Syncline <sync@example.org>", "to": ["treasurer@example.org"],
    })
}

fn with_login(mut config: Value) -> Value {
    config["username"] = json!("syncline");
    config["password"] = json!(PASSWORD);
    config
}

#[track_caller]
fn mail_channel(host: &Host, config: Value) -> String {
    create(host, &json!({"name": "mail", "kind": "email", "config": config}))
}

#[track_caller]
fn test(host: &Host, channel: &str) -> Value {
    host.call("POST", &format!("/notifications/channels/{channel}/test"), &json!({}), 200)
}

/// The headers of a kept message, each on one line, and its decoded body.
#[track_caller]
fn parts(kept: &Value) -> (Vec<String>, String) {
    let data = text(kept, "data");
    let (head, body) = data.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    (lines, body.replace("=\r\n", "").replace("=3D", "="))
}

#[test]
fn mail_goes_over_starttls_and_tls_with_a_login() {
    let Some(python) = python() else { return };
    let certificates = Certificates::new();
    let sinks = [
        ("starttls", certificates.mailbox(&python, "starttls")),
        ("implicit", certificates.mailbox(&python, "implicit")),
    ];
    let allowed: Vec<String> = sinks.iter().map(|(_, sink)| sink.host_port()).collect();
    let root = certificates.path("root.pem");
    let mut host = Host::with_config(&allowed, QUICK);
    host.restart_in(&[("SSL_CERT_FILE", &root)]);
    for (tls, sink) in &sinks {
        let channel = mail_channel(&host, with_login(config(sink, tls)));
        let verdict = test(&host, &channel);
        assert_eq!(verdict["ok"], true, "{tls}: {verdict:#}\n{}", host.log());
        assert!(text(&verdict, "answer").contains("kept as"), "the server's words: {verdict:#}");
        let got = sink.got();
        assert_eq!(got[0]["tls"], true, "{got:#?}");
        assert_eq!(got[0]["authenticated"], true, "{got:#?}");
        assert_eq!(got[0]["to"], json!(["treasurer@example.org"]), "{got:#?}");
        // A wrong password is told in the server's words, and without the password.
        let path = format!("/notifications/channels/{channel}");
        let wrong = json!({"config": {"password": "wrong-canary-password"}});
        host.change("PATCH", &path, &wrong, 200);
        let refused = test(&host, &channel);
        assert_eq!(refused["ok"], false, "{refused:#}");
        assert!(text(&refused, "error").contains("535"), "{refused:#}");
        assert!(!refused.to_string().contains("wrong-canary"), "{refused:#}");
        assert_eq!(sink.got().len(), 1);
    }
    let log = deliveries(&host);
    assert_eq!(log.len(), 4, "{log:#?}");
    for secret in [PASSWORD, "wrong-canary-password"] {
        assert!(!host.log().contains(secret), "{}", host.log());
        for list in ["/notifications/channels", "/notifications/deliveries", "/audit"] {
            assert!(!json!(host.list(list)).to_string().contains(secret), "{list}");
        }
    }
}

#[test]
fn nothing_is_sent_where_tls_is_asked_for_and_not_to_be_trusted() {
    let Some(python) = python() else { return };
    let certificates = Certificates::new();
    let plain = Sink::new(&python, "mailbox.py").started();
    let untrusted = certificates.mailbox(&python, "starttls");
    let allowed = [plain.host_port(), untrusted.host_port()];
    let host = Host::with_config(&allowed, QUICK);
    // A server that does not offer STARTTLS, one whose certificate nobody vouches for, and one on the public network
    // that would get the mail in the clear: documentation addresses lead nowhere.
    for config in [config(&plain, "starttls"), with_login(config(&untrusted, "starttls"))] {
        let verdict = test(&host, &mail_channel(&host, config));
        assert_eq!(verdict["ok"], false, "{verdict:#}");
    }
    assert!(plain.got().is_empty() && untrusted.got().is_empty());
    let mut elsewhere = config(&plain, "none");
    elsewhere["host"] = json!("1.1.1.1");
    elsewhere["port"] = json!(25);
    let refused = test(&host, &mail_channel(&host, elsewhere));
    assert!(text(&refused, "error").contains("in the clear"), "{refused:#}");
    // A private address that the operator did not except.
    let mut inside = config(&plain, "none");
    inside["host"] = json!("127.0.0.1");
    let refused = test(&host, &mail_channel(&host, inside));
    assert!(text(&refused, "error").contains("loopback"), "{refused:#}");
    assert!(plain.got().is_empty());
    let good = test(&host, &mail_channel(&host, config(&plain, "none")));
    assert_eq!(good["ok"], true, "without TLS where the operator excepted it: {good:#}");
}

#[test]
fn a_hostile_name_adds_no_header_and_no_line() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::new(&python, "mailbox.py").started(), Club::sim());
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    mail_channel(&host, config(&sink, "none"));
    // Line ends are refused where a name is saved; what looks like a header is not.
    let name = "Fed Bcc: everybody@example.org Pay here: é";
    let club = Club::over(&host, sim, name);
    let run = club.fails(&host);
    let got = sink.wait_for(&host, 1);
    let (headers, body) = parts(&got[0]);
    let names: Vec<&str> =
        headers.iter().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    for wanted in ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"] {
        let found = names.iter().filter(|name| **name == wanted).count();
        assert_eq!(found, 1, "{wanted} in {headers:#?}");
    }
    assert!(!names.contains(&"Bcc"), "{headers:#?}");
    assert_eq!(got[0]["to"], json!(["treasurer@example.org"]), "{got:#?}");
    assert!(
        !body.lines().any(|line| line.starts_with("Bcc:") || line.starts_with("Pay")),
        "{body}"
    );
    assert!(body.contains(&format!("/runs/{run}")) && body.contains("Next: "), "{body}");
}

#[test]
fn a_mail_that_is_put_off_arrives_under_its_id() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::new(&python, "mailbox.py").started(), Club::sim());
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    mail_channel(&host, config(&sink, "none"));
    sink.mode("451 4.7.1 greylisted, come back");
    let club = Club::over(&host, sim, "Federation");
    club.fails(&host);
    let put_off = until(&host, "two attempts", || {
        deliveries(&host).into_iter().find(|row| row["attempts"].as_u64() >= Some(2))
    });
    assert!(text(&put_off, "lastError").contains("greylisted"), "{put_off:#}");
    sink.take_all();
    let log = settled(&host);
    let (headers, _) = parts(&sink.got()[0]);
    let id = text(&log[0], "id");
    let own = |line: &String| line.starts_with(&format!("Message-ID: <{id}_"));
    assert!(headers.iter().any(own), "{id} in {headers:#?}");
    assert_eq!(sink.got().len(), 1);
}

/// A mail channel of the installation, and an organization without one whose admins are these.
#[track_caller]
fn with_admins(host: &Host, sink: &Sink, club: &Club, admins: &[&str]) {
    let channel = json!({
        "name": "default", "kind": "email", "events": ["diskLow", "connectorDisabled"],
        "config": config(sink, "none"),
    });
    create(host, &channel);
    for email in admins {
        let user = json!({
            "email": email, "name": email, "role": "orgAdmin", "organizationId": ORG,
            "password": "correct horse battery staple 9",
        });
        host.call("POST", "/users", &user, 201);
    }
    club.fails(host);
}

#[test]
fn a_dead_mailbox_keeps_a_message_from_nobody_else() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::new(&python, "mailbox.py").started(), Club::sim());
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    let club = Club::over(&host, sim, "Federation");
    sink.mode("<dead@example.ie> 550 5.1.1 no such mailbox");
    with_admins(&host, &sink, &club, &["dead@example.ie", "well@example.ie"]);
    let log = settled(&host);
    assert_eq!((log[0]["state"].as_str(), &log[0]["attempts"]), (Some("sent"), &json!(1)));
    assert!(text(&log[0], "answer").contains("not taken for dead@example.ie"), "{log:#?}");
    assert_eq!(sink.got()[0]["to"], json!(["well@example.ie"]), "{:#?}", sink.got());
}

/// One organization's message that nobody takes is no reason to tell others nothing.
#[test]
fn a_message_that_cannot_be_delivered_holds_up_no_other() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::new(&python, "mailbox.py").started(), Club::sim());
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    let club = Club::over(&host, sim, "Federation");
    sink.mode("<dead@example.ie> 550 5.1.1 no such mailbox");
    with_admins(&host, &sink, &club, &["dead@example.ie"]);
    until(&host, "a refused attempt", || {
        deliveries(&host).into_iter().find(|row| row["attempts"].as_u64() >= Some(1))
    });
    let channel = host.list("/notifications/channels").remove(0);
    let path = format!("/notifications/channels/{}", text(&channel, "id"));
    host.change("PATCH", &path, &json!({"events": ["recovered"]}), 200);
    club.succeeds(&host);
    sink.wait_for(&host, 1);
    let log = settled(&host);
    let failed: Vec<&Value> = log.iter().filter(|row| row["state"] == "failed").collect();
    assert_eq!((failed.len(), &failed[0]["attempts"]), (1, &json!(5)), "{log:#?}");
    assert!(text(failed[0], "lastError").contains("no such mailbox"), "{log:#?}");
}

/// An organization without a channel hears of a failed run through the installation's mail channel.
#[test]
fn admins_of_an_organization_without_a_channel_are_written_to() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::new(&python, "mailbox.py").started(), Club::sim());
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    let channel = json!({
        "name": "default", "kind": "email", "events": ["diskLow"], "config": config(&sink, "none"),
    });
    create(&host, &channel);
    let club = Club::over(&host, sim, "Federation");
    for (email, role) in [("admin@example.ie", "orgAdmin"), ("viewer@example.ie", "viewer")] {
        let user = json!({
            "email": email, "name": email, "role": role, "organizationId": ORG,
            "password": "correct horse battery staple 9",
        });
        host.call("POST", "/users", &user, 201);
    }
    club.fails(&host);
    let got = sink.wait_for(&host, 1);
    assert_eq!(got[0]["to"], json!(["admin@example.ie"]), "{got:#?}");
    let log = settled(&host);
    assert_eq!((log.len(), &log[0]["toAdmins"]), (1, &json!(true)), "{log:#?}");
}

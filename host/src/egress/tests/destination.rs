//! Where a request may go: grants, addresses, names, redirects.

use super::server::{Server, answer};
use super::*;

/// A server that must never be reached.
async fn canary() -> Server {
    Server::start(|_| answer(200, &[], "canary")).await
}

fn unlisted(server: &Server) -> Plan {
    let mut plan = Plan::for_server(server);
    plan.options.allow_private.clear();
    plan
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_spelling() {
    let server = canary().await;
    let port = server.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0",
        "127.0.0.1.",
        "127.1.2.3",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
        "１２７.０.０.１",
        "①②⑦.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "10.0.0.5",
        "100.100.100.200",
    ] {
        for scheme in ["http", "https"] {
            let mut plan = unlisted(&server);
            let url = Url::parse(&format!("{scheme}://{host}:{port}/")).unwrap();
            plan.base = url.to_string();
            plan.granted = vec![Origin::of(&url).unwrap().to_string()];
            let bench = plan.start();
            for url in [url.as_str(), "", "/members"] {
                let reason = denied(bench.get(url).await);
                assert!(reason.contains("egress.allowPrivate"), "{host}: {reason}");
            }
            assert_eq!(bench.outcomes().len(), 3, "each refusal leaves its line");
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_refusal_names_the_remedy() {
    let server = canary().await;
    let mut plan = unlisted(&server);
    plan.base = "http://10.0.0.5:8080".into();
    plan.granted = vec!["http://10.0.0.5:8080".into()];
    assert_eq!(
        denied(plan.start().get("/members").await),
        "10.0.0.5 is a private address; add \"10.0.0.5:8080\" to egress.allowPrivate if it is \
         really meant to be reached"
    );
}

#[tokio::test]
async fn an_exception_holds_for_its_host_and_port_or_network_only() {
    let server = Server::start(|_| answer(200, &[], "ok")).await;
    let port = server.port();
    let cases = [
        (format!("127.0.0.1:{port}"), true),
        ("127.0.0.0/8".to_owned(), true),
        ("::/0".to_owned(), false),
        ("10.0.0.0/8".to_owned(), false),
        (format!("127.0.0.1:{}", port ^ 1), false),
        (format!("localhost:{port}"), false),
    ];
    for (exception, reached) in cases {
        let mut plan = unlisted(&server);
        plan.options.allow_private = vec![exception.parse().unwrap()];
        let result = plan.start().get("/").await;
        assert_eq!(result.is_ok(), reached, "{exception}: {result:?}");
    }
}

#[tokio::test]
async fn names_are_looked_up_once_and_every_answer_counts() {
    let server = canary().await;
    let port = server.port();
    let cases: [(&[&str], &str); 6] = [
        (&["127.0.0.1"], "127.0.0.1, a loopback address"),
        (&["93.184.215.14", "127.0.0.1"], "127.0.0.1, a loopback address"),
        (&["127.0.0.1", "93.184.215.14"], "127.0.0.1, a loopback address"),
        (&["2606:4700::1111", "::ffff:10.0.0.5"], "a private address"),
        (&["fd00::1"], "fd00::1, a private address"),
        (&["169.254.169.254"], "a cloud metadata address"),
    ];
    for (answers, expected) in cases {
        let mut plan = unlisted(&server);
        plan.names = vec![("club.example", answers.to_vec())];
        plan.base = format!("https://club.example:{port}");
        plan.granted = vec![plan.base.clone()];
        let bench = plan.start();
        let reason = denied(bench.get("/members").await);
        assert!(
            reason.starts_with("club.example leads to ") && reason.contains(expected),
            "{reason}"
        );
        assert!(reason.contains(&format!("add \"club.example:{port}\"")), "{reason}");
        assert_eq!(bench.lines().len(), 1, "a refusal is not tried again");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_answer_is_checked_at_each_connection() {
    let server = Server::start(|_| answer(200, &["connection: close"], "ok")).await;
    let port = server.port();
    let asked = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&asked);
    // The network of the first answer is allowed, that of the second is not.
    let lookup: Lookup = Arc::new(move |_| {
        let mut asked = counter.lock().unwrap();
        *asked += 1;
        let address = if *asked == 1 { "127.0.0.1" } else { "10.0.0.5" };
        Box::pin(async move { Ok(vec![address.parse().unwrap()]) })
    });
    let options = Options {
        allow_private: vec![format!("club.example:{port}").parse().unwrap()],
        ..Options::default()
    };
    let excepted = Egress::with_lookup(options, Clock::system(), Arc::clone(&lookup));
    let settings = |host: &str, scheme: &str| RunSettings {
        base_url: Url::parse(&format!("{scheme}://{host}:{port}")).unwrap(),
        granted: vec![format!("{scheme}://{host}:{port}").parse().unwrap()],
        methods: vec![],
        auth: Auth::None,
        pace: Pace::default(),
        limits: Limits::default(),
        cancel: CancellationToken::new(),
        recorder: Arc::new(|_| {}),
    };
    let first = excepted.run(settings("club.example", "http"));
    assert_eq!(first.send(get("/")).await.unwrap().status, 200);
    assert_eq!(*asked.lock().unwrap(), 1, "one lookup, and the connection goes to its answer");
    // The exception is for club.example alone: the same lookup for another name is refused.
    let second = excepted.run(settings("other.example", "https"));
    assert!(denied(second.send(get("/")).await).contains("10.0.0.5, a private address"));
    assert_eq!(*asked.lock().unwrap(), 2);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_excepted_name_is_reached_and_only_at_its_port() {
    let server = Server::start(|_| answer(200, &[], "ok")).await;
    let other = canary().await;
    let (port, other_port) = (server.port(), other.port());
    let mut plan = unlisted(&server);
    plan.options.allow_private = vec![format!("club.example:{port}").parse().unwrap()];
    plan.names = vec![("club.example", vec!["127.0.0.1"])];
    plan.base = format!("http://club.example:{port}");
    plan.granted = vec![plan.base.clone(), format!("https://club.example:{other_port}")];
    let bench = plan.start();
    assert_eq!(bench.get("/").await.unwrap().status, 200);
    denied(bench.get(&format!("https://club.example:{other_port}/")).await);
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn plain_http_needs_an_exception() {
    let server = canary().await;
    let mut plan = unlisted(&server);
    plan.names = vec![("club.example", vec!["93.184.215.14"])];
    plan.base = "http://club.example".into();
    plan.granted = vec![plan.base.clone()];
    let reason = denied(plan.start().get("/").await);
    assert!(reason.contains("https://") && reason.contains("\"club.example:80\""), "{reason}");
}

#[tokio::test]
async fn hosts_methods_and_forms_that_are_not_granted_are_refused() {
    let server = canary().await;
    let bench = Plan::for_server(&server).start();
    let address = server.address();
    let cases = [
        ("GET", "https://evil.example/".to_owned(), "https://evil.example is not granted"),
        ("GET", format!("https://{address}/"), "is not granted"),
        ("GET", format!("http://{address}@evil.example/"), "user name"),
        ("GET", format!("http://user:pass@{address}/"), "user name"),
        ("GET", "http://localhost./".to_owned(), "dot at its end"),
        ("GET", "file:///etc/passwd".to_owned(), "not allowed"),
        ("GET", "gopher://127.0.0.1:70/".to_owned(), "not allowed"),
        ("GET", "/../x".to_owned(), "leaves the base"),
        ("DELETE", "/".to_owned(), "method DELETE is not granted"),
        ("CONNECT", "/".to_owned(), "method CONNECT is not granted"),
        ("get", "/".to_owned(), "method get is not granted"),
        ("GET /x HTTP/1.1\r\nX:", "/".to_owned(), "not an HTTP method"),
    ];
    for (method, url, expected) in cases {
        // "/.." at the root stays at the root, so that case needs a base with a path.
        let bench = if url == "/../x" {
            let mut plan = Plan::for_server(&server);
            plan.base += "/api";
            plan.start()
        } else {
            Plan::for_server(&server).start()
        };
        let reason = denied(bench.client.send(request(method, &url)).await);
        assert!(reason.contains(expected), "{method} {url}: {reason}");
        let lines = bench.lines();
        assert_eq!(lines.len(), 1);
        assert!(!lines[0].url.contains("pass") || url.starts_with("file"), "{}", lines[0].url);
    }
    assert_eq!((server.connections(), bench.lines().len()), (0, 0));
}

#[tokio::test]
async fn redirects_are_followed_within_the_grants() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/api/a" => answer(302, &["location: b?page=1"], ""),
        "/api/b?page=1" => answer(307, &["location: /c"], ""),
        "/c" => answer(200, &[], "there"),
        other => panic!("{other}"),
    })
    .await;
    let mut plan = Plan::for_server(&server);
    plan.base += "/api";
    let bench = plan.start();
    assert_eq!(bench.get("/a").await.unwrap().body, "there");
    assert_eq!(bench.outcomes(), ["302", "307", "200"]);
    assert_eq!(bench.client.usage().requests, 3);
}

#[tokio::test]
async fn redirects_to_elsewhere_are_refused() {
    let target = canary().await;
    let address = target.address();
    for (location, expected) in [
        (format!("http://{address}/"), "is not granted"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "is not granted"),
        ("http://10.0.0.5/".to_owned(), "10.0.0.5 is a private address"),
        ("//10.0.0.5/".to_owned(), "10.0.0.5 is a private address"),
        ("https://inner.example/".to_owned(), "inner.example leads to 127.0.0.1"),
        ("file:///etc/passwd".to_owned(), "not allowed"),
        ("gopher://x/".to_owned(), "not allowed"),
        ("http://user@10.0.0.5/".to_owned(), "user name"),
        ("http://[::1".to_owned(), "address"),
    ] {
        let line = format!("location: {location}");
        let server = Server::start(move |_| answer(302, &[&line], "")).await;
        let mut plan = Plan::for_server(&server);
        plan.granted.extend(["http://10.0.0.5".to_owned(), "https://inner.example".to_owned()]);
        plan.names = vec![("inner.example", vec!["127.0.0.1"])];
        let bench = plan.start();
        let reason = denied(bench.get("/").await);
        assert!(reason.contains(expected), "{location}: {reason}");
        assert_eq!(bench.lines().len(), 2, "the redirect and the refusal");
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_redirect_loop_ends_after_three() {
    let server = Server::start(|_| answer(302, &["location: /again"], "")).await;
    let bench = Plan::for_server(&server).start();
    assert_eq!(denied(bench.get("/").await), "more than 3 redirects");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_redirected_write_goes_back_to_the_plugin() {
    let server = Server::start(|_| answer(307, &["location: /again"], "")).await;
    let bench = Plan::for_server(&server).start();
    assert_eq!(bench.client.send(request("POST", "/")).await.unwrap().status, 307);
    assert_eq!(server.seen().len(), 1);
}

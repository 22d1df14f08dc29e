//! What goes over the wire, and the limits of size and count.

use super::broken::{chunked, gzip, gzipped, small};
use super::server::{Server, Step, answer, head};
use super::*;

#[tokio::test]
async fn the_request_arrives_as_the_plugin_made_it() {
    let (server, mut plan) =
        small(|_| answer(201, &["etag: \"7\"", "set-cookie: a=b"], "made")).await;
    plan.base += "/api/v2";
    let bench = plan.start();
    let request = HttpRequest {
        headers: vec![("Prefer".into(), "count=exact".into()), ("X-Name".into(), "Ó Sé".into())],
        body: Some(b"{}".to_vec()),
        ..request("POST", "/clubs/1?x=%20y")
    };
    let response = bench.client.send(request).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (201, &b"made"[..]));
    assert!(response.headers.contains(&("etag".into(), "\"7\"".into())));
    assert!(!response.headers.iter().any(|(name, _)| name == "set-cookie"));
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/api/v2/clubs/1?x=%20y"));
    assert_eq!(seen.body, b"{}");
    assert_eq!(seen.header("prefer"), Some("count=exact"));
    assert_eq!(seen.header("x-name"), Some("Ó Sé"));
    assert_eq!(seen.header("accept-encoding"), Some("gzip"));
    assert_eq!(seen.header("user-agent"), Some(USER_AGENT));
    assert_eq!(seen.header("host"), Some(server.address().to_string().as_str()));
    let line = &bench.lines()[0];
    let told = (line.method.as_str(), line.status, line.bytes, line.attempt, line.waited_millis);
    assert_eq!(told, ("POST", Some(201), 4, 1, 0));
    assert_eq!(line.url, format!("http://{}/api/v2/clubs/1?x=%20y", server.address()));
    assert_eq!((line.at, &line.failure), (1_795_176_000_000, &None));
}

#[tokio::test]
async fn connections_are_kept_and_shared_by_runs() {
    let (server, plan) = small(|_| answer(200, &[], "ok")).await;
    let egress = Egress::new(plan.options.clone(), plan.clock.clone());
    for _ in 0..3 {
        let client = egress.run(RunSettings {
            base_url: Url::parse(&plan.base).unwrap(),
            granted: plan.granted.iter().map(|origin| origin.parse().unwrap()).collect(),
            methods: vec![],
            auth: Auth::None,
            pace: Pace::default(),
            limits: egress.limits(),
            cancel: CancellationToken::new(),
            recorder: Arc::new(|_| {}),
        });
        for _ in 0..3 {
            client.send(get("/")).await.unwrap();
        }
    }
    assert_eq!((server.seen().len(), server.connections()), (9, 1));
}

#[tokio::test]
async fn bodies_up_to_the_limit_pass_and_larger_ones_do_not() {
    let cases: [(&str, Vec<u8>, bool); 8] = [
        (
            "length, at the limit",
            [head(200, &[], "content-length: 1000"), vec![b'a'; 1_000]].concat(),
            true,
        ),
        (
            "length, above",
            [head(200, &[], "content-length: 1001"), vec![b'a'; 1_001]].concat(),
            false,
        ),
        ("length, a lie of 10 GB", head(200, &[], "content-length: 10000000000"), false),
        ("chunks, at the limit", chunked(&[&[b'a'; 400], &[b'b'; 600]]), true),
        ("chunks, above", chunked(&[&[b'a'; 400], &[b'b'; 601]]), false),
        ("gzip, at the limit", gzipped(&gzip(&[b'a'; 1_000])), true),
        ("gzip, above", gzipped(&gzip(&[b'a'; 1_001])), false),
        ("gzip, a bomb", gzipped(&gzip(&vec![0; 50 << 20])), false),
    ];
    for (name, bytes, fits) in cases {
        let (server, plan) = small(move |_| vec![Step::Send(bytes.clone())]).await;
        let bench = plan.start();
        match bench.get("/").await {
            Ok(response) => assert!(fits && response.body.len() == 1_000, "{name}: {response:?}"),
            Err(failure) => {
                assert!(!fits && failure == HttpFailure::TooLarge(1_000), "{name}: {failure:?}");
            }
        }
        assert_eq!(server.seen().len(), 1, "{name}: too large is not tried again");
        // Decoding stops within a buffer or so of the limit.
        assert!(bench.client.usage().bytes < 200_000, "{name}: {:?}", bench.client.usage());
    }
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let (server, plan) = small(|_| {
        let head = head(200, &[], "connection: close");
        vec![Step::Send(head), Step::Flood(vec![b'a'; 4_096])]
    })
    .await;
    let bench = plan.start();
    assert_eq!(bench.get("/").await, Err(HttpFailure::TooLarge(1_000)));
    server.left(1).await;
}

#[tokio::test]
async fn endless_and_huge_headers_are_cut() {
    let (server, mut plan) = small(|_| {
        let mut head = b"HTTP/1.1 200 OK\r\nx-long: ".to_vec();
        head.resize(20_000, b'a');
        vec![Step::Send(head), Step::Flood(vec![b'a'; 4_096])]
    })
    .await;
    plan.limits().request_timeout = Duration::from_secs(20);
    let bench = plan.start();
    assert_eq!(bench.get("/").await, Err(HttpFailure::TooLarge(64 << 10)));
    server.left(1).await;

    for (bytes, fits) in [(64_000, true), (70_000, false), (10 << 20, false)] {
        let (_server, plan) =
            small(move |_| answer(200, &[&format!("x-long: {}", "a".repeat(bytes))], "ok")).await;
        assert_eq!(plan.start().get("/").await.is_ok(), fits, "{bytes}");
    }
    let many: Vec<String> = (0..5_000).map(|at| format!("x-{at}: a")).collect();
    let (_server, plan) =
        small(move |_| answer(200, &many.iter().map(String::as_str).collect::<Vec<_>>(), "ok"))
            .await;
    plan.start().get("/").await.unwrap_err();

    // Trailers are headers too.
    let (server, plan) = small(|_| {
        let body = [head(200, &[], "transfer-encoding: chunked"), b"2\r\nok\r\n0\r\n".to_vec()];
        vec![Step::Send(body.concat()), Step::Flood(b"x-trailer: a\r\n".to_vec())]
    })
    .await;
    plan.start().get("/").await.unwrap_err();
    server.left(1).await;
}

#[tokio::test]
async fn a_run_has_budgets_of_requests_and_bytes() {
    let (server, mut plan) = small(|_| answer(200, &[], [b'a'; 600])).await;
    plan.limits().requests_max = 3;
    let bench = plan.start();
    for _ in 0..3 {
        bench.get("/").await.unwrap();
    }
    assert_eq!(bench.get("/").await, Err(HttpFailure::Stopped));
    assert_eq!(bench.get("https://evil.example/").await, Err(HttpFailure::Stopped));
    assert_eq!(server.seen().len(), 3);
    assert_eq!(bench.client.usage(), Usage { requests: 3, bytes: 1_800 });
    assert_eq!(bench.outcomes()[2..], ["200", "the run's budget of 3 requests is spent"]);

    let (server, mut plan) = small(|_| answer(200, &[], [b'a'; 600])).await;
    plan.limits().run_bytes_max = 1_500;
    let bench = plan.start();
    bench.get("/").await.unwrap();
    bench.get("/").await.unwrap();
    assert_eq!(bench.get("/").await, Err(HttpFailure::Stopped));
    assert_eq!(bench.outcomes()[2], "the run's budget of 1500 bytes is spent");
    assert_eq!(bench.get("/").await, Err(HttpFailure::Stopped));
    assert_eq!(server.seen().len(), 3, "once spent, nothing is sent");
}

#[tokio::test]
async fn large_requests_are_refused() {
    let (server, mut plan) = small(|_| answer(200, &[], "ok")).await;
    plan.limits().request_bytes_max = 10;
    plan.limits().request_header_bytes_max = 20;
    let bench = plan.start();
    let body = HttpRequest { body: Some(vec![0; 11]), ..request("POST", "/") };
    assert!(denied(bench.client.send(body).await).contains("11 bytes, at most 10"));
    let headers = vec![("x-a".into(), "a".repeat(18))];
    let long = HttpRequest { headers, ..get("/") };
    assert!(denied(bench.client.send(long).await).contains("21 bytes, at most 20"));
    assert_eq!(server.connections(), 0);
}

/// Not a check but a figure: `cargo test --release -p syncline --lib throughput -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints a figure"]
async fn throughput() {
    const PAGES: u32 = 3_000;
    let page = vec![b'a'; 300_000];
    let server = Server::start(move |_| answer(200, &[], &page)).await;
    let bench = Plan::for_server(&server).start();
    let started = std::time::Instant::now();
    bench.get("/").await.unwrap();
    println!("{} ms to the first answer, setting up TLS included", started.elapsed().as_millis());
    let started = std::time::Instant::now();
    for _ in 0..PAGES {
        assert_eq!(bench.get("/members?page=1&limit=1000").await.unwrap().body.len(), 300_000);
    }
    let took = started.elapsed();
    println!("{:.0} pages of 300 KB per second", f64::from(PAGES) / took.as_secs_f64());
}

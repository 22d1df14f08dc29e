//! Credentials go where they belong, and nowhere else.

use super::server::{Server, answer};
use super::*;
use crate::vault::Secret;

const CANARY: &str = "canary-7f3a";

fn secret() -> Secret<String> {
    Secret::new(CANARY.to_owned())
}

async fn echo() -> Server {
    Server::start(|_| answer(200, &[], "ok")).await
}

#[tokio::test]
async fn each_kind_is_put_in_its_place() {
    let key = || Auth::Header { name: http::HeaderName::from_static("x-api-key"), value: secret() };
    let query =
        || Auth::Query(vec![("ck".into(), "id 1".to_owned().into()), ("cs".into(), secret())]);
    let token: TokenSource = Arc::new(|_| Box::pin(async { Ok(Arc::new(secret())) }));
    let basic = Auth::Basic { user: "Séan".into(), password: secret() };
    let cases = [
        (Auth::None, None, "/m?page=1"),
        (key(), Some(("x-api-key", "canary-7f3a")), "/m?page=1"),
        (query(), None, "/m?page=1&ck=id+1&cs=canary-7f3a"),
        (basic, Some(("authorization", "Basic U8OpYW46Y2FuYXJ5LTdmM2E=")), "/m?page=1"),
        (Auth::Bearer(secret()), Some(("authorization", "Bearer canary-7f3a")), "/m?page=1"),
        (Auth::Token(token), Some(("authorization", "Bearer canary-7f3a")), "/m?page=1"),
    ];
    for (auth, header, target) in cases {
        let server = echo().await;
        let mut plan = Plan::for_server(&server);
        let kind = format!("{auth:?}");
        assert!(!kind.contains("canary"));
        plan.auth = auth;
        let bench = plan.start();
        bench.get("/m?page=1").await.unwrap();
        let seen = &server.seen()[0];
        assert_eq!(seen.target, target, "{kind}");
        for name in ["x-api-key", "authorization"] {
            let expected = header.filter(|(header, _)| *header == name).map(|(_, value)| value);
            assert_eq!(seen.header(name), expected, "{kind} {name}");
        }
        assert!(!format!("{:?}", bench.lines()).contains("canary"), "{kind}");
    }
}

#[tokio::test]
async fn the_plugin_cannot_set_what_the_host_sets() {
    let server = echo().await;
    let mut plan = Plan::for_server(&server);
    let name = http::HeaderName::from_static("x-club-key");
    plan.auth = Auth::Header { name, value: secret() };
    let bench = plan.start();
    for (name, value) in [
        ("Authorization", "Bearer mine"),
        ("X-API-Key", "mine"),
        ("X-Club-Key", "mine"),
        ("Cookie", "a=b"),
        ("Host", "evil.example"),
        ("Accept-Encoding", "br"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Proxy-Authorization", "x"),
        ("X-Ok", "a\r\nAuthorization: mine"),
        ("X-Ok\r\nA", "b"),
    ] {
        let request = HttpRequest { headers: vec![(name.into(), value.into())], ..get("/") };
        denied(bench.client.send(request).await);
    }
    assert_eq!(server.connections(), 0);

    let mut plan = Plan::for_server(&server);
    plan.auth = Auth::Query(vec![("cs".into(), secret())]);
    let reason = denied(plan.start().get("/m?c%73=mine").await);
    assert!(reason.contains("parameter cs is set by the host"), "{reason}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_redirect_to_another_origin_goes_without() {
    let away = Server::start(|seen| {
        assert_eq!(seen.header("accept"), Some("text/csv"), "the plugin's own headers stay");
        answer(200, &[], "moved")
    })
    .await;
    // The server echoes the whole query, keys included, in its redirects.
    let location = format!("location: http://{}/m?page=1&cs={CANARY}", away.address());
    for auth in [
        Auth::Bearer(secret()),
        Auth::Header { name: http::HeaderName::from_static("x-api-key"), value: secret() },
        Auth::Query(vec![("cs".into(), secret())]),
        Auth::Basic { user: CANARY.into(), password: secret() },
    ] {
        let location = location.clone();
        let strips = matches!(auth, Auth::Query(_));
        let server = Server::start(move |seen| match seen.index {
            0 => answer(302, &["location: /here?page=1&cs=canary-7f3a"], ""),
            _ => answer(302, &[&location], ""),
        })
        .await;
        let mut plan = Plan::for_server(&server);
        plan.auth = auth;
        plan.granted.push(format!("http://{}", away.address()));
        plan.options.allow_private.push(away.address().to_string().parse().unwrap());
        let bench = plan.start();
        let headers = vec![("Accept".to_owned(), "text/csv".to_owned())];
        let request = HttpRequest { headers, ..get("/m?page=1") };
        assert_eq!(bench.client.send(request).await.unwrap().body, "moved");
        let second = &server.seen()[1];
        let carried =
            format!("{second:?}").contains("canary") || second.header("authorization").is_some();
        assert!(carried, "the same origin gets the credentials again");
        let last = away.seen().pop().unwrap();
        assert_eq!((last.header("authorization"), last.header("x-api-key")), (None, None));
        if strips {
            assert_eq!(second.target, "/here?page=1&cs=canary-7f3a", "once, not twice");
            assert_eq!(last.target, "/m?page=1", "a key that the server echoed goes nowhere");
            assert!(!format!("{:?}", bench.lines()).contains("canary"));
        }
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let server = Server::start(|seen| match seen.header("authorization") {
        Some("Bearer fresh") => answer(200, &[], "ok"),
        _ => answer(401, &[], "expired"),
    })
    .await;
    let fresh: TokenSource = Arc::new(|ask| {
        Box::pin(async move {
            Ok(Arc::new(match ask {
                TokenAsk::Current => "stale".to_owned().into(),
                TokenAsk::Replace(stale) => {
                    assert_eq!(stale.expose(), "stale");
                    "fresh".to_owned().into()
                }
            }))
        })
    });
    let mut plan = Plan::for_server(&server);
    plan.auth = Auth::Token(fresh);
    let bench = plan.start();
    // Refused means not done, so a write is sent again too.
    let request = HttpRequest { body: Some(b"x".to_vec()), ..request("POST", "/m") };
    assert_eq!(bench.client.send(request).await.unwrap().status, 200);
    assert_eq!(bench.outcomes(), ["401", "200"]);
    assert_eq!(server.seen()[1].body, b"x");

    let useless: TokenSource =
        Arc::new(|_| Box::pin(async { Ok(Arc::new("old".to_owned().into())) }));
    let mut plan = Plan::for_server(&server);
    plan.auth = Auth::Token(useless);
    let bench = plan.start();
    assert_eq!(bench.get("/m").await.unwrap().status, 401);
    assert_eq!(bench.outcomes(), ["401", "401"]);

    let broken: TokenSource =
        Arc::new(|_| Box::pin(async { Err(HttpFailure::Denied("consent was withdrawn".into())) }));
    let mut plan = Plan::for_server(&server);
    plan.auth = Auth::Token(broken);
    let bench = plan.start();
    assert!(denied(bench.get("/m").await).contains("consent was withdrawn"));
    assert_eq!(bench.lines().len(), 1);
}

#[tokio::test]
async fn a_refusal_by_somebody_who_was_sent_no_token_replaces_none() {
    let away = Server::start(|_| answer(401, &[], "who are you")).await;
    let location = format!("location: http://{}/m", away.address());
    let server = Server::start(move |_| answer(302, &[&location], "")).await;
    let asked: TokenSource = Arc::new(|ask| {
        Box::pin(async move {
            assert!(matches!(ask, TokenAsk::Current), "the token is as good as before");
            Ok(Arc::new(secret()))
        })
    });
    let mut plan = Plan::for_server(&server);
    plan.auth = Auth::Token(asked);
    plan.granted.push(format!("http://{}", away.address()));
    plan.options.allow_private.push(away.address().to_string().parse().unwrap());
    let bench = plan.start();
    assert_eq!(bench.get("/m").await.unwrap().status, 401);
    assert_eq!(bench.outcomes(), ["302", "401"]);
}

#[tokio::test]
async fn what_a_server_repeats_of_the_query_is_masked_everywhere() {
    let key = "canary+7f3a/=";
    let server = Server::start(|seen| match seen.index {
        0 => answer(302, &["location: /in?back=%2Fm%3Fcs%3Dcanary%2B7f3a%2F%3D"], ""),
        _ => answer(
            200,
            &["link: </m?page=2&cs=canary%2B7f3a%2F%3D>; rel=\"next\""],
            "{\"next\": \"/m?cs=canary%2B7f3a%2F%3D\", \"key\": \"canary+7f3a/=\"}",
        ),
    })
    .await;
    let mut plan = Plan::for_server(&server);
    plan.auth = Auth::Query(vec![("cs".into(), key.to_owned().into())]);
    let bench = plan.start();
    let response = bench.get("/m").await.unwrap();
    assert_eq!(response.body, "{\"next\": \"/m?cs=***\", \"key\": \"***\"}");
    let told = format!("{response:?} {:?}", bench.lines());
    assert!(told.contains("</m?page=2&cs=***>") && !told.contains("canary"), "{told}");
}

#[tokio::test]
async fn a_credential_that_breaks_a_header_is_refused_without_being_shown() {
    let server = echo().await;
    let mut plan = Plan::for_server(&server);
    plan.auth = Auth::Bearer(Secret::new("canary\r\nX: y".to_owned()));
    let bench = plan.start();
    let reason = denied(bench.get("/").await);
    assert!(reason.contains("set it anew") && !reason.contains("canary"), "{reason}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn network_errors_do_not_show_the_query() {
    let server = Server::start(|_| vec![server::Step::Reset]).await;
    let mut plan = Plan::for_server(&server);
    plan.auth = Auth::Query(vec![("cs".into(), secret())]);
    let bench = plan.start();
    let failure = bench.get("/").await.unwrap_err();
    assert!(matches!(failure, HttpFailure::Network(_)), "{failure:?}");
    let told = format!("{failure:?} {failure} {:?}", bench.lines());
    assert!(!told.contains("canary"), "{told}");
}

//! The start of an authorization and the callback: what is sent, and what is not believed.

use serde_json::{Value, json};
use syncline_tests::http::Answer;

use super::{Bench, CALLBACK, CLIENT, call_back, query, value};
use crate::fixture::{ORG, text};

const HTML: &str = "text/html,application/xhtml+xml,*/*";
const JSON: &str = "application/json";

/// A connector that nobody authorized yet.
#[track_caller]
fn fresh(oauth: Value) -> Bench {
    Bench::with(json!({}), oauth)
}

/// The callback with this state and these other parameters.
#[track_caller]
fn back(bench: &Bench, state: &str, more: &[(&str, &str)]) -> Answer {
    let all = [&[("state", state)], more].concat();
    call_back(&bench.host, &query(&all), JSON)
}

/// A new authorization's state.
#[track_caller]
fn begun(bench: &Bench, body: Value) -> String {
    value(&bench.start(body), "state")
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) -> String {
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{body:#}");
    text(&body, "detail")
}

const GOOD: &[(&str, &str)] = &[("code", "canary-code")];

#[test]
fn the_address_holds_what_it_must() {
    let bench =
        fresh(json!({"scopes": ["a", "b c"], "authorizeParameters": {"prompt": "consent"}}));
    let parameters = bench.start(json!({}));
    assert_eq!(value(&parameters, "tenant"), "1", "the endpoint's own query stays");
    assert_eq!(value(&parameters, "response_type"), "code");
    assert_eq!(value(&parameters, "client_id"), CLIENT);
    assert_eq!(value(&parameters, "redirect_uri"), CALLBACK);
    assert_eq!(value(&parameters, "scope"), "a b c");
    assert_eq!(value(&parameters, "prompt"), "consent");
    assert_eq!(value(&parameters, "code_challenge_method"), "S256");
    assert_eq!(value(&parameters, "code_challenge").len(), 43);
    let (first, second) = (value(&parameters, "state"), begun(&bench, json!({})));
    assert!(first.len() == 43 && first != second);
    // The plugin declares scopes; without PKCE there is no challenge.
    let bench = fresh(json!({"pkce": false}));
    let parameters = bench.start(json!({}));
    assert_eq!(value(&parameters, "scope"), "read:members read:clubs");
    assert!(!parameters.iter().any(|(name, _)| name.starts_with("code_challenge")));
    assert_eq!(back(&bench, &value(&parameters, "state"), GOOD).status, 200);
    assert!(bench.authority.state().asked[0].get("code_verifier").is_none());
}

#[test]
fn a_code_is_exchanged_once_with_verifier_and_address() {
    let bench = fresh(json!({}));
    let state = begun(&bench, json!({}));
    let answer = back(&bench, &state, GOOD);
    assert_eq!(answer.status, 200);
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["connectorId"], bench.connector);
    let asked = bench.authority.state().asked[0].clone();
    assert_eq!(asked["grant_type"], "authorization_code");
    assert_eq!(asked["redirect_uri"], CALLBACK);
    assert_eq!(text(&asked, "code_verifier").len(), 43);
    let shown = bench.credentials();
    assert!(shown["authorizedAt"].is_string() && shown["expiresAt"].is_string(), "{shown}");
    refused(&back(&bench, &state, GOOD), 400, "oauth.callback");
    assert_eq!(bench.asked(), 1, "a replay reaches nobody");
    bench.synced();
}

#[test]
fn one_of_many_equal_callbacks_counts() {
    let bench = fresh(json!({}));
    let state = begun(&bench, json!({}));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..10).map(|_| scope.spawn(|| back(&bench, &state, GOOD).status)).collect();
        calls.into_iter().map(|call| call.join().expect("a call")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(bench.asked(), 1);
}

#[test]
fn what_is_not_ours_is_not_believed() {
    let bench = fresh(json!({"issuer": "https://issuer.example"}));
    for state in ["", "x", &"a".repeat(43), "%00"] {
        refused(&back(&bench, state, GOOD), 400, "oauth.callback");
    }
    refused(&call_back(&bench.host, "", JSON), 400, "oauth.callback");
    refused(&call_back(&bench.host, "code=canary-code", JSON), 400, "oauth.callback");
    let twice = format!("state={0}&state={0}&code=canary-code", begun(&bench, json!({})));
    assert!(
        refused(&call_back(&bench.host, &twice, JSON), 400, "oauth.callback").contains("twice")
    );
    let long = format!("state={}", "a".repeat(10_000));
    refused(&call_back(&bench.host, &long, JSON), 400, "oauth.callback");
    for iss in [&[][..], &[("iss", "https://evil.example")][..]] {
        let state = begun(&bench, json!({}));
        let detail = refused(&back(&bench, &state, &[GOOD, iss].concat()), 400, "oauth.callback");
        assert!(detail.contains("iss"), "{detail}");
        // A wrong answer uses the state up.
        let right = [GOOD, &[("iss", "https://issuer.example")]].concat();
        refused(&back(&bench, &state, &right), 400, "oauth.callback");
    }
    let issuer = ("iss", "https://issuer.example");
    refused(&back(&bench, &begun(&bench, json!({})), &[issuer]), 400, "oauth.callback");
    let many: Vec<(String, String)> = (0..9).map(|n| (format!("x{n}"), String::new())).collect();
    let many = many.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let many: Vec<_> = GOOD.iter().copied().chain([issuer]).chain(many).collect();
    refused(&back(&bench, &begun(&bench, json!({})), &many), 400, "oauth.callback");
    assert_eq!(bench.asked(), 0, "no code was exchanged");
    let right = [GOOD, &[issuer]].concat();
    assert_eq!(back(&bench, &begun(&bench, json!({})), &right).status, 200);
}

#[test]
fn a_platform_that_says_no_is_quoted_safely() {
    let bench = fresh(json!({}));
    let declined = [("error", "access_denied"), ("error_description", "<script>no</script>\r\n")];
    let state = begun(&bench, json!({}));
    let answer =
        call_back(&bench.host, &query(&[&[("state", &*state)], &declined[..]].concat()), HTML);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let page = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(page.contains("access_denied (&lt;script&gt;no&lt;/script&gt;)"), "{page}");
    let detail =
        refused(&back(&bench, &begun(&bench, json!({})), &declined), 400, "oauth.declined");
    assert!(detail.contains("access_denied"), "{detail}");
    let bad = [("code", "another")];
    refused(&back(&bench, &begun(&bench, json!({})), &bad), 400, "oauth.declined");
    bench.fails("needsReauth", "oauth.not-authorized");
}

#[test]
fn the_platforms_organization_must_be_the_connections() {
    let bench = fresh(json!({"organizationParameter": "realmId"}));
    let of = json!({"connectionId": bench.connection});
    for (realm, wanted) in [(&[][..], "no `realmId`"), (&[("realmId", "club-2")][..], "club-1")] {
        let state = begun(&bench, of.clone());
        let detail = refused(&back(&bench, &state, &[GOOD, realm].concat()), 400, "oauth.callback");
        assert!(detail.contains(wanted), "{detail}");
    }
    assert_eq!(bench.asked(), 0);
    // The connector's own authorization is for one organization too, and serves no other.
    let other = [GOOD, &[("realmId", "club-2")]].concat();
    assert_eq!(back(&bench, &begun(&bench, json!({})), &other).status, 200);
    bench.fails("failed", "connector.config");
    let right = [GOOD, &[("realmId", "club-1")]].concat();
    assert_eq!(back(&bench, &begun(&bench, of), &right).status, 200);
    bench.synced();
}

#[test]
fn a_connection_uses_its_own_authorization_before_the_connectors() {
    let bench = fresh(json!({}));
    assert_eq!(back(&bench, &begun(&bench, json!({})), GOOD).status, 200);
    bench.synced();
    let of = json!({"connectionId": bench.connection});
    assert_eq!(back(&bench, &begun(&bench, of.clone()), GOOD).status, 200);
    // Only the connection's token is the present one.
    let refused_before = bench.authority.state().api_refused;
    bench.synced();
    assert_eq!(bench.authority.state().api_refused, refused_before);
    let refresh = format!("/connectors/{}/oauth/refresh", bench.connector);
    let refreshed = bench.host.call("POST", &refresh, &of, 200);
    assert_eq!(refreshed["connectionId"], bench.connection);
    let path = format!("/organizations/{ORG}/connections/{}", bench.connection);
    let shown = bench.host.get(&path)["credentials"].clone();
    assert_eq!((&shown["set"], &shown["needsReauth"]), (&json!(false), &json!(false)), "{shown}");
    assert!(shown["authorizedAt"].is_string(), "{shown}");
    // Who manages one organization acts for its connection, and not for all.
    let body = json!({"name": "treasurer", "role": "orgAdmin", "organizationId": ORG});
    let token = text(&bench.host.call("POST", "/tokens", &body, 201), "token");
    let bearer = format!("Bearer {token}");
    let start = format!("/connectors/{}/oauth/start", bench.connector);
    let as_treasurer =
        |body: &Value| bench.host.send("POST", &start, &[("Authorization", &bearer)], body).status;
    assert_eq!((as_treasurer(&of), as_treasurer(&json!({}))), (200, 403));
    let again = bench.host.send("POST", &refresh, &[("Authorization", &bearer)], &of);
    assert_eq!(again.status, 200);
    let audit = bench.host.list("/audit");
    let actions: Vec<&str> = audit.iter().filter_map(|entry| entry["action"].as_str()).collect();
    for (action, times) in
        [("startAuthorization", 3), ("authorize", 2), ("refreshAuthorization", 2)]
    {
        let found = actions.iter().filter(|found| **found == action).count();
        assert_eq!(found, times, "{action} in {actions:?}");
    }
}

#[test]
fn what_all_use_is_not_refreshed_by_one_organization() {
    let bench = fresh(json!({}));
    assert_eq!(back(&bench, &begun(&bench, json!({})), GOOD).status, 200);
    let body = json!({"name": "treasurer", "role": "orgAdmin", "organizationId": ORG});
    let token = text(&bench.host.call("POST", "/tokens", &body, 201), "token");
    let path = format!("/connectors/{}/oauth/refresh", bench.connector);
    let of = json!({"connectionId": bench.connection});
    let bearer = format!("Bearer {token}");
    let answer = bench.host.send("POST", &path, &[("Authorization", &bearer)], &of);
    refused(&answer, 409, "oauth.not-authorized");
    assert_eq!(bench.asked(), 1, "the platform was asked for the code alone");
    let refreshed = bench.host.call("POST", &path, &of, 200);
    assert_eq!(refreshed["connectionId"], Value::Null, "who manages all may: {refreshed:#}");
}

#[test]
fn what_is_removed_meanwhile_is_not_authorized() {
    let bench = fresh(json!({}));
    let of = json!({"connectionId": bench.connection});
    let (of_connection, of_connector) = (begun(&bench, of.clone()), begun(&bench, json!({})));
    let path = format!("/organizations/{ORG}/connections/{}", bench.connection);
    bench.host.change("DELETE", &path, &Value::Null, 204);
    let detail = refused(&back(&bench, &of_connection, GOOD), 400, "oauth.callback");
    assert!(detail.contains("removed meanwhile"), "{detail}");
    bench.host.change("DELETE", &format!("/connectors/{}", bench.connector), &Value::Null, 204);
    refused(&back(&bench, &of_connector, GOOD), 400, "oauth.callback");
    assert_eq!(bench.asked(), 0);
    let start = format!("/connectors/{}/oauth/start", bench.connector);
    let inactive = bench.host.call("POST", &start, &json!({}), 409);
    assert_eq!(inactive["code"], "connector.not-active");
}

#[test]
fn bodies_and_rows_that_do_not_fit_are_refused() {
    let bench = fresh(json!({}));
    let start = format!("/connectors/{}/oauth/start", bench.connector);
    let refresh = format!("/connectors/{}/oauth/refresh", bench.connector);
    for path in [&start, &refresh] {
        bench.host.call("POST", path, &json!({"connectionId": "link_99"}), 404);
        bench.host.call("POST", path, &json!({"connectionId": "?"}), 404);
        bench.host.call("POST", path, &json!({"connectionId": 5}), 422);
        let unknown = bench.host.call("POST", path, &json!({"connection": "link_1"}), 422);
        assert_eq!(unknown["errors"][0]["pointer"], "/connection", "{unknown:#}");
    }
    bench.host.call("POST", "/connectors/con_99/oauth/start", &json!({}), 404);
    let path = format!("/connectors/{}", bench.connector);
    for (oauth, word) in [
        (json!({"clientAuth": "jwt"}), "clientAuth"),
        (json!({"scope": "a"}), "scope"),
        (json!({"authorizeParameters": {"state": "x"}}), "state"),
        (json!([]), "sequence"),
    ] {
        let body = json!({"config": {"oauth": oauth}});
        let answer = bench.host.change("PATCH", &path, &body, 422);
        assert_eq!(answer["errors"][0]["pointer"], "/config/oauth", "{answer:#}");
        let message = text(&answer["errors"][0], "message");
        assert!(message.contains(word) || word == "clientAuth" || word == "sequence", "{message}");
    }
    let body = json!({"endpoints": {"baseUrl": "https://a.example", "tokenUrl": "nowhere"}});
    let answer = bench.host.change("PATCH", &path, &body, 422);
    assert_eq!(answer["errors"][0]["pointer"], "/endpoints/tokenUrl", "{answer:#}");
    // Private addresses are as closed to token requests as to any other, whether the row says so or the name server.
    let with_token_url = |url: &str| {
        json!({"endpoints": {
            "baseUrl": "https://a.example", "authorizeUrl": "https://a.example/a", "tokenUrl": url,
        }})
    };
    let body = with_token_url("http://127.0.0.1:9/token");
    let answer = bench.host.change("PATCH", &path, &body, 422);
    assert_eq!(answer["errors"][0]["pointer"], "/endpoints/tokenUrl", "{answer:#}");
    bench.host.change("PATCH", &path, &with_token_url("https://localhost:9/token"), 200);
    let answer = back(&bench, &begun(&bench, json!({})), GOOD);
    assert!(refused(&answer, 409, "connector.config").contains("allowPrivate"));
}

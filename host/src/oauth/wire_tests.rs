//! Tables of honest and lying answers of token endpoints.

use super::*;

fn outcome(status: u16, body: &str) -> String {
    let secrets = ["canary-refresh", "s3cr3t/+x"];
    let told = |refresh: &Option<Arc<Secret<String>>>| match refresh {
        Some(refresh) => format!(" [{}]", refresh.expose()),
        None => String::new(),
    };
    match read(status, body.as_bytes(), Some(Duration::from_secs(7)), &secrets) {
        Ok(issued) => format!(
            "{}{} {:?} {:?}",
            issued.access.expose(),
            told(&issued.refresh),
            issued.life_millis,
            issued.refresh_life_millis
        ),
        Err(Refused::Dead(words)) => format!("dead: {words}"),
        Err(Refused::Client(words)) => format!("client: {words}"),
        Err(Refused::Unavailable(words, wait)) => {
            format!("unavailable: {words} {}", wait.map_or(0, |wait| wait.as_secs()))
        }
        Err(Refused::Lie(words, refresh)) => format!("lie: {words}{}", told(&refresh)),
        Err(Refused::Denied(words)) => format!("denied: {words}"),
    }
}

#[track_caller]
fn check(status: u16, body: &str, expected: &str) {
    assert_eq!(outcome(status, body), expected, "{status} {body}");
}

#[test]
fn honest_answers_are_read() {
    check(
        200,
        r#"{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r"}"#,
        "a [r] Some(3600000) None",
    );
    check(200, r#"{"access_token":"a","token_type":"bearer"}"#, "a None None");
    check(200, r#"{"access_token":"a","token_type":"BEARER","expires_in":null}"#, "a None None");
    check(200, r#"{"access_token":"a"}"#, "a None None");
    check(201, r#"{"access_token":"a","token_type":"Bearer"}"#, "a None None");
    check(
        200,
        r#"{"access_token":"a","token_type":"bearer","x_refresh_token_expires_in":8726400}"#,
        "a None Some(8726400000)",
    );
    check(
        200,
        r#"{"access_token":"a","refresh_token":"r","refresh_expires_in":0}"#,
        "a [r] None None",
    );
    check(
        200,
        "access_token=a%2Fb&token_type=bearer&expires_in=60&refresh_token=r",
        "a/b [r] Some(60000) None",
    );
}

#[test]
fn lives_that_are_no_lives_say_nothing() {
    for (life, expected) in [
        ("3600", "Some(3600000)"),
        ("\"3600\"", "Some(3600000)"),
        ("\" 60 \"", "Some(60000)"),
        ("59.9", "Some(59900)"),
        ("0", "None"),
        ("-1", "None"),
        ("\"soon\"", "None"),
        ("\"NaN\"", "None"),
        ("\"inf\"", "None"),
        ("[]", "None"),
        ("true", "None"),
        ("1e308", "Some(315360000000)"),
        ("99999999999999999999999999", "Some(315360000000)"),
    ] {
        let body = format!(r#"{{"access_token":"a","expires_in":{life}}}"#);
        check(200, &body, &format!("a {expected} None"));
    }
}

#[test]
fn refusals_are_told_apart() {
    check(400, r#"{"error":"invalid_grant"}"#, "dead: invalid_grant");
    check(401, r#"{"error":"invalid_grant"}"#, "dead: invalid_grant");
    check(200, r#"{"error":"invalid_grant"}"#, "dead: invalid_grant");
    check(200, "error=invalid_grant&error_description=no", "dead: invalid_grant (no)");
    check(401, r#"{"error":"invalid_client"}"#, "client: invalid_client");
    check(400, r#"{"error":"unauthorized_client"}"#, "client: unauthorized_client");
    check(400, r#"{"error":"invalid_scope"}"#, "client: invalid_scope");
    check(400, r#"{"error":"slow_down"}"#, "unavailable: slow_down 7");
    check(400, r#"{"error":"temporarily_unavailable"}"#, "unavailable: temporarily_unavailable 7");
    check(429, "", "unavailable: the platform answers 429 7");
    check(503, "<html>", "unavailable: the platform answers 503 7");
    // A gateway that fails says nothing of the grant, whatever it copies into its page.
    check(500, r#"{"error":"invalid_grant"}"#, "unavailable: the platform answers 500 7");
}

#[test]
fn lies_are_noticed_and_a_new_refresh_token_in_them_is_kept() {
    let no_answer = "lie: the platform's answer is no token answer";
    let no_token = "lie: the platform's answer has no usable access_token";
    check(200, "<html>Sign in to the hotel's network</html>", no_answer);
    check(200, "", no_answer);
    check(200, "[1]", no_answer);
    check(200, "{}", no_token);
    check(200, r#"{"access_token":""}"#, no_token);
    check(200, r#"{"access_token":5}"#, no_token);
    check(200, r#"{"access_token":"a\r\nX: y"}"#, no_token);
    check(200, r#"{"refresh_token":"new"}"#, &format!("{no_token} [new]"));
    check(
        200,
        r#"{"access_token":"a","token_type":"mac","refresh_token":"new"}"#,
        "lie: the platform's answer has a token_type other than Bearer [new]",
    );
    check(200, r#"{"access_token":"a","token_type":7}"#, {
        "lie: the platform's answer has a token_type other than Bearer"
    });
    check(302, "", "lie: the platform answers 302 without a reason");
    check(400, "<html>", "lie: the platform answers 400 without a reason");
    check(401, "", "lie: the platform answers 401 without a reason");
    let long = format!(r#"{{"access_token":"{}"}}"#, "a".repeat(TOKEN_BYTES_MAX + 1));
    check(200, &long, no_token);
}

#[test]
fn what_a_platform_says_is_shown_short_and_without_secrets() {
    check(
        400,
        r#"{"error":"invalid_grant","error_description":"token canary-refresh of s3cr3t%2F%2Bx\r\nis old"}"#,
        "dead: invalid_grant (token *** of ***  is old)",
    );
    let long = format!(r#"{{"error":"x","error_description":"{}"}}"#, "é".repeat(1_000));
    check(400, &long, &format!("client: x ({})", "é".repeat(DESCRIPTION_CHARS_MAX)));
}

//! People: who may make, change and remove whom, and what a body has to say.

use serde_json::{Value, json};

use super::sessions::login;
use super::world::{PASSWORD, json_of, token, user, with_token};
use crate::fixture::{Host, text};
use crate::rig::program;

fn host() -> Host {
    let host = Host::start(&[]);
    host.create_organization("north");
    host.create_organization("south");
    host
}

#[test]
fn a_user_is_made_shown_changed_and_removed() {
    let host = host();
    let id = user(&host, "a@north.example", "viewer", Some("north"));
    let path = format!("/users/{id}");
    let shown = host.send("GET", &path, &[], &Value::Null);
    let tag = shown.header("etag").expect("a tag").to_owned();
    let row = json_of(&shown);
    assert_eq!(row["email"], "a@north.example");
    assert!(!row.to_string().contains("argon"), "{row:#}");
    let renamed = json!({"name": "A"});
    assert_eq!(host.send("PATCH", &path, &[], &renamed).status, 428);
    assert_eq!(host.send("PATCH", &path, &[("If-Match", &tag)], &renamed).status, 200);
    assert_eq!(host.send("PATCH", &path, &[("If-Match", &tag)], &renamed).status, 412);
    assert_eq!(host.send("DELETE", &path, &[("If-Match", &tag)], &Value::Null).status, 412);
    host.change("PATCH", &path, &json!({"email": "b@north.example"}), 200);
    assert_eq!(login(&host, "a@north.example", PASSWORD).status, 401);
    assert_eq!(login(&host, "b@north.example", PASSWORD).status, 201);
    host.change("DELETE", &path, &Value::Null, 204);
    host.call("GET", &path, &Value::Null, 404);
    // The address is free again.
    user(&host, "B@north.example", "viewer", Some("north"));
}

#[test]
fn bodies_are_refused_with_a_pointer() {
    let host = host();
    user(&host, "taken@north.example", "viewer", None);
    let base = json!({"email": "x@north.example", "role": "viewer", "password": PASSWORD});
    for (change, pointer) in [
        (json!({"email": "no address"}), "/email"),
        (json!({"email": null}), "/email"),
        (json!({"role": "king"}), "/role"),
        (json!({"role": null}), "/role"),
        (json!({"role": "orgAdmin"}), "/organizationId"),
        (json!({"role": "platformAdmin", "organizationId": "north"}), "/organizationId"),
        (json!({"organizationId": "nowhere"}), "/organizationId"),
        (json!({"password": "short"}), "/password"),
        (json!({"password": "password123"}), "/password"),
        (json!({"password": "x".repeat(300)}), "/password"),
        (json!({"password": null}), "/password"),
        (json!({"disabled": "no"}), "/disabled"),
        (json!({"organisationId": "north"}), "/organisationId"),
    ] {
        let mut body = base.clone();
        body.as_object_mut().expect("an object").extend(change.as_object().cloned().expect("one"));
        let problem = host.call("POST", "/users", &body, 422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    let mut taken = base.clone();
    taken["email"] = json!("TAKEN@north.example");
    assert_eq!(host.call("POST", "/users", &taken, 409)["code"], "user.exists");
    let mut long = base;
    long["password"] = json!("ab cd ".repeat(20));
    host.call("POST", "/users", &long, 201);
}

#[test]
fn an_organization_admin_manages_the_viewers_of_one_organization() {
    let host = host();
    let admin = token(&host, "orgAdmin", Some("north"));
    let boss = user(&host, "boss@north.example", "orgAdmin", Some("north"));
    let far = user(&host, "far@south.example", "viewer", Some("south"));
    let top = user(&host, "top@platform.example", "platformAdmin", None);
    let send = |method: &str, path: &str, body: Value, status: u16| {
        let answer = with_token(&host, &admin, method, path, &body);
        let shown = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{method} {path} {body}: {shown}");
        serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()
    };
    let new = |role: &str, org: Option<&str>| json!({"email": "n@north.example", "role": role, "organizationId": org, "password": PASSWORD});
    send("POST", "/users", new("platformAdmin", None), 403);
    send("POST", "/users", new("orgAdmin", Some("north")), 403);
    send("POST", "/users", new("viewer", Some("south")), 422);
    let made = send("POST", "/users", new("viewer", None), 201);
    assert_eq!(made["organizationId"], "north");
    let mine = format!("/users/{}", text(&made, "id"));
    send("PATCH", &mine, json!({"role": "orgAdmin"}), 403);
    send("PATCH", &mine, json!({"organizationId": "south"}), 422);
    send("PATCH", &mine, json!({"name": "N"}), 200);
    for (id, status) in [(&boss, 403), (&far, 404), (&top, 404)] {
        let path = format!("/users/{id}");
        send("PATCH", &path, json!({"name": "N"}), status);
        send("PUT", &format!("{path}/password"), json!({"password": "taken over now"}), status);
        send("DELETE", &path, Value::Null, status);
    }
    send("GET", &format!("/users/{boss}"), Value::Null, 200);
    send("DELETE", &mine, Value::Null, 204);
}

#[test]
fn the_last_platform_admin_stays() {
    let host = host();
    let only = user(&host, "only@platform.example", "platformAdmin", None);
    let path = format!("/users/{only}");
    for (method, body) in [
        ("PATCH", json!({"disabled": true})),
        ("PATCH", json!({"role": "viewer"})),
        ("DELETE", Value::Null),
    ] {
        assert_eq!(host.change(method, &path, &body, 409)["code"], "user.last-admin");
    }
    user(&host, "second@platform.example", "platformAdmin", None);
    host.change("DELETE", &path, &Value::Null, 204);
}

#[test]
fn init_makes_the_first_admin_or_says_why_not() {
    let place = tempfile::TempDir::new().expect("a temporary directory");
    let file = place.path().join("password");
    let init = |data: &str, email: &str, password: &str| {
        std::fs::write(&file, password).expect("the password file");
        let data = place.path().join(data).display().to_string();
        let file = file.display().to_string();
        let flags = ["--admin-email", email, "--admin-password-file", &file];
        program(&[&["init", "--json", "--data-dir", &data], &flags[..]].concat(), &[])
    };
    for (email, password) in [("a@b.example", "short\n"), ("no address", "long enough now\n")] {
        let refused = init("refused", email, password);
        assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
        assert!(!place.path().join("refused").exists(), "nothing is left behind");
    }
    let made = init("made", "Admin@platform.example", "long enough now\n");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let told: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let names: Vec<&String> = told.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["dataDir", "keyFile", "token"]);
    let mut host = Host::start(&[]);
    host.adopt(&place.path().join("made"), &text(&told, "token"));
    assert_eq!(login(&host, "admin@platform.example", "long enough now").status, 201);
    let row = &host.list("/users")[0];
    assert_eq!(
        (&row["role"], &row["email"]),
        (&json!("platformAdmin"), &json!("Admin@platform.example"))
    );
}

#[test]
fn the_command_line_manages_users_and_tokens() {
    let host = host();
    let server = format!("http://{}", host.address());
    let place = tempfile::TempDir::new().expect("a temporary directory");
    let file = place.path().join("password").display().to_string();
    std::fs::write(&file, format!("{PASSWORD}\n")).expect("the password file");
    let run = |token: &str, arguments: &[&str], code: i32| {
        let environment = [("SYNCLINE_SERVER", server.as_str()), ("SYNCLINE_TOKEN", token)];
        let output = program(arguments, &environment);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let all = host.token.clone();
    let email = "cli@north.example";
    let base = ["user", "create", email, "--role", "viewer", "--org", "north"];
    let create = [&base[..], &["--password-file", &file, "--json"]].concat();
    let made: Value = serde_json::from_str(&run(&all, &create, 0)).expect("JSON");
    assert_eq!(made["organizationId"], "north");
    assert_eq!(login(&host, email, PASSWORD).status, 201);
    run(&all, &["user", "update", email, "--name", "From the shell", "--disable"], 0);
    assert!(run(&all, &["user", "list", "--org", "north"], 0).contains("From the shell"));
    assert_eq!(login(&host, email, PASSWORD).status, 401);
    run(&all, &["user", "update", email, "--enable"], 0);
    run(&all, &["user", "password", email, "--password-file", &file], 0);
    let create = ["token", "create", "reports", "--role", "viewer", "--org", "north"];
    let secret = run(&all, &create, 0).trim().to_owned();
    run(&secret, &["org", "list"], 0);
    run(&secret, &["user", "list"], 77);
    run("syn_wrong", &["org", "list"], 77);
    let listed: Value =
        serde_json::from_str(&run(&all, &["token", "list", "--json"], 0)).expect("JSON");
    let items = listed["items"].as_array().expect("items");
    let mine = items.iter().find(|row| row["name"] == "reports").expect("the token");
    assert!(!listed.to_string().contains(&secret));
    run(&all, &["token", "delete", &text(mine, "id")], 0);
    run(&secret, &["org", "list"], 77);
    run(&all, &["user", "delete", email], 0);
    run(&all, &["user", "delete", email], 4);
    assert!(run(&all, &["audit", "list", "--action", "createUser"], 0).contains("createUser"));
    run(&all, &["audit", "verify"], 0);
}

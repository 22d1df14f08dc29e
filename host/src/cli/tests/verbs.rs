//! What each verb sends.

use super::*;

#[test]
fn a_connector_is_created_with_secrets_from_safe_places_only() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "key-from-file\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str, &str, Option<Value>); 6] = [
        (&[], "", "none", None),
        (&["--api-key-file", file], "", "apiKey", Some(json!({"apiKey": "key-from-file"}))),
        (
            &["--api-key-env", "FEDERATION_KEY"],
            "",
            "apiKey",
            Some(json!({"apiKey": "key-from-variable"})),
        ),
        (
            &["--username", "u", "--password-file", "-"],
            "pa ss\r\n",
            "basic",
            Some(json!({"username": "u", "password": "pa ss"})),
        ),
        (&["--token-file", "-"], "t", "bearer", Some(json!({"token": "t"}))),
        (
            &["--client-id", "c", "--client-secret-file", "-"],
            "s",
            "oauth2",
            Some(json!({"clientId": "c", "clientSecret": "s"})),
        ),
    ];
    for (flags, input, auth_type, credentials) in cases {
        let mut args = vec!["connector", "create", "--name", "main", "--federation-code", "gaa"];
        args.extend(["--plugin", "some-plugin", "--base-url", "http://127.0.0.1:8081/api"]);
        args.extend(["--endpoint", "memberDetail=/m/{id}?x=1", "--strategy", "merge"]);
        args.extend(["--config-json", r#"{"requestsPerMinute": 60}"#]);
        args.extend(flags);
        let steps = vec![("POST /connectors", 201, json!({"id": "con_1"}))];
        let (ended, seen) = against(steps, &args, input);
        assert_eq!(ended.exit, Exit::Ok);
        let mut expect = json!({
            "name": "main", "federationCode": "gaa", "plugin": "some-plugin",
            "authType": auth_type,
            "endpoints": {
                "baseUrl": "http://127.0.0.1:8081/api", "memberDetail": "/m/{id}?x=1"
            },
            "config": {"requestsPerMinute": 60},
            "syncConfig": {"conflictStrategy": "merge"},
        });
        if let Some(credentials) = credentials {
            expect["credentials"] = credentials;
        }
        assert_eq!(body(&seen[0]), expect);
    }
    let ended = command(&["connector", "credentials", "c", "--username", "u"], &[], "");
    assert_eq!(ended.exit, Exit::Usage);
    let both = ["connector", "credentials", "c", "--token-file", "a", "--api-key-file", "b"];
    assert_eq!(command(&both, &[], "").exit, Exit::Usage);
}

#[test]
fn an_authorization_begins_with_an_address_and_a_refresh_shows_what_is_known() {
    let started = json!({"authorizationUrl": "https://a.example/?state=s", "state": "s"});
    let steps = vec![connectors(), ("POST /connectors/con_1/oauth/start", 200, started)];
    let args = ["connector", "oauth", "start", "main", "--connection", "link_1"];
    let (ended, seen) = against(steps, &args, "");
    assert_eq!(body(&seen[1]), json!({"connectionId": "link_1"}));
    assert_eq!(ended.out, "https://a.example/?state=s\n");
    let known = json!({"connectorId": "con_1", "needsReauth": false});
    let steps = vec![connectors(), ("POST /connectors/con_1/oauth/refresh", 200, known)];
    let (ended, seen) = against(steps, &["connector", "oauth", "refresh", "main"], "");
    assert_eq!((ended.exit, body(&seen[1])), (Exit::Ok, json!({})));
    assert!(ended.out.contains("needsReauth:  false"), "{}", ended.out);
}

#[test]
fn an_update_lays_changes_over_the_row_and_carries_its_tag() {
    let row = json!({"id": "con_1", "endpoints": {"baseUrl": "http://a", "x": "/x"}, "config": {}});
    let steps = vec![
        connectors(),
        ("GET /connectors/con_1", 200, row),
        ("PATCH /connectors/con_1", 200, json!({"id": "con_1"})),
    ];
    let args = ["connector", "update", "main", "--base-url", "http://b", "--name", "new"];
    let (ended, seen) = against(steps, &args, "");
    assert_eq!(ended.exit, Exit::Ok);
    assert_eq!(seen[2].if_match, "\"v7\"");
    let endpoints = json!({"baseUrl": "http://b", "x": "/x"});
    assert_eq!(body(&seen[2]), json!({"name": "new", "endpoints": endpoints}));
}

#[test]
fn organizations_are_connected_and_disconnected_by_connector_name() {
    let path = "POST /organizations/club%201/connections";
    let steps = vec![connectors(), (path, 201, json!({"id": "link_1"}))];
    let args =
        ["org", "connect", "club 1", "main", "--federation-org-id", "77", "--strategy", "merge"];
    let (_, seen) = against(steps, &args, "");
    let expect = json!({"connectorId": "con_1", "federationOrgId": "77", "strategy": "merge"});
    assert_eq!(body(&seen[1]), expect);

    let link = json!({"id": "link_9", "connectorId": "con_1"});
    let steps = vec![
        connectors(),
        ("GET /organizations/c/connections?limit=200", 200, list(json!([link]))),
        ("GET /organizations/c/connections/link_9", 200, link.clone()),
        ("DELETE /organizations/c/connections/link_9", 204, Value::Null),
    ];
    let (ended, seen) = against(steps, &["org", "disconnect", "c", "main"], "");
    assert_eq!((ended.exit, seen[3].if_match.as_str()), (Exit::Ok, "\"v7\""));

    let (ended, _) = against(vec![connectors()], &["connector", "show", "absent"], "");
    assert_eq!(ended.exit, Exit::NotFound);
}

/// A sync without names, where there is one connection, that ends as `last` says. Of a server without streams, so that
/// the run is asked for.
fn waited(last: Value) -> Ended {
    let no_stream = || ("GET /sync/status/run_1/events", 404, json!({"code": "not-found"}));
    let running = json!({"syncId": "run_1", "status": "running",
        "progress": {"phase": "fetch", "fetched": 3, "total": 9}});
    let steps = vec![
        (ORGANIZATIONS, 200, list(json!([{"id": "club"}]))),
        (
            "GET /organizations/club/connections?limit=200",
            200,
            list(json!([{"id": "link_1", "connectorId": "con_1"}])),
        ),
        ("POST /sync/member", 202, json!({"syncId": "run_1", "status": "queued"})),
        no_stream(),
        ("GET /sync/status/run_1", 200, json!({"syncId": "run_1", "status": "queued"})),
        no_stream(),
        ("GET /sync/status/run_1", 200, running),
        no_stream(),
        ("GET /sync/status/run_1", 200, last),
    ];
    let (ended, seen) = against(steps, &["sync", "member", "--wait"], "");
    let expect = json!({"organizationId": "club", "connectorId": "con_1", "mode": "full",
        "dryRun": false});
    assert_eq!(body(&seen[2]), expect);
    ended
}

#[test]
fn waiting_for_a_run_tells_its_outcome_by_exit_code() {
    let cases = [
        ("completed", 0, Exit::Ok),
        ("completed", 2, Exit::RecordFailures),
        ("partial", 0, Exit::RecordFailures),
        ("failed", 0, Exit::Failed),
        ("cancelled", 0, Exit::Failed),
        ("held", 0, Exit::Failed),
        ("needsReauth", 0, Exit::Failed),
        ("waiting", 0, Exit::Failed),
    ];
    for (status, quarantined, exit) in cases {
        let counts = json!({"fetched": 9, "created": 0, "quarantined": quarantined});
        let run = json!({"syncId": "run_1", "status": status, "counts": counts,
            "errors": [{"code": "some.code", "message": "page 3 answered 500"}]});
        assert_eq!(crate::cli::sync::verdict(&run), exit, "{status}");
        if status == "failed" || quarantined == 2 {
            let ended = waited(run);
            assert_eq!(ended.exit, exit);
            assert!(ended.out.starts_with(&format!("run_1 {status}\nfetched 9")), "{}", ended.out);
            assert!(ended.err.contains("queued\nfetch 3/9\n"), "{}", ended.err);
            assert!(ended.err.contains("some.code: page 3 answered 500"));
        }
    }
}

#[test]
fn several_connections_must_be_told_apart() {
    let steps = vec![
        (ORGANIZATIONS, 200, list(json!([{"id": "club"}]))),
        (
            "GET /organizations/club/connections?limit=200",
            200,
            list(json!([{"connectorId": "con_1"}, {"connectorId": "con_2"}])),
        ),
    ];
    let (ended, _) = against(steps, &["sync", "member"], "");
    assert_eq!(ended.exit, Exit::Usage);
    assert!(ended.err.contains("--org club --connector con_2"), "{}", ended.err);
    let steps =
        vec![connectors(), ("POST /sync/all", 202, json!({"syncId": "run_2", "joined": true}))];
    let args = [
        "sync",
        "all",
        "--org",
        "o",
        "--connector",
        "b",
        "--mode",
        "ids",
        "--ids",
        "1,2",
        "--dry-run",
    ];
    let (ended, seen) = against(steps, &args, "");
    assert_eq!(ended.err, "joined run_2, which was already waiting\n");
    let expect = json!({"organizationId": "o", "connectorId": "con_2", "mode": "ids",
        "ids": ["1", "2"], "dryRun": true});
    assert_eq!(body(&seen[1]), expect);
}

#[test]
fn runs_are_exported_approved_and_undone() {
    let export = json!({"conflicts": []});
    let steps = vec![("GET /sync/status/run_1/export?format=csv", 200, export.clone())];
    let (ended, _) = against(steps, &["run", "export", "run_1", "--format", "csv"], "");
    assert_eq!(ended.out, export.to_string());
    let steps = vec![
        ("GET /sync/status/run_1", 200, json!({"status": "held", "planHash": "abc"})),
        ("POST /sync/status/run_1/approve", 200, json!({"syncId": "run_1"})),
    ];
    let (_, seen) = against(steps, &["run", "approve", "run_1"], "");
    assert_eq!(body(&seen[1]), json!({"planHash": "abc"}));
    let steps = vec![("GET /sync/status/run_1", 200, json!({"status": "completed"}))];
    let (ended, _) = against(steps, &["run", "approve", "run_1"], "");
    assert_eq!(ended.exit, Exit::Conflict);
    for verb in ["cancel", "undo"] {
        let line: &'static str = match verb {
            "cancel" => "POST /sync/status/%252E%252E/cancel",
            _ => "POST /sync/status/%252E%252E/undo",
        };
        let (ended, _) =
            against(vec![(line, 404, json!({"title": "no"}))], &["run", verb, ".."], "");
        assert_eq!(ended.exit, Exit::NotFound);
    }
}

#[test]
fn records_are_edited_and_conflicts_resolved() {
    let steps = vec![
        (ORGANIZATIONS, 200, list(json!([{"id": "club"}]))),
        ("GET /organizations/club/records/rec_1", 200, json!({"id": "rec_1"})),
        ("PATCH /organizations/club/records/rec_1", 200, json!({"id": "rec_1"})),
    ];
    let args = ["record", "edit", "rec_1", "email=a=b@c.ie", "phone:=null", "tags:=[\"x\"]"];
    let (_, seen) = against(steps, &args, "");
    assert_eq!(seen[2].if_match, "\"v7\"");
    let fields = json!({"email": "a=b@c.ie", "phone": null, "tags": ["x"]});
    assert_eq!(body(&seen[2]), json!({ "fields": fields }));

    let cases: [(&[&str], Value); 3] = [
        (&["remote"], json!({"choice": "remote"})),
        (&["value", "--value", "5"], json!({"choice": "value", "value": "5"})),
        (&["value", "--value-json", "5"], json!({"choice": "value", "value": 5})),
    ];
    for (choice, expect) in cases {
        let args = [&["conflict", "resolve", "conf_1"], choice].concat();
        let (_, seen) =
            against(vec![("POST /conflicts/conf_1/resolve", 200, json!({}))], &args, "");
        assert_eq!(body(&seen[0]), expect);
    }
}

#[test]
fn plugins_are_uploaded_as_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.wasm");
    std::fs::write(&file, "\0asm").unwrap();
    let steps = vec![("POST /plugins", 201, json!({"name": "x", "state": "pending"}))];
    let (ended, seen) = against(steps, &["plugin", "install", file.to_str().unwrap()], "");
    assert_eq!(seen[0].content_type, "application/wasm");
    assert_eq!(seen[0].body, "\0asm");
    assert_eq!(ended.out, "name:   x\nstate:  pending\n");
    let limit = [("SYNCLINE_LIMITS_PLUGIN_FILE_BYTES_MAX", "1024")];
    std::fs::write(&file, vec![0; 1025]).unwrap();
    let ended = command(&["plugin", "install", file.to_str().unwrap()], &limit, "");
    assert!(ended.err.contains("is larger than 1024 bytes"), "{}", ended.err);
}

#[test]
fn a_schedule_is_made_changed_paused_and_looked_at() {
    let created = json!({"id": "sch_2", "cron": "@daily"});
    let steps = vec![connectors(), ("POST /sync/schedules", 201, created.clone())];
    let args = ["schedule", "set", "--connector", "main", "--org", "o", "--cron", "@daily"];
    let more = ["--overlap", "bufferOne", "--jitter", "0s", "--mode", "incremental"];
    let (ended, seen) = against(steps, &[&args[..], &more[..]].concat(), "");
    assert_eq!(ended.exit, Exit::Ok);
    let expect = json!({"connectorId": "con_1", "organizationId": "o", "cron": "@daily",
        "overlap": "bufferOne", "jitter": "0s", "mode": "incremental"});
    assert_eq!(body(&seen[1]), expect);

    let path = "GET /sync/schedules/sch_2";
    let steps =
        vec![(path, 200, created.clone()), ("PUT /sync/schedules/sch_2", 200, created.clone())];
    let args = ["schedule", "set", "sch_2", "--catch-up", "2h", "--enabled", "false"];
    let (_, seen) = against(steps, &args, "");
    assert_eq!(seen[1].if_match, "\"v7\"");
    assert_eq!(body(&seen[1]), json!({"catchUpWindow": "2h", "enabled": false}));
    assert_eq!(command(&["schedule", "set", "--cron", "@daily"], &[], "").exit, Exit::Usage);

    let steps = vec![("POST /sync/schedules/sch_2/pause", 200, created.clone())];
    let args = ["schedule", "pause", "sch_2", "--reason", "holidays"];
    let (_, seen) = against(steps, &args, "");
    assert_eq!(body(&seen[0]), json!({"reason": "holidays"}));

    let next = list(json!([{"nominalAt": "2026-01-01T02:00:00.000Z"}]));
    let steps = vec![("GET /sync/schedules/sch_2/next?count=3", 200, next)];
    let (ended, _) = against(steps, &["schedule", "next", "sch_2", "--count", "3"], "");
    assert!(ended.out.contains("2026-01-01T02:00:00.000Z"), "{}", ended.out);

    let fires = list(json!([{"outcome": "skipped", "reason": "run_1 is still running"}]));
    let steps = vec![("GET /sync/schedules/sch_2/fires?outcome=caughtUp&limit=50", 200, fires)];
    let args = ["schedule", "fires", "sch_2", "--outcome", "caughtUp"];
    let (ended, _) = against(steps, &args, "");
    assert!(ended.out.contains("run_1 is still running"), "{}", ended.out);

    let steps = vec![(path, 200, created), ("DELETE /sync/schedules/sch_2", 204, Value::Null)];
    let (ended, seen) = against(steps, &["schedule", "delete", "sch_2"], "");
    assert_eq!((ended.exit, seen[1].if_match.as_str()), (Exit::Ok, "\"v7\""));
}

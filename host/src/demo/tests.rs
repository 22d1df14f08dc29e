//! The federation as a client sees it, and the story's own soundness.

use super::*;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

struct Caller {
    federation: Federation,
    http: reqwest::Client,
}

impl Caller {
    async fn start(members: u32) -> Caller {
        let federation = Federation::start(members).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Caller { federation, http }
    }

    async fn get(&self, path: &str, key: Option<&str>) -> (StatusCode, Value) {
        let mut request = self.http.get(format!("http://{}{path}", self.federation.address()));
        if let Some(key) = key {
            request = request.header("X-API-Key", key);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    async fn list(&self, page: u32, limit: u32) -> (StatusCode, Value) {
        let path = format!("/clubs/{ORGANIZATION}/members?page={page}&limit={limit}");
        self.get(&path, Some(API_KEY)).await
    }
}

#[tokio::test]
async fn answers_by_path_and_key() {
    let caller = Caller::start(10).await;
    let id = caller.federation.founder(0).member_id;
    let detail = format!("/members/{id}");
    let cases: [(&str, Option<&str>, u16); 8] = [
        ("/clubs/naomh-eoin/members", Some(API_KEY), 200),
        (&detail, Some(API_KEY), 200),
        ("/clubs/naomh-eoin/members", None, 401),
        ("/clubs/naomh-eoin/members", Some("another"), 401),
        ("/clubs/other/members", Some(API_KEY), 404),
        ("/members/IE-1", Some(API_KEY), 404),
        ("/", Some(API_KEY), 404),
        ("/clubs/naomh-eoin/members?page=0", Some(API_KEY), 400),
    ];
    for (path, key, expect) in cases {
        let (status, _) = caller.get(path, key).await;
        assert_eq!(status.as_u16(), expect, "{path} with {key:?}");
    }
    let (_, body) = caller.get(&detail, Some(API_KEY)).await;
    assert_eq!(body["member"]["memberId"], *id);
}

#[tokio::test]
async fn pages_add_up_and_one_is_refused_once() {
    let caller = Caller::start(25).await;
    let (mut ids, mut refusals) = (Vec::new(), 0);
    for page in 1..=9 {
        let (status, body) = match caller.list(page, 3).await {
            (StatusCode::SERVICE_UNAVAILABLE, _) => {
                refusals += 1;
                caller.list(page, 3).await
            }
            answer => answer,
        };
        assert_eq!(status, StatusCode::OK, "page {page}");
        assert_eq!(body["totalCount"], 25);
        assert_eq!(body["hasMore"], page < 9);
        let members = body["members"].as_array().unwrap();
        ids.extend(members.iter().map(|member| member["memberId"].as_str().unwrap().to_owned()));
    }
    assert_eq!(refusals, 1);
    assert_eq!(ids.len(), 25);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 25);
    let (_, beyond) = caller.list(10, 3).await;
    assert_eq!(beyond["members"], serde_json::json!([]));
}

#[tokio::test]
async fn plays_its_part() {
    let federation = Federation::start(10).await.unwrap();
    let now: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
    let id = |slot| federation.founder(slot).member_id;
    federation.play(1, "email", &Remote::Set("a@b.example".to_owned()), now);
    federation.play(2, "email", &Remote::SetYesterday("c@d.example".to_owned()), now);
    federation.play(3, "", &Remote::Remove, now);
    federation.play(SLOTS, "", &Remote::Add, now);
    federation.play(4, "email", &Remote::Nothing, now);
    let changed = federation.member(&id(1)).unwrap();
    assert_eq!(
        (changed.email.as_str(), changed.updated_at.as_str()),
        ("a@b.example", "2026-03-02T10:00:00.000Z")
    );
    assert_eq!(federation.member(&id(2)).unwrap().updated_at, "2026-03-01T10:00:00.000Z");
    assert_eq!(federation.member(&id(3)), None);
    assert_eq!(federation.member(&id(4)), Some(federation.founder(4)));
    assert_eq!(federation.member(&id(SLOTS)), Some(federation.founder(SLOTS)));
}

#[tokio::test]
async fn every_size_has_a_member_for_each_slot() {
    for members in [MEMBERS_MIN, 11, 19, 250, 9_999] {
        let federation = Federation::start(members).await.unwrap();
        let founders: BTreeSet<String> =
            (0..=SLOTS).map(|slot| federation.founder(slot).member_id).collect();
        assert_eq!(founders.len(), SLOTS as usize + 1, "{members}");
        let listed =
            (0..SLOTS).all(|slot| federation.member(&federation.founder(slot).member_id).is_some());
        assert!(listed, "{members}");
        assert!(members.div_ceil(page_size(members)) >= 10, "{members}");
    }
}

#[test]
fn members_are_distinct_and_the_same_each_time() {
    let members: Vec<Member> = (0..20_000).map(Member::invent).collect();
    let people: HashSet<(String, &str)> =
        members.iter().map(|member| (member.name(), member.date_of_birth.as_str())).collect();
    assert_eq!(people.len(), members.len());
    let names: HashSet<String> = members.iter().take(3_599).map(Member::name).collect();
    assert_eq!(names.len(), 3_599);
    for (what, letter) in [("a fada", "á"), ("O'", "O'"), ("Mc", "Mc"), ("Ní", "Ní ")] {
        assert!(members.iter().take(250).any(|member| member.name().contains(letter)), "{what}");
    }
    assert_eq!(members[17], Member::invent(17));
}

#[test]
fn a_scene_changes_what_it_says() {
    let scenes = scenes(Member::invent);
    let kinds: Vec<Kind> = scenes.iter().map(|scene| scene.kind).collect();
    for scene in &scenes {
        assert_eq!(kinds.iter().filter(|kind| **kind == scene.kind).count(), 1, "{:?}", scene.kind);
        let member = Member::invent(scene.slot);
        if let Remote::Set(value) | Remote::SetYesterday(value) = &scene.remote {
            assert_ne!(member.get(scene.field), value, "{:?}", scene.kind);
        }
        if let Some(local) = &scene.local {
            assert_ne!(member.get(scene.field), local.value, "{:?}", scene.kind);
        }
        let other =
            scenes.iter().filter(|other| (other.slot, other.field) == (scene.slot, scene.field));
        assert_eq!(other.count(), 1, "{:?}", scene.kind);
    }
    // A field has one strategy, however many scenes are about it.
    for scene in &scenes {
        let rivals = scenes.iter().filter(|other| other.field == scene.field);
        let strategies: BTreeSet<&str> = rivals.filter_map(|other| other.kind.strategy()).collect();
        assert!(strategies.len() <= 1, "{}: {strategies:?}", scene.field);
    }
}

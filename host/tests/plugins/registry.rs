//! Approval by digest, reload, and which version of a name serves.

use crate::fixtures::{engine, hostile_connector, hostile_strategy, page_of, short, variant};
use std::path::PathBuf;
use std::sync::Arc;
use syncline::clock::Clock;
use syncline::plugin::{
    COMPONENTS, Info, Limits, Options, Registry, RegistryError, State, sha256_hex,
};

struct House {
    _data: tempfile::TempDir,
    directory: PathBuf,
}

impl House {
    fn new() -> House {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("plugins");
        std::fs::create_dir(&directory).unwrap();
        House { _data: data, directory }
    }

    fn drop_file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.directory.join(name), bytes).unwrap();
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.directory.with_file_name("plugins.lock")).unwrap_or_default()
    }

    async fn open(&self, embedded: Vec<&'static [u8]>, dev: bool) -> Arc<Registry> {
        let clock = Clock::fixed("2026-02-28T10:00:00Z".parse().unwrap());
        let directory = Some(self.directory.clone());
        let options = Options { embedded, directory, dev, clock };
        Registry::open(engine(short()), options).await.unwrap()
    }
}

fn row(registry: &Registry, sha256: &str) -> Info {
    registry.list().into_iter().find(|info| info.sha256 == sha256).expect("is listed")
}

fn serving(registry: &Registry) -> Option<String> {
    registry.connector("hostile").map(|loaded| loaded.sha256.clone())
}

#[tokio::test]
async fn a_dropped_file_waits_for_approval() {
    let house = House::new();
    house.drop_file("mine.wasm", hostile_connector());
    let registry = house.open(vec![], false).await;
    let sha256 = sha256_hex(hostile_connector());
    assert_eq!(row(&registry, &sha256).state, State::Pending);
    assert!(registry.connector("hostile").is_none());
    assert!(registry.connector_by_digest(&sha256).is_none());

    let info = registry.approve("hostile", None, "ada").await.unwrap();
    assert_eq!(info.state, State::Active);
    assert_eq!(info.approved_at.as_deref(), Some("2026-02-28T10:00:00.000Z"));
    assert_eq!(serving(&registry), Some(sha256.clone()));
    assert!(registry.connector_by_digest(&sha256).is_some());
    let lock = house.lock();
    for words in [&sha256, "https://api.example.org", "approvedBy = \"ada\"", "active = true"] {
        assert!(lock.contains(words), "{lock}");
    }
    // Again is no error, and a restart remembers.
    assert_eq!(registry.approve("hostile", None, "ada").await.unwrap().state, State::Active);
    let restarted = house.open(vec![], false).await;
    assert_eq!(serving(&restarted), Some(sha256));
}

#[tokio::test]
async fn what_it_asks_for_is_shown() {
    let house = House::new();
    let registry = house.open(vec![], false).await;
    let info = registry.inspect(hostile_connector().to_vec()).await.unwrap();
    let text = info.to_string();
    for words in
        ["connector hostile 0.1.0", "{baseUrl}, https://api.example.org", "member, team", "fetch"]
    {
        assert!(text.contains(words), "{text}");
    }
    assert!(registry.list().is_empty(), "inspecting keeps nothing");
}

#[tokio::test]
async fn installing_writes_only_what_loads() {
    let house = House::new();
    let registry = house.open(vec![], false).await;
    let files = || std::fs::read_dir(&house.directory).unwrap().count();
    let refused = registry.install(b"garbage".to_vec()).await;
    assert!(matches!(refused, Err(RegistryError::Load(_))));
    assert_eq!((files(), registry.list().len()), (0, 0));

    let info = registry.install(hostile_connector().to_vec()).await.unwrap();
    assert_eq!((info.state, files()), (State::Pending, 1));
    assert!(info.source.starts_with("hostile-"), "{}", info.source);
    // The same bytes again are the same plugin, and a reload finds the file.
    registry.install(hostile_connector().to_vec()).await.unwrap();
    registry.reload().await.unwrap();
    assert_eq!((files(), registry.list().len()), (1, 1));
}

#[tokio::test]
async fn an_approved_file_replaces_the_embedded_component_and_gives_way_again() {
    let house = House::new();
    let embedded = hostile_connector();
    let other = variant("other");
    let registry = house.open(vec![embedded, hostile_strategy()], false).await;
    assert_eq!(serving(&registry), Some(sha256_hex(embedded)));

    house.drop_file("hostile.wasm", &other);
    registry.reload().await.unwrap();
    assert_eq!(serving(&registry), Some(sha256_hex(embedded)), "not before approval");
    let refused = registry.activate("hostile", &sha256_hex(&other)).await;
    assert!(matches!(refused, Err(RegistryError::NotApproved { .. })));
    registry.approve("hostile", Some(&sha256_hex(&other)), "ada").await.unwrap();
    assert_eq!(serving(&registry), Some(sha256_hex(&other)));
    assert_eq!(row(&registry, &sha256_hex(embedded)).state, State::Inactive);

    registry.activate("hostile", &sha256_hex(embedded)).await.unwrap();
    assert_eq!(serving(&registry), Some(sha256_hex(embedded)));
    assert_eq!(row(&registry, &sha256_hex(&other)).state, State::Inactive);
    registry.activate("hostile", &sha256_hex(&other)).await.unwrap();
    assert_eq!(serving(&registry), Some(sha256_hex(&other)));

    std::fs::remove_file(house.directory.join("hostile.wasm")).unwrap();
    registry.reload().await.unwrap();
    assert_eq!(serving(&registry), Some(sha256_hex(embedded)), "a deleted file serves no more");
}

#[tokio::test]
async fn a_bad_file_leaves_the_old_version_serving() {
    let house = House::new();
    for dev in [false, true] {
        house.drop_file("hostile.wasm", hostile_connector());
        let registry = house.open(vec![], dev).await;
        registry.approve("hostile", None, "ada").await.unwrap();
        let held = registry.connector("hostile").unwrap();

        house.drop_file("hostile.wasm", &hostile_connector()[..30_000]);
        registry.reload().await.unwrap();
        assert_eq!(serving(&registry), Some(sha256_hex(hostile_connector())), "dev {dev}");
        let rejected = registry.list().into_iter().find(|info| info.state == State::Rejected);
        let reason = rejected.and_then(|info| info.reason).unwrap();
        assert!(reason.contains("damaged"), "{reason}");
        registry.reload().await.unwrap();
        assert!(serving(&registry).is_some(), "also after another reload");

        // A job that holds it goes on whatever happens to the file.
        std::fs::remove_file(house.directory.join("hostile.wasm")).unwrap();
        registry.reload().await.unwrap();
        assert!(registry.connector("hostile").is_none());
        assert_eq!(page_of(&held, "normal", 2).await.unwrap().rows.len(), 2);
    }
}

#[tokio::test]
async fn development_approves_by_itself_and_writes_no_lock() {
    let house = House::new();
    let registry = house.open(vec![], true).await;
    house.drop_file("hostile.wasm", hostile_connector());
    registry.reload().await.unwrap();
    assert_eq!(serving(&registry), Some(sha256_hex(hostile_connector())));
    let next = variant("next");
    house.drop_file("hostile.wasm", &next);
    registry.reload().await.unwrap();
    assert_eq!(serving(&registry), Some(sha256_hex(&next)));
    assert_eq!(house.lock(), "");
}

#[tokio::test]
async fn several_waiting_versions_must_be_told_apart() {
    let house = House::new();
    house.drop_file("a.wasm", hostile_connector());
    house.drop_file("b.wasm", &variant("b"));
    let registry = house.open(vec![], false).await;
    let refused = registry.approve("hostile", None, "ada").await;
    assert!(matches!(refused, Err(RegistryError::Ambiguous { .. })));
    let unknown = registry.approve("nobody", None, "ada").await;
    assert!(matches!(unknown, Err(RegistryError::Unknown(_))));
    registry.approve("hostile", Some(&sha256_hex(&variant("b"))), "ada").await.unwrap();
    assert_eq!(serving(&registry), Some(sha256_hex(&variant("b"))));
}

#[tokio::test]
async fn strategies_answer_to_their_aliases() {
    let house = House::new();
    let registry = house.open(vec![hostile_strategy(), hostile_connector()], false).await;
    for name in ["hostile-strategy", "hostile_alias"] {
        assert_eq!(registry.strategy(name).unwrap().name, "hostile-strategy");
    }
    assert!(registry.strategy("hostile").is_none(), "a connector is no strategy");
    assert!(registry.connector("hostile-strategy").is_none());
}

#[tokio::test]
async fn what_is_bundled_is_active() {
    let registry = Registry::open(engine(Limits::default()), Options::bundled()).await.unwrap();
    let rows = registry.list();
    assert_eq!(rows.len(), COMPONENTS.len());
    for info in rows {
        assert_eq!(info.state, State::Active, "{info}");
        let component = COMPONENTS.iter().find(|component| component.name == info.name);
        let component = component.expect("a component is named like its manifest");
        assert_eq!(info.sha256, sha256_hex(component.bytes), "{info}");
        assert_eq!(info.source, "embedded");
    }
}

#[tokio::test]
async fn a_damaged_lock_is_an_error_and_not_an_approval() {
    let house = House::new();
    std::fs::write(house.directory.with_file_name("plugins.lock"), "[[plugin]]\nname = 1").unwrap();
    let options = Options { directory: Some(house.directory.clone()), ..Options::default() };
    let error = Registry::open(engine(short()), options).await.err().unwrap();
    assert!(error.to_string().contains("plugins.lock cannot be used"), "{error}");
}

//! What takes hours and days, on a clock that the test sets; the rest is tested from outside.

use super::*;
use crate::credentials::Given;
use crate::egress::TokenAsk;
use crate::model::ConnectionId;
use crate::model::directory::{AuthType, Connector};
use crate::model::manifest::ClientAuth;
use crate::model::notice::{Event, EventKind};
use crate::model::oauth::{BlockedReason, Initiator};
use crate::store::{directory, notices};
use crate::test_rows;
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A token endpoint that grants `access-N` and `refresh-N`; the refresh tokens live as long as its lives say.
struct Endpoint {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    refresh_seconds: Arc<Mutex<i64>>,
}

impl Endpoint {
    async fn start() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, refresh_seconds) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let endpoint = Endpoint {
            address,
            asked: Arc::clone(&asked),
            refresh_seconds: Arc::clone(&refresh_seconds),
        };
        *lock(&refresh_seconds) = 100 * 86_400;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = String::new();
                let mut chunk = [0; 4096];
                while !text.contains("\r\n\r\n") || !text.contains("grant_type=") {
                    let count = stream.read(&mut chunk).await.unwrap();
                    text.push_str(&String::from_utf8_lossy(&chunk[..count]));
                }
                let number = {
                    let mut asked = lock(&asked);
                    asked.push(text.rsplit("\r\n\r\n").next().unwrap().to_owned());
                    asked.len()
                };
                let body = json!({
                    "access_token": format!("access-{number}"), "refresh_token": format!("refresh-{number}"),
                    "token_type": "Bearer", "expires_in": 3600,
                    "x_refresh_token_expires_in": *lock(&refresh_seconds),
                })
                .to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        });
        endpoint
    }

    fn asked(&self) -> usize {
        lock(&self.asked).len()
    }
}

struct Bench {
    manager: Arc<Manager>,
    clock: Clock,
    endpoint: Endpoint,
    holder: Holder,
    _directory: tempfile::TempDir,
}

const BEGIN: &str = "2026-01-01T00:00:00Z";

fn connector() -> Connector {
    Connector { auth_type: AuthType::OAuth2, ..test_rows::connector() }
}

impl Bench {
    /// A connector with client credentials and no grant.
    async fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(directory.path(), &store::Options::default()).unwrap();
        let clock = Clock::fixed(BEGIN.parse().unwrap());
        let endpoint = Endpoint::start().await;
        let options = crate::egress::Options {
            allow_private: vec![endpoint.address.to_string().parse().unwrap()],
            ..crate::egress::Options::default()
        };
        let egress = Egress::new(options, clock.clone());
        let keys = Arc::new(Keyring::generate().unwrap());
        let url: url::Url = format!("http://{}/token", endpoint.address).parse().unwrap();
        let profiles: Profiles = Arc::new(move |_| {
            Ok(Profile {
                authorize_url: Some(url.clone()),
                token_url: url.clone(),
                revoke_url: None,
                issuer: None,
                scopes: Vec::new(),
                pkce: true,
                client_auth: ClientAuth::Basic,
                organization_parameter: None,
                authorize_parameters: BTreeMap::new(),
            })
        });
        let connector = connector();
        let holder = Holder::of_connector(connector.id);
        let given = Given::new(json!({"clientId": "id", "clientSecret": "secret"}));
        let kept = Arc::clone(&keys);
        let written = store.write(move |txn| -> Result<(), credentials::Error> {
            directory::put_connector(txn, &connector)?;
            credentials::put(txn, &kept, connector.id, None, &given, 0)
        });
        written.await.unwrap();
        let manager =
            Manager::new(store, egress, keys, clock.clone(), Options::default(), profiles);
        Bench { manager, clock, endpoint, holder, _directory: directory }
    }

    /// The same, authorized at [`BEGIN`].
    async fn authorized() -> Bench {
        let bench = Bench::new().await;
        bench.complete(bench.start().await).await.unwrap();
        bench
    }

    async fn start(&self) -> String {
        let initiator =
            Initiator { kind: "token".into(), id: "1".into(), name: "who".into(), session: None };
        let started =
            self.manager.start(self.holder.clone(), None, initiator, "http://x/cb".into()).unwrap();
        let state = started.state.expose().clone();
        self.manager.store.write(move |txn| started.keep(txn)).await.unwrap();
        state
    }

    async fn complete(&self, state: String) -> Result<Completed, Error> {
        let parameters = [("state".to_owned(), state), ("code".to_owned(), "c".to_owned())];
        self.manager.complete(Callback(parameters.into()), None).await
    }

    fn pass(&self, time: SignedDuration) {
        self.clock.set(self.clock.now() + time);
    }

    /// The token that a request gets now.
    async fn token(&self) -> String {
        let recorder: crate::egress::Recorder = Arc::new(|_| ());
        let source = self.manager.source(&self.holder, "", recorder).unwrap();
        source(TokenAsk::Current).await.unwrap().expose().clone()
    }

    fn grant(&self) -> Grant {
        grants::get(&self.manager.store.read().unwrap(), &self.holder).unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_state_lives_for_ten_minutes_and_is_stored_as_a_hash() {
    let bench = Bench::new().await;
    let (first, second) = (bench.start().await, bench.start().await);
    bench.pass(SignedDuration::from_secs(599));
    bench.complete(first).await.unwrap();
    bench.pass(SignedDuration::from_secs(1));
    let late = bench.complete(second).await;
    assert!(matches!(late, Err(Error::Callback(_))), "{late:?}");
    assert_eq!(bench.endpoint.asked(), 1);
}

#[tokio::test]
async fn an_authorization_outlives_the_browser_that_brought_it() {
    let bench = Bench::new().await;
    let state = bench.start().await;
    assert!(bench.complete(state).now_or_never().is_none(), "nothing is there at once");
    bench.manager.settle().await;
    assert_eq!(bench.grant().authorized_by.as_deref(), Some("who"));
    assert_eq!(bench.endpoint.asked(), 1);
}

#[tokio::test]
async fn a_token_is_replaced_before_its_end_and_not_long_before() {
    let bench = Bench::authorized().await;
    bench.pass(SignedDuration::from_mins(53));
    assert_eq!(bench.token().await, "access-1");
    bench.pass(SignedDuration::from_mins(1));
    assert_eq!(bench.token().await, "access-2", "six minutes are a tenth of an hour");
    assert_eq!(bench.token().await, "access-2");
    // A clock that is set back makes no storm.
    bench.pass(SignedDuration::from_hours(-2));
    assert_eq!(bench.token().await, "access-2");
    assert_eq!(bench.endpoint.asked(), 2);
    assert!(lock(&bench.endpoint.asked)[1].contains("refresh_token=refresh-1"));
}

/// Lets the daily look do what is due, until the grant is as wanted.
async fn tended(bench: &Bench, wanted: impl Fn(&Grant) -> bool) {
    for _ in 0..6_000 {
        if wanted(&bench.grant()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the daily look does not come to it: {:?}", bench.grant());
}

#[tokio::test]
async fn an_idle_refresh_token_is_used_each_day() {
    let bench = Bench::authorized().await;
    let stop = CancellationToken::new();
    let tending = tokio::spawn(Arc::clone(&bench.manager).tend(stop.clone()));
    for day in 1..=3 {
        let before = bench.grant().generation;
        bench.pass(SignedDuration::from_hours(24) + SignedDuration::from_secs(1));
        tended(&bench, |grant| grant.generation > before).await;
        assert_eq!(bench.endpoint.asked(), day + 1);
    }
    stop.cancel();
    tending.await.unwrap();
}

#[tokio::test]
async fn warnings_come_once_for_each_step() {
    let bench = Bench::authorized().await;
    let begin: Timestamp = BEGIN.parse().unwrap();
    for (day, warned) in [
        (60, None),
        (70, Some(30)),
        (80, Some(30)),
        (93, Some(7)),
        (98, Some(7)),
        (99, Some(1)),
        (101, Some(1)),
    ] {
        let now = to_millis_after(begin, day);
        bench.manager.warn(&bench.holder, now).await.unwrap();
        assert_eq!(bench.grant().warned_days, warned, "day {day}");
        let soon = expiring(&[bench.grant()], now, WARN_DAYS[0]);
        assert_eq!(
            soon.first().map(|soon| soon.days_left),
            warned.map(|_| 100_u32.saturating_sub(day))
        );
    }
    // A token that lives longer begins anew.
    bench.manager.refresh_now(&bench.holder, true).await.unwrap();
    bench.pass(SignedDuration::from_secs(1));
    *lock(&bench.endpoint.refresh_seconds) = 200 * 86_400;
    bench.manager.refresh_now(&bench.holder, true).await.unwrap();
    assert_eq!(bench.grant().warned_days, None);
}

fn to_millis_after(begin: Timestamp, days: u32) -> i64 {
    clock::to_millis(begin) + i64::from(days) * 86_400_000
}

#[tokio::test]
async fn a_grant_that_was_replaced_meanwhile_is_not_marked() {
    let bench = Bench::authorized().await;
    let (old, holder) = (bench.grant().generation, bench.holder.clone());
    bench.manager.refresh_now(&holder, true).await.unwrap();
    let marked = bench
        .manager
        .store
        .write(move |txn| needs_reauth(txn, &holder, old, BlockedReason::NeedsReauth, "late", 0));
    marked.await.unwrap();
    assert_eq!(bench.grant().blocked, None);
    assert!(!notices::any_raised(&bench.manager.store.read().unwrap()).unwrap());
}

#[tokio::test]
async fn somebody_is_told_once_of_a_grant_that_died() {
    let bench = Bench::authorized().await;
    for _ in 0..2 {
        let (holder, generation) = (bench.holder.clone(), bench.grant().generation);
        let marked = bench.manager.store.write(move |txn| {
            needs_reauth(txn, &holder, generation, BlockedReason::NeedsReauth, "withdrawn", 0)
        });
        marked.await.unwrap();
    }
    let raised = bench.manager.store.write(|txn| notices::take_raised(txn, 10)).await;
    let raised: Result<_, store::Error> = raised;
    let raised = raised.unwrap();
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert_eq!(raised[0].event.kind, EventKind::CredentialsDead);
    assert_eq!(raised[0].event.facts[Event::REASON], "withdrawn");
}

#[tokio::test]
async fn an_authorization_of_a_connection_is_a_login_of_its_own() {
    let bench = Bench::authorized().await;
    let (connector, of) = (bench.holder.connector, ("club", ConnectionId(1)));
    let is_own = || {
        let read = bench.manager.store.read().unwrap();
        credentials::is_own(&read, connector, of).unwrap()
    };
    assert!(!is_own(), "the connector's is everybody's");
    let holder = Holder::of_connection(connector, of.0, of.1);
    let grant = Grant { holder, ..bench.grant() };
    let written = bench.manager.store.write(move |txn| grants::put(txn, &grant)).await;
    let written: Result<(), store::Error> = written;
    written.unwrap();
    assert!(is_own());
}

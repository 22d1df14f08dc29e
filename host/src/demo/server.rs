//! The federation's HTTP API, on a loopback port: a paged list, a detail, an API key. Two of its pages are slow, and
//! one is refused at first.

use super::roster::Member;
use super::story::Remote;
use super::{API_KEY, ORGANIZATION, SLOTS};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

const SLOW_PAGES: [usize; 2] = [3, 7];
const SLOW: Duration = Duration::from_millis(250);
const REFUSED_PAGE: usize = 5;
const PAGE_ROWS_DEFAULT: usize = 100;
const PAGE_ROWS_MAX: usize = 1000;
const CONNECTIONS_MAX: usize = 64;
/// A pause after a failed accept: most likely the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running federation; it ends when it is dropped.
pub struct Federation {
    address: SocketAddr,
    club: Arc<Club>,
    _serving: AbortOnDropHandle<()>,
}

struct Club {
    members: Mutex<Vec<Member>>,
    /// Numbers given away so far, those of members that left included.
    founders: u32,
    refused: AtomicBool,
}

impl Club {
    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Federation {
    /// Listens on a free port of the loopback interface. Errors when there is none.
    pub async fn start(members: u32) -> io::Result<Federation> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let club = Arc::new(Club {
            members: Mutex::new((0..members).map(Member::invent).collect()),
            founders: members,
            refused: AtomicBool::new(false),
        });
        let serving = tokio::spawn(accept(listener, Arc::clone(&club)));
        Ok(Federation { address, club, _serving: AbortOnDropHandle::new(serving) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The member of the story with this number, as it was at first: spread over the list. The number behind the last
    /// is the one who joins later.
    pub fn founder(&self, slot: u32) -> Member {
        let founders = u64::from(self.club.founders);
        let slots = u64::from(SLOTS);
        let number = if slot < SLOTS {
            (u64::from(slot) * founders + founders / 2) / slots
        } else {
            founders
        };
        Member::invent(u32::try_from(number).unwrap_or(self.club.founders))
    }

    /// What the federation says of a member now; none if it does not list it.
    pub fn member(&self, id: &str) -> Option<Member> {
        self.club.members().iter().find(|member| member.member_id == id).cloned()
    }

    /// Plays the federation's part of a scene at an instant.
    pub fn play(&self, slot: u32, field: &str, part: &Remote, now: Timestamp) {
        let founder = self.founder(slot);
        let mut members = self.club.members();
        let (value, at) = match part {
            Remote::Nothing => return,
            Remote::Add => return members.push(founder),
            Remote::Remove => {
                return members.retain(|member| member.member_id != founder.member_id);
            }
            Remote::Set(value) => (value, now),
            Remote::SetYesterday(value) => {
                let yesterday = now.checked_sub(SignedDuration::from_hours(24));
                (value, yesterday.unwrap_or(Timestamp::UNIX_EPOCH))
            }
        };
        let mut found = members.iter_mut().filter(|member| member.member_id == founder.member_id);
        if let Some(member) = found.next() {
            member.set(field, value.clone(), at);
        }
    }
}

async fn accept(listener: TcpListener, club: Arc<Club>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&club)))),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, club: Arc<Club>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let club = Arc::clone(&club);
        async move { Ok::<_, Infallible>(answer(&request, &club).await) }
    });
    // A client that goes away in the middle is its own business.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(request: &Request<Incoming>, club: &Club) -> Response<Full<Bytes>> {
    if request.headers().get("x-api-key").is_none_or(|key| key.as_bytes() != API_KEY.as_bytes()) {
        return error(StatusCode::UNAUTHORIZED, "a valid X-API-Key is required");
    }
    if request.method() != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, "this API only reads");
    }
    let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    match path.as_slice() {
        ["clubs", ORGANIZATION, "members"] => {
            list(request.uri().query().unwrap_or_default(), club).await
        }
        ["clubs", _, "members"] => error(StatusCode::NOT_FOUND, "there is no such club"),
        ["members", id] => match club.members().iter().find(|member| member.member_id == *id) {
            Some(member) => json(StatusCode::OK, &json!({ "member": member })),
            None => error(StatusCode::NOT_FOUND, "there is no such member"),
        },
        _ => error(StatusCode::NOT_FOUND, "there is no such path"),
    }
}

async fn list(query: &str, club: &Club) -> Response<Full<Bytes>> {
    let number = |wanted: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let found = pairs.find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.parse::<usize>().ok().filter(|number| *number > 0))
    };
    let (page, limit) = match (number("page"), number("limit")) {
        (Some(None), _) | (_, Some(None)) => {
            return error(StatusCode::BAD_REQUEST, "page and limit are numbers from 1");
        }
        (page, limit) => (
            page.flatten().unwrap_or(1),
            limit.flatten().unwrap_or(PAGE_ROWS_DEFAULT).min(PAGE_ROWS_MAX),
        ),
    };
    if page == REFUSED_PAGE && !club.refused.swap(true, Ordering::SeqCst) {
        return error(StatusCode::SERVICE_UNAVAILABLE, "too busy, try again");
    }
    if SLOW_PAGES.contains(&page) {
        tokio::time::sleep(SLOW).await;
    }
    let members = club.members();
    let start = (page - 1).saturating_mul(limit).min(members.len());
    let end = start.saturating_add(limit).min(members.len());
    let body = json!({
        "members": members.get(start..end).unwrap_or_default(),
        "totalCount": members.len(),
        "page": page,
        "hasMore": end < members.len(),
    });
    json(StatusCode::OK, &body)
}

fn error(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    json(status, &json!({ "error": message }))
}

fn json(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

//! HTTP/1.1 on a socket, by hand, because a federation with faults must be able to break it.
//!
//! Owns reading requests and sending answers, cut, dripped, endless or garbled. It knows nothing
//! of members. No HTTP library is used for sending: none lets a caller end a head in the middle.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bounds of what a client may send.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 1 << 30;
const HEADERS_MAX: usize = 100;

/// One request as it was read.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// In the order of arrival, names as sent.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Request {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let same = |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
        self.headers.iter().find(same).map(|(_, value)| value.as_str())
    }

    /// Path and query apart.
    pub fn split_target(&self) -> (&str, &str) {
        self.target.split_once('?').unwrap_or((&self.target, ""))
    }
}

/// What goes back.
pub enum Reply {
    Http(Box<Answer>),
    /// These bytes and the end of the connection.
    NotHttp(Bytes),
    /// Head lines until the client gives up.
    EndlessHead,
    /// Nothing until the client gives up.
    Hang,
}

/// An answer and how it goes over the wire.
pub struct Answer {
    pub status: u16,
    /// Without `Content-Length` and `Date`, unless a fault sets them.
    pub headers: Vec<(String, String)>,
    pub body: Body,
    pub delay: Duration,
    pub clock_skew_s: i64,
    pub drip: Option<Drip>,
    pub cut: Option<Cut>,
    /// Chunked coding with pieces of so many bytes.
    pub chunk_bytes: Option<usize>,
}

/// The body's bytes; the repeated middle is made while sending, so that 100 MB cost nothing here.
pub enum Body {
    Whole(Bytes),
    Repeated { start: Bytes, middle: Bytes, times: u64, end: Bytes },
}

#[derive(Debug, Clone, Copy)]
pub struct Drip {
    pub piece_bytes: usize,
    pub pause: Duration,
    pub head: bool,
}

/// Stop after so many bytes of the body, or before the head.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// None: before the head.
    pub after_bytes: Option<usize>,
    /// With a reset (RST) or quietly (FIN).
    pub reset: bool,
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Answer {
        Answer {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: Body::Whole(body.into()),
            delay: Duration::ZERO,
            clock_skew_s: 0,
            drip: None,
            cut: None,
            chunk_bytes: None,
        }
    }

    pub fn json(status: u16, body: impl Into<Bytes>) -> Answer {
        Answer::new(status, "application/json; charset=utf-8", body)
    }

    /// Adds a header, in place of one of the same name.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name))
    }

    fn head(&self) -> Vec<u8> {
        use std::fmt::Write as _;
        let reason = match self.status {
            200 => "OK",
            401 => "Unauthorized",
            404 => "Not Found",
            429 => "Too Many Requests",
            503 => "Service Unavailable",
            _ => "Status",
        };
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self.has_header("date") {
            let _ = write!(head, "Date: {}\r\n", http_date(self.clock_skew_s));
        }
        if self.chunk_bytes.is_some() {
            head.push_str("Transfer-Encoding: chunked\r\n");
        } else if !self.has_header("content-length") {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl Body {
    pub fn len(&self) -> u64 {
        match self {
            Body::Whole(bytes) => bytes.len() as u64,
            Body::Repeated { start, middle, times, end } => {
                start.len() as u64 + middle.len() as u64 * times + end.len() as u64
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body in one piece; for a repeated one its start only.
    fn first_part(&self) -> Bytes {
        match self {
            Body::Whole(bytes) | Body::Repeated { start: bytes, .. } => bytes.clone(),
        }
    }
}

/// An HTTP-date so many seconds from now.
pub fn http_date(seconds_from_now: i64) -> String {
    let now = jiff::Timestamp::now();
    let then = now.checked_add(jiff::SignedDuration::from_secs(seconds_from_now)).unwrap_or(now);
    then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The next request of a connection; none where the client is done.
pub async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
) -> io::Result<Option<Request>> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    let (mut request, head_bytes) = loop {
        if let Some(parsed) = parse_head(buffer)? {
            break parsed;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(invalid("the request's head is too large"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    buffer.advance(head_bytes);
    if request.header("transfer-encoding").is_some() {
        return Err(invalid("send requests with a Content-Length"));
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>);
    let length = length.map_err(|_| invalid("Content-Length is no number"))?;
    if length > BODY_BYTES_MAX {
        return Err(invalid("the request's body is too large"));
    }
    if request.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    buffer.reserve(length.saturating_sub(buffer.len()));
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    request.body = buffer.split_to(length).freeze();
    Ok(Some(request))
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let status = parsed
        .parse(buffer)
        .map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause.to_string()))?;
    let httparse::Status::Complete(head_bytes) = status else {
        return Ok(None);
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
        body: Bytes::new(),
    };
    Ok(Some((request, head_bytes)))
}

/// Sends a reply; tells whether the connection may serve another request.
pub async fn send(stream: &mut TcpStream, reply: Reply) -> io::Result<bool> {
    match reply {
        Reply::Http(answer) => send_answer(stream, *answer).await,
        Reply::NotHttp(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            Ok(false)
        }
        Reply::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            let line = format!("X-Filler: {}\r\n", "f".repeat(1000));
            loop {
                stream.write_all(line.as_bytes()).await?;
            }
        }
        Reply::Hang => {
            let mut ignored = [0; 1024];
            while stream.read(&mut ignored).await? > 0 {}
            Ok(false)
        }
    }
}

async fn send_answer(stream: &mut TcpStream, answer: Answer) -> io::Result<bool> {
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    let head = Bytes::from(answer.head());
    if let Some(cut) = answer.cut {
        if let Some(after_bytes) = cut.after_bytes {
            let part = answer.body.first_part();
            stream.write_all(&head).await?;
            stream.write_all(&part[..after_bytes.min(part.len())]).await?;
        }
        return hang_up(stream, cut.reset).await;
    }
    if let Some(drip) = answer.drip {
        let body = answer.body.first_part();
        send_slowly(stream, &head, drip.head.then_some(drip)).await?;
        send_slowly(stream, &body, Some(drip)).await?;
        return Ok(true);
    }
    if let Some(piece_bytes) = answer.chunk_bytes {
        stream.write_all(&head).await?;
        for piece in answer.body.first_part().chunks(piece_bytes.max(1)) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            stream.write_all(piece).await?;
            stream.write_all(b"\r\n").await?;
        }
        stream.write_all(b"0\r\n\r\n").await?;
        return Ok(true);
    }
    match answer.body {
        Body::Whole(body) => stream.write_all_buf(&mut head.chain(body)).await?,
        Body::Repeated { start, middle, times, end } => {
            stream.write_all_buf(&mut head.chain(start)).await?;
            for _ in 0..times {
                stream.write_all(&middle).await?;
            }
            stream.write_all(&end).await?;
        }
    }
    Ok(true)
}

/// Ends a connection early. What was written reaches the client first: a reset that overtakes it
/// would test another case than the one that was asked for.
async fn hang_up(stream: &mut TcpStream, reset: bool) -> io::Result<bool> {
    if reset {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.set_zero_linger()?;
    } else {
        stream.shutdown().await?;
    }
    Ok(false)
}

async fn send_slowly(stream: &mut TcpStream, bytes: &[u8], drip: Option<Drip>) -> io::Result<()> {
    let Some(Drip { piece_bytes, pause, .. }) = drip else {
        return stream.write_all(bytes).await;
    };
    for piece in bytes.chunks(piece_bytes.max(1)) {
        stream.write_all(piece).await?;
        stream.flush().await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

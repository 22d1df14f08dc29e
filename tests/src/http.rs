//! A small blocking HTTP/1.1 client for loopback, on one connection that is kept.
//!
//! Owns what the tests and the benchmarks need and no more: no TLS, no redirects, no pooling. It
//! exists so that a test's own client cannot hide what the server under test does.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer may be this large; a listing of 1,000,000 members in one answer would still fit.
const BODY_BYTES_MAX: u64 = 1 << 30;
const HEADERS_MAX: usize = 1_000;
const TIMEOUT: Duration = Duration::from_secs(120);

/// A connection to one server.
pub struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// What to send.
pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Besides `Host` and `Content-Length`.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// What came back.
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Connection { address, stream: BufReader::with_capacity(256 * 1024, stream) })
    }

    /// One request and its answer. After an error the connection is of no more use.
    pub fn send(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        self.write(request)?;
        self.read()
    }

    /// The first half of [`Connection::send`]: several requests can be under way.
    pub fn write(&mut self, request: &Request<'_>) -> io::Result<()> {
        let Request { method, target, headers, body } = request;
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in *headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)
    }

    /// The second half of [`Connection::send`].
    pub fn read(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status =
            status.ok_or_else(|| invalid(&format!("no HTTP status in {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if headers.len() == HEADERS_MAX {
                return Err(invalid("the answer has too many headers"));
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| invalid("a header without :"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        answer.body = self.body(&answer)?;
        Ok(answer)
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            loop {
                let size = self.line()?;
                let size = u64::from_str_radix(size.split(';').next().unwrap_or_default(), 16)
                    .map_err(|_| invalid("a chunk without a size"))?;
                self.take_into(size, &mut body)?;
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match answer.header("content-length").map(str::parse) {
            Some(Ok(length)) => self.take_into(length, &mut body)?,
            Some(Err(_)) => return Err(invalid("Content-Length is no number")),
            None if answer.status == 204 || answer.status == 304 => {}
            None => {
                self.stream.by_ref().take(BODY_BYTES_MAX).read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    fn take_into(&mut self, bytes: u64, body: &mut Vec<u8>) -> io::Result<()> {
        if bytes > BODY_BYTES_MAX {
            return Err(invalid("the answer is too large"));
        }
        body.reserve(usize::try_from(bytes).unwrap_or(0));
        let read = self.stream.by_ref().take(bytes).read_to_end(body)?;
        if read as u64 == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.by_ref().take(64 * 1024).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

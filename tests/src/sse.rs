//! A reader of `text/event-stream` as a program would write it: blocking, on one connection, with the last id that it
//! saw.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any heartbeat.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One event, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub kind: String,
    pub id: String,
    pub data: String,
}

/// A stream that is being read.
pub struct Stream {
    pub status: u16,
    pub headers: Vec<String>,
    reader: BufReader<TcpStream>,
    /// Bytes of the current chunk that are not read yet.
    left: usize,
    over: bool,
    line: Vec<u8>,
    /// Comments that came so far.
    pub comments: usize,
}

impl Stream {
    /// Asks for a stream; `target` is path and query.
    pub fn open(
        address: SocketAddr,
        target: &str,
        token: &str,
        last_event_id: Option<&str>,
    ) -> io::Result<Stream> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {token}\r\n"
        );
        if let Some(id) = last_event_id {
            head.push_str(&format!("Last-Event-ID: {id}\r\n"));
        }
        head.push_str("\r\n");
        (&stream).write_all(head.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end() {
                "" => break,
                header => headers.push(header.to_ascii_lowercase()),
            }
        }
        let over = status != 200;
        Ok(Stream { status, headers, reader, left: 0, over, line: Vec::new(), comments: 0 })
    }

    /// The next event; none at the end of the stream. An error where the connection broke.
    pub fn event(&mut self) -> io::Result<Option<Event>> {
        let mut event = Event::default();
        while let Some(line) = self.next_line()? {
            match line.split_once(':') {
                _ if line.is_empty() => {
                    if !event.data.is_empty() {
                        return Ok(Some(event));
                    }
                    event = Event::default();
                }
                Some(("", _)) => self.comments += 1,
                Some((name, value)) => {
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    match name {
                        "event" => value.clone_into(&mut event.kind),
                        "id" => value.clone_into(&mut event.id),
                        "data" => event.data.push_str(value),
                        _ => {}
                    }
                }
                None => {}
            }
        }
        Ok(None)
    }

    /// The next line of the body, whatever chunks it came in.
    fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let Some(byte) = self.next_byte()? else { return Ok(None) };
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    return String::from_utf8(line).map(Some).map_err(io::Error::other);
                }
                byte => self.line.push(byte),
            }
        }
    }

    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        if self.over {
            return Ok(None);
        }
        if self.left == 0 {
            let mut size = String::new();
            if self.reader.read_line(&mut size)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            if size == 0 {
                self.over = true;
                return Ok(None);
            }
            self.left = size;
        }
        let byte = *self.reader.fill_buf()?.first().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.reader.consume(1);
        self.left -= 1;
        if self.left == 0 {
            let mut end = String::new();
            self.reader.read_line(&mut end)?;
        }
        Ok(Some(byte))
    }
}

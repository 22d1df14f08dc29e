//! `text/event-stream` as the verbs read it, event by event. What breaks is the caller's to take up again, with the id of
//! the last event.

use reqwest::Response;
use serde_json::Value;

/// A line may be a whole run with all its errors.
const LINE_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) id: Option<String>,
    pub(super) data: Value,
}

pub(super) struct Events {
    response: Response,
    lines: Lines,
}

impl Events {
    pub(super) fn new(response: Response) -> Events {
        Events { response, lines: Lines::default() }
    }

    /// The next event; none where the stream ended or broke.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.lines.event() {
                return Some(event);
            }
            let chunk = self.response.chunk().await.ok().flatten()?;
            self.lines.push(&chunk)?;
        }
    }
}

/// Bytes on their way to lines, and lines on their way to events.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    begun: Event,
}

impl Lines {
    /// None where a line does not end.
    fn push(&mut self, chunk: &[u8]) -> Option<()> {
        self.bytes.extend_from_slice(chunk);
        (self.bytes.len() <= LINE_BYTES_MAX).then_some(())
    }

    fn event(&mut self) -> Option<Event> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).into_owned();
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.begun);
                if event.data != Value::Null {
                    return Some(event);
                }
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "event" => value.clone_into(&mut self.begun.kind),
                "id" => self.begun.id = Some(value.to_owned()),
                "data" => self.begun.data = serde_json::from_str(value).unwrap_or_default(),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_come_out_of_whatever_pieces() {
        let text = ": hello\nretry: 100\n\nevent: run\nid: a1\ndata: {\"n\":1}\n\n: still here\n\n\
                    event: end\r\nid: b2\r\ndata: [\"é\"]\r\n\r\n";
        for size in 1..=text.len() {
            let (mut lines, mut events) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                assert!(lines.push(piece).is_some());
                events.extend(std::iter::from_fn(|| lines.event()));
            }
            let event = |kind: &str, id: &str, data| Event {
                kind: kind.to_owned(),
                id: Some(id.to_owned()),
                data,
            };
            let expected = [event("run", "a1", json!({"n": 1})), event("end", "b2", json!(["é"]))];
            assert_eq!(events, expected, "pieces of {size}");
        }
    }
}

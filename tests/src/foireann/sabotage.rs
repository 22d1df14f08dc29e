//! What each fault does to an answer.
//!
//! Faults work in three places, in this order: on the members themselves, on the page before it
//! becomes bytes, and on the answer before it goes over the wire. One that does not concern a
//! place leaves it alone.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::club::{Club, Page};
use super::fault::{Cursor, ErrorBody, Fault, Moment, RetryAfter, Shuffle};
use super::generate;
use super::wire::{Answer, Body, Cut, Drip, Reply, Request, http_date};

/// Numbers of members that exist only in faults.
const INVENTED_FROM: u64 = 5_000_000;
const LOGIN_PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><title>Sign in</title></head>\
    <body><h1>Sign in</h1><form method=\"post\" action=\"/login\"><input name=\"user\">\
    <input name=\"password\" type=\"password\"></form></body></html>\n";
const FILLER_ROWS: usize = 200;

/// Changes the list itself, for good.
pub fn edit_members(fault: &Fault, club: &mut Club, seed: u64) {
    let Fault::Shuffle { shuffle } = fault else {
        return;
    };
    match *shuffle {
        Shuffle::DropFirst(count) => club.drop_first(count),
        Shuffle::InsertFirst(count) => {
            let number = |offset: usize| INVENTED_FROM + offset as u64;
            let row = |offset| generate::list_record(seed, number(offset)).into_boxed_str();
            club.prepend((0..count).map(row).collect());
        }
        Shuffle::Move { from, to } => {
            if let Err(cause) = club.move_row(from, to) {
                eprintln!("foireann-sim: fault without effect: {cause}");
            }
        }
    }
}

/// Changes one page before it is rendered.
pub fn edit_page(fault: &Fault, page: &mut Page, club: &Club, seed: u64) {
    match fault {
        Fault::EndlessCursor { cursor } => endless(*cursor, page, club, seed),
        Fault::HasMore { value } => page.tail.has_more = *value,
        Fault::TotalCount { off_by, per_page_drift } => {
            page.tail.total_count += off_by + per_page_drift * page.tail.page as i64;
        }
        Fault::EmptyPage { has_more } => {
            page.rows.clear();
            page.tail.has_more = *has_more;
        }
        Fault::DuplicateRows { count, changed } => {
            let mut copies: Vec<Vec<u8>> = page.rows.iter().take(*count).cloned().collect();
            if *changed {
                copies.iter_mut().for_each(|row| set_field(row, "firstName", "\"Changed\""));
            }
            page.rows.extend(copies);
        }
        _ => edit_row(fault, page),
    }
}

fn endless(cursor: Cursor, page: &mut Page, club: &Club, seed: u64) {
    page.tail.has_more = true;
    match cursor {
        Cursor::SamePage => page.rows = Page::of(club, 1, page.tail.per_page).rows,
        Cursor::EmptyPages => {}
        Cursor::NewIds => {
            page.tail.total_count =
                page.tail.total_count.max((page.tail.page * page.tail.per_page) as i64 + 1);
            let missing = page.tail.per_page.saturating_sub(page.rows.len() as u64);
            let first = INVENTED_FROM + page.tail.page * page.tail.per_page;
            let row = |number| generate::list_record(seed, number).into_bytes();
            page.rows.extend((first..first + missing).map(row));
        }
    }
}

fn edit_row(fault: &Fault, page: &mut Page) {
    let (Fault::ReplaceRow { row, .. }
    | Fault::ReplaceRowHex { row, .. }
    | Fault::RemoveField { row, .. }
    | Fault::SetField { row, .. }
    | Fault::HugeField { row, .. }
    | Fault::DeepField { row, .. }
    | Fault::InvalidUtf8 { row }) = fault
    else {
        return;
    };
    let last = page.rows.len().saturating_sub(1);
    let Some(row) = page.rows.get_mut((*row).min(last)) else {
        return;
    };
    match fault {
        Fault::ReplaceRow { text, .. } => *row = text.clone().into_bytes(),
        Fault::ReplaceRowHex { hex, .. } => *row = from_hex(hex),
        Fault::RemoveField { field, .. } => change_fields(row, |fields| {
            fields.remove(field);
        }),
        Fault::SetField { field, json, .. } => set_field(row, field, json),
        Fault::HugeField { field, bytes, .. } => {
            set_field(row, field, &format!("\"{}\"", "x".repeat(*bytes)));
        }
        Fault::DeepField { field, depth, .. } => {
            set_field(row, field, &format!("{}{}", "[".repeat(*depth), "]".repeat(*depth)));
        }
        Fault::InvalidUtf8 { .. } => {
            let mark = br#""firstName":""#;
            if let Some(at) = row.windows(mark.len()).position(|part| part == mark) {
                row.insert(at + mark.len(), 0xFF);
            }
        }
        _ => {}
    }
}

/// Sets a field to a JSON text; one that is no JSON is put there all the same, at the row's end.
fn set_field(row: &mut Vec<u8>, field: &str, json: &str) {
    match RawValue::from_string(json.to_owned()) {
        Ok(value) => change_fields(row, |fields| {
            fields.insert(field.to_owned(), value);
        }),
        Err(_) => {
            if row.pop() == Some(b'}') {
                let _ = write!(row, ",{}:{json}}}", Value::from(field));
            }
        }
    }
}

fn change_fields(row: &mut Vec<u8>, change: impl FnOnce(&mut BTreeMap<String, Box<RawValue>>)) {
    let Ok(mut fields) = serde_json::from_slice(row) else {
        return;
    };
    change(&mut fields);
    if let Ok(text) = serde_json::to_vec(&fields) {
        *row = text;
    }
}

/// Changes the answer as a whole, or puts something in its place.
pub fn edit_reply(fault: &Fault, reply: Reply, request: &Request) -> Reply {
    match fault {
        Fault::Hang => return Reply::Hang,
        Fault::EndlessHead => return Reply::EndlessHead,
        Fault::NotHttp { text } => return Reply::NotHttp(text.clone().into()),
        _ => {}
    }
    match reply {
        Reply::Http(mut answer) => {
            edit_answer(fault, &mut answer, request);
            Reply::Http(answer)
        }
        other => other,
    }
}

fn edit_answer(fault: &Fault, answer: &mut Answer, request: &Request) {
    match fault {
        Fault::Status { .. }
        | Fault::Html { .. }
        | Fault::ErrorBody
        | Fault::Body { .. }
        | Fault::Redirect { .. }
        | Fault::EchoHeaders { .. }
        | Fault::BigBody { .. }
        | Fault::GzipBomb { .. } => {
            if let Some(body) = replacement(fault, answer, request) {
                let delay = answer.delay;
                *answer = body;
                answer.delay = delay;
            }
        }
        Fault::Header { name, value } => answer.set_header(name, value),
        Fault::HugeHeader { bytes } => answer.set_header("X-Huge", &"h".repeat(*bytes)),
        Fault::ClockSkew { seconds } => answer.clock_skew_s = *seconds,
        Fault::Delay { ms } => answer.delay = Duration::from_millis(*ms),
        Fault::SlowLoris { piece_bytes, pause_ms, head } => {
            let pause = Duration::from_millis(*pause_ms);
            answer.drip = Some(Drip { piece_bytes: *piece_bytes, pause, head: *head });
        }
        Fault::Cut { moment, reset } => {
            let after_bytes = match moment {
                Moment::BeforeHead => None,
                Moment::AfterHead => Some(0),
                Moment::AfterBytes(bytes) => Some(*bytes),
                Moment::MidBody => Some(usize::try_from(answer.body.len() / 2).unwrap_or(0)),
            };
            answer.cut = Some(Cut { after_bytes, reset: *reset });
        }
        Fault::TruncatedJson { keep_bytes } => {
            if let Body::Whole(body) = &mut answer.body {
                body.truncate(*keep_bytes);
            }
        }
        Fault::Chunked { piece_bytes } => answer.chunk_bytes = Some(*piece_bytes),
        _ => {}
    }
}

/// Another answer in place of the honest one.
fn replacement(fault: &Fault, honest: &Answer, request: &Request) -> Option<Answer> {
    Some(match fault {
        Fault::Status { status, retry_after, body } => {
            let mut answer = error_answer(*status, body);
            match retry_after {
                Some(RetryAfter::Seconds(seconds)) => {
                    answer.set_header("Retry-After", &seconds.to_string());
                }
                Some(RetryAfter::DateInSeconds(seconds)) => {
                    answer.set_header("Retry-After", &http_date(*seconds));
                }
                Some(RetryAfter::Raw(text)) => answer.set_header("Retry-After", text),
                None => {}
            }
            answer
        }
        Fault::Html { status } => Answer::new(*status, "text/html; charset=utf-8", LOGIN_PAGE),
        Fault::ErrorBody => Answer::json(200, error_text(500, "Internal error")),
        Fault::Body { status, content_type, text, hex } => {
            let body = hex.as_deref().map_or_else(|| text.clone().into_bytes(), from_hex);
            Answer::new(*status, content_type, body)
        }
        Fault::Redirect { status, location } => {
            let mut answer = Answer::json(*status, error_text(*status, "Moved"));
            answer.set_header("Location", location);
            answer
        }
        Fault::EchoHeaders { status } => echo(*status, honest, request)?,
        Fault::BigBody { bytes } => big_body(*bytes),
        Fault::GzipBomb { unpacked_bytes } => gzip_bomb(*unpacked_bytes),
        _ => return None,
    })
}

fn error_answer(status: u16, body: &ErrorBody) -> Answer {
    match body {
        ErrorBody::Json => Answer::json(status, error_text(status, message_of(status))),
        ErrorBody::Html => Answer::new(
            status,
            "text/html",
            format!("<html><body><h1>{status} {}</h1></body></html>", message_of(status)),
        ),
        ErrorBody::Empty => Answer::new(status, "text/plain", ""),
        ErrorBody::Text(text) => Answer::new(status, "text/plain", text.clone()),
    }
}

/// The federation's own words for a status.
pub fn message_of(status: u16) -> &'static str {
    match status {
        400 => "Bad request",
        401 => "Invalid or missing credentials",
        403 => "You do not have access to this club",
        404 => "Not found",
        429 => "Rate limit exceeded",
        503 => "Service temporarily unavailable",
        _ => "Internal error",
    }
}

/// The federation's error body.
pub fn error_text(status: u16, message: &str) -> String {
    json!({"status": status, "message": message}).to_string()
}

fn echo(status: u16, honest: &Answer, request: &Request) -> Option<Answer> {
    let headers: Vec<String> =
        request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let told = headers.join("; ");
    if status != 200 {
        return Some(Answer::json(status, error_text(status, &format!("You sent {told}"))));
    }
    let Body::Whole(body) = &honest.body else {
        return None;
    };
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    let first = answer.pointer_mut("/members/0")?.as_object_mut()?;
    first.insert("address".to_owned(), told.into());
    Some(Answer::json(200, answer.to_string()))
}

/// A list answer whose one member is repeated until it has about so many bytes.
fn big_body(bytes: u64) -> Answer {
    let row = generate::list_record(0, INVENTED_FROM);
    let middle = Bytes::from(format!("{row},").repeat(FILLER_ROWS));
    let times = bytes.div_ceil(middle.len() as u64);
    let mut answer = Answer::json(200, "");
    answer.body = Body::Repeated {
        start: Bytes::from_static(br#"{"members":["#),
        middle,
        times,
        end: format!(r#"{row}],"page":1,"perPage":1,"totalCount":1,"hasMore":false}}"#).into(),
    };
    answer
}

fn gzip_bomb(unpacked_bytes: u64) -> Answer {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let spaces = [b' '; 64 * 1024];
    let mut left = unpacked_bytes;
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(spaces.len());
        // Writing to memory cannot fail.
        let _ = packer.write_all(&spaces[..piece]);
        left -= piece as u64;
    }
    let mut answer = Answer::json(200, packer.finish().unwrap_or_default());
    answer.set_header("Content-Encoding", "gzip");
    answer
}

fn from_hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap_or_else(|cause| format!("not hex: {cause}").into_bytes())
}

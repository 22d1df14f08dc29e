//! From HTTP answers to JSON text, or to the error that tells the host what to do.

use std::fmt;

use serde::Deserialize;
use syncline_plugin_sdk::http::Response;
use syncline_plugin_sdk::{Error, Result};

/// Longest piece of the server's own words in a message, in characters.
const WORDS_CHARS_MAX: usize = 200;

/// What was asked for. Members are not named: messages go to logs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    List { page: u64, club: &'a str },
    Detail,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List { page, .. } => write!(f, "page {page}"),
            Self::Detail => f.write_str("member detail"),
        }
    }
}

/// The body of a good answer, without its byte order mark.
pub(crate) fn json_text<'a>(response: &'a Response, subject: &Subject<'_>) -> Result<&'a str> {
    let status = response.status;
    let said = words(response);
    match status {
        200 => {}
        401 => {
            return Err(Error::Auth(format!(
                "{subject}: the server does not accept the credentials (401){said}"
            )));
        }
        403 => {
            return Err(Error::Auth(format!(
                "{subject}: the credentials give no access to this (403){said}"
            )));
        }
        404 => {
            return Err(Error::NotFound(match subject {
                Subject::List { club, .. } => {
                    format!("the server does not know the club `{club}` (404){said}")
                }
                Subject::Detail => format!("the server does not know the member (404){said}"),
            }));
        }
        429 => return Err(Error::RateLimited(response.retry_after_s())),
        500..=599 => {
            return Err(Error::Unavailable(format!(
                "{subject}: the server answered {status}{said}"
            )));
        }
        _ => {
            return Err(Error::BadResponse(format!(
                "{subject}: the server answered {status}{said}"
            )));
        }
    }
    if response.is_html() {
        return Err(Error::BadResponse(format!(
            "{subject}: the server answered with a web page and not with JSON: is `baseUrl` the root of the API?"
        )));
    }
    let body = std::str::from_utf8(&response.body)
        .map_err(|_| Error::BadResponse(format!("{subject}: the answer is not UTF-8 text")))?;
    Ok(body.trim_start_matches('\u{feff}'))
}

/// What a JSON error body says, as `: message`; empty where it says nothing.
fn words(response: &Response) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    if response.status == 200 {
        return String::new();
    }
    match serde_json::from_slice::<Said>(&response.body) {
        Ok(Said { message }) if !message.trim().is_empty() => {
            format!(
                ": {}",
                message
                    .trim()
                    .chars()
                    .take(WORDS_CHARS_MAX)
                    .collect::<String>()
            )
        }
        _ => String::new(),
    }
}

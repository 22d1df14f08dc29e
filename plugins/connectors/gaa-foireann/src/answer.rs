//! From HTTP answers to JSON text, or to the error that tells the host what to do.

use std::fmt;

use syncline_plugin_sdk::http::Response;
use syncline_plugin_sdk::{Error, Result};

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
    match (response.status, subject) {
        (404, Subject::List { club, .. }) => {
            response.check_status(format_args!("club `{club}`"))?
        }
        _ => response.check_status(subject)?,
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

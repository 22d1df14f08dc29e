//! Members from a CSV file over HTTP(S), as clubs export it, with the defects that such files really have.
//!
//! Speaks the same field names as a Foireann-style API, so that both can feed the same records. Values are passed on
//! as given; dates are read by the template.

#![deny(unsafe_code)]

mod csv;
mod file;
mod header;
mod manifest;
mod member;
mod text;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use serde::Deserialize;
use syncline_plugin_sdk::{
    Connector, ConnectorManifest, Context, Error, Mode, Page, PageBuilder, PageRequest, Result, log,
};

use crate::file::File;
use crate::header::Header;

/// There is nothing to set: the file says it all.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// See the crate's documentation.
#[derive(Debug)]
pub struct CsvMembers;

impl Connector for CsvMembers {
    type Config = Config;

    fn manifest() -> ConnectorManifest {
        manifest::manifest()
    }

    fn check(context: &Context<Config>) -> Result<()> {
        let file = File::download(context)?;
        Header::read(&file.text).map(drop)
    }

    fn fetch_page(request: &PageRequest<Config>) -> Result<Page> {
        if request.entity != manifest::ENTITY {
            return Err(Error::Unsupported(format!(
                "the entity `{}`: the file holds members only",
                request.entity
            )));
        }
        if request.mode != Mode::Full {
            return Err(Error::Unsupported(
                "a file holds all members and cannot list changes".to_owned(),
            ));
        }
        if let Some(filter) = request.filters.first() {
            return Err(Error::Unsupported(format!(
                "the filter `{filter}`: a file cannot apply it"
            )));
        }
        match &request.cursor {
            None => {
                let file = File::download(&request.context)?;
                let header = Header::read(&file.text)?;
                header.report();
                let start = header.end;
                let page = read_page(&file, &header, start, request.records_max)?;
                file.keep();
                Ok(page)
            }
            Some(cursor) => {
                let (hash, start) = parse_cursor(cursor).ok_or(Error::CursorExpired)?;
                let file = match File::kept(hash) {
                    Some(file) => file,
                    None => File::download(&request.context)?,
                };
                // A file that changed between two pages has other rows at this place.
                if file.hash != hash || !file.text.is_char_boundary(start) {
                    log::warn!("the file changed while it was read: starting over");
                    return Err(Error::CursorExpired);
                }
                let header = Header::read(&file.text)?;
                let page = read_page(&file, &header, start.max(header.end), request.records_max)?;
                file.keep();
                Ok(page)
            }
        }
    }
}

syncline_plugin_sdk::export_connector!(CsvMembers);

/// Hash of the file and where in its text the page begins.
fn parse_cursor(cursor: &str) -> Option<(u64, usize)> {
    let (hash, start) = cursor.split_once(':')?;
    Some((u64::from_str_radix(hash, 16).ok()?, start.parse().ok()?))
}

fn read_page(file: &File, header: &Header, start: usize, records_max: u32) -> Result<Page> {
    let records_max = usize::try_from(records_max).unwrap_or(usize::MAX).max(1);
    let mut page = PageBuilder::new(&member::FIELDS);
    let mut at = start;
    let mut count = 0;
    while let Some(record) = csv::record(&file.text, at, header.delimiter, Some(header.cells)) {
        if record.is_blank() {
            at = record.end;
            continue;
        }
        if count == records_max {
            return Ok(page.next(format!("{:016x}:{at}", file.hash)).build());
        }
        count += 1;
        at = record.end;
        member::add(&record, header, &mut page)?;
    }
    Ok(page.build())
}

//! The file: downloaded, decoded, and kept for the pages that follow on the same instance.

use std::cell::RefCell;
use std::rc::Rc;

use syncline_plugin_sdk::{Context, Error, Result, http, log};

use crate::Config;
use crate::text::{self, Encoding};

thread_local! {
    /// Only saves downloads: a cursor names the file's hash, so that a fresh instance reads the same page.
    static KEPT: RefCell<Option<Rc<File>>> = const { RefCell::new(None) };
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) text: String,
    pub(crate) hash: u64,
}

impl File {
    pub(crate) fn download(context: &Context<Config>) -> Result<Rc<Self>> {
        let url = context.endpoint("baseUrl")?;
        let request = http::get(url).header("Accept", "text/csv, text/plain, */*;q=0.1");
        let response = request.send().map_err(|failure| Error::from(failure).at("the file"))?;
        response.check_status("the file")?;
        if response.is_html() {
            return Err(Error::BadResponse(
                "the server answered with a web page and not with a CSV file: is `baseUrl` the address of the file \
                 itself?"
                    .to_owned(),
            ));
        }
        let hash = fnv1a(&response.body);
        let (text, encoding) = text::decode(response.body);
        if encoding == Encoding::Windows1252 {
            log::warn!("the file is not UTF-8: it was read as Windows-1252");
        }
        Ok(Rc::new(Self { text, hash }))
    }

    /// The file of the page before, if it is this one.
    pub(crate) fn kept(hash: u64) -> Option<Rc<Self>> {
        KEPT.with_borrow(|kept| kept.clone().filter(|file| file.hash == hash))
    }

    pub(crate) fn keep(self: Rc<Self>) {
        KEPT.set(Some(self));
    }

    /// As on a fresh instance.
    #[cfg(test)]
    pub(crate) fn forget() {
        KEPT.set(None);
    }
}

/// FNV-1a: notices a changed file, and nobody gains anything by forging one.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

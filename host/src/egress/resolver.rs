//! The one lookup of a name: its answers are checked and handed to the connector, which connects to nothing else.

use super::AllowPrivate;
use super::address;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

/// Asks for the addresses of a name.
pub type Lookup = Arc<
    dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync,
>;

/// The system's resolver.
pub(super) fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// A name leads to an address that must not be reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{name} leads to {address}, {what}")]
pub(super) struct Refused {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) what: &'static str,
}

/// Passes a name's addresses on if every one of them may be reached.
pub(super) struct Checked {
    lookup: Lookup,
    /// The operator's exceptions; `None` when the endpoint itself is one.
    exceptions: Option<Arc<[AllowPrivate]>>,
}

impl Checked {
    pub(super) fn new(lookup: Lookup, exceptions: Option<Vec<AllowPrivate>>) -> Checked {
        Checked { lookup, exceptions: exceptions.map(Into::into) }
    }
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let answers = (self.lookup)(name.clone());
        let exceptions = self.exceptions.clone();
        Box::pin(async move {
            let answers = answers.await?;
            if let Some(exceptions) = exceptions {
                check(&name, &answers, &exceptions)?;
            }
            if answers.is_empty() {
                return Err(io::Error::other(format!("{name} has no address")).into());
            }
            // Port 0 stands for the port of the URL.
            let addresses = answers.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

pub(super) fn check(
    name: &str,
    answers: &[IpAddr],
    exceptions: &[AllowPrivate],
) -> Result<(), Refused> {
    for &address in answers {
        if let Some(what) = address::refusal(address)
            && !exceptions.iter().any(|exception| exception.holds(address))
        {
            return Err(Refused { name: name.to_owned(), address, what });
        }
    }
    Ok(())
}

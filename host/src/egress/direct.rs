//! Addresses for what is not HTTP: the same lookup and the same checks, for a caller that connects by itself.

use super::checks::remedy;
use super::{Egress, resolver};
use std::net::{IpAddr, SocketAddr};

/// Where a host may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// Checked: connect to these and look nothing up again.
    pub addresses: Vec<SocketAddr>,
    /// The operator excepted it, so that it may also be spoken to in the clear.
    pub excepted: bool,
}

impl Egress {
    /// The addresses of a host name or literal, if every one of them may be reached. The error is for people.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Reachable, String> {
        let exceptions = &self.options.allow_private;
        let named = exceptions.iter().any(|exception| exception.names(host, port));
        let found: Vec<IpAddr> = match host.parse() {
            Ok(literal) => vec![literal],
            Err(_) => {
                let answers = (self.lookup)(host.to_owned()).await;
                answers.map_err(|error| format!("{host}: {error}"))?
            }
        };
        if found.is_empty() {
            return Err(format!("{host} has no address"));
        }
        let held = |ip: &IpAddr| exceptions.iter().any(|exception| exception.holds(*ip));
        if !named {
            resolver::check(host, &found, exceptions)
                .map_err(|refused| format!("{refused}; {}", remedy(host, port)))?;
        }
        let excepted = named || found.iter().all(held);
        let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        Ok(Reachable { addresses, excepted })
    }
}

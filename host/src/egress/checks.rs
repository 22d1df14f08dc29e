//! What a request must pass before anything is sent: URL, grants, address, method, headers, size. Looks nothing up.

use super::client::{Run, RunSettings};
use super::origin::{self, Origin};
use super::{Egress, address, headers};
use crate::model::http::HttpRequest;
use bytes::Bytes;
use http::{HeaderMap, Method};
use url::Url;

/// A request that passed the checks.
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// Sending it twice has the effect of sending it once.
    pub(super) repeatable: bool,
}

impl Run {
    /// The request in its final form, or what is wrong with it, with the URL where that much is sound.
    pub(super) fn prepare(&self, request: HttpRequest) -> Result<Prepared, (Option<Url>, String)> {
        let RunSettings { base_url, auth, limits, .. } = &self.settings;
        let url = origin::resolve(base_url, &request.url).map_err(|reason| (None, reason))?;
        let checks = || -> Result<(Method, HeaderMap), String> {
            let method = self.method(&request.method)?;
            let size = request.body.as_ref().map_or(0, Vec::len) as u64;
            if size > limits.request_bytes_max {
                let max = limits.request_bytes_max;
                return Err(format!("the request's body has {size} bytes, at most {max} may be"));
            }
            if let Some(name) = auth.taken_parameter(&url) {
                return Err(format!("the parameter {name} is set by the host and not by a plugin"));
            }
            self.destination(&url)?;
            let bytes_max = limits.request_header_bytes_max;
            Ok((method, headers::checked(&request.headers, auth.header(), bytes_max)?))
        };
        match checks() {
            Ok((method, headers)) => {
                let repeatable = method.is_idempotent() || request.idempotency.is_some();
                let body = request.body.map(Bytes::from);
                Ok(Prepared { method, url, headers, body, repeatable })
            }
            Err(reason) => Err((Some(url), reason)),
        }
    }

    fn method(&self, text: &str) -> Result<Method, String> {
        let method = Method::from_bytes(text.as_bytes())
            .map_err(|_| format!("{text:?} is not an HTTP method"))?;
        let granted = matches!(method, Method::GET | Method::HEAD)
            || self.settings.methods.contains(&method)
                && !matches!(method, Method::CONNECT | Method::TRACE);
        if granted {
            Ok(method)
        } else {
            Err(format!("the method {method} is not granted to this connector"))
        }
    }

    /// Whether a URL may be reached, as far as it shows without a lookup. `Ok(true)`: the operator excepted it.
    pub(super) fn destination(&self, url: &Url) -> Result<bool, String> {
        let RunSettings { granted, .. } = &self.settings;
        if !granted.iter().any(|origin| origin.covers(url)) {
            let allowed: Vec<String> = granted.iter().map(Origin::to_string).collect();
            let allowed = if allowed.is_empty() { "nothing".into() } else { allowed.join(", ") };
            let wanted = Origin::of(url).map_or_else(String::new, |origin| origin.to_string());
            return Err(format!(
                "{wanted} is not granted to this connector, which may reach {allowed}"
            ));
        }
        self.egress.permits(url)
    }
}

impl Egress {
    /// Whether a URL may be reached by anyone, as far as it shows without a lookup. `Ok(true)`: the operator excepted
    /// it. The error says what is wrong and what can be done.
    pub fn permits(&self, url: &Url) -> Result<bool, String> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err("the URL has no host".to_owned());
        };
        let exceptions = &self.options.allow_private;
        if exceptions.iter().any(|exception| exception.names(host, port)) {
            return Ok(true);
        }
        let literal = match url.host() {
            Some(url::Host::Ipv4(literal)) => Some(literal.into()),
            Some(url::Host::Ipv6(literal)) => Some(literal.into()),
            _ => None,
        };
        let excepted = literal
            .is_some_and(|literal| exceptions.iter().any(|exception| exception.holds(literal)));
        if let Some(what) = literal.and_then(address::refusal)
            && !excepted
        {
            return Err(format!("{host} is {what}; {}", remedy(host, port)));
        }
        if url.scheme() == "http" && !excepted {
            return Err(format!(
                "http:// would send credentials and personal data in the clear, use https://; {}",
                remedy(host, port)
            ));
        }
        Ok(excepted)
    }
}

/// What the operator can do about a refused address.
pub(super) fn remedy(host: &str, port: u16) -> String {
    format!("add \"{host}:{port}\" to egress.allowPrivate if it is really meant to be reached")
}

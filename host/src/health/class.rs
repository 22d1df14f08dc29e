//! Whom a failure speaks of: the connector, one organization, or ourselves.

/// Whom a failure counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The remote system, its credentials, the component, the connector's settings: the next organization would fare no
    /// better.
    Connector,
    /// What one organization is called there or has there.
    Organization,
    /// A limit that passes by itself, our settings, a fault of ours.
    Neither,
}

/// By the code of a run's first error. `own`: the connection logs in with credentials or an authorization of its own, so
/// that a refused login is its own affair.
pub fn class(code: &str, own: bool) -> Class {
    match code {
        "remote.auth"
        | "connector.credentials"
        | "oauth.client-refused"
        | "oauth.needs-reauth"
        | "oauth.not-authorized"
            if own =>
        {
            Class::Organization
        }
        "remote.auth"
        | "oauth.client-refused"
        | "oauth.needs-reauth"
        | "oauth.not-authorized"
        | "oauth.unavailable"
        | "remote.unavailable"
        | "remote.bad-response"
        | "remote.config"
        | "remote.unsupported"
        | "connector.credentials"
        | "connector.config"
        | "listing.endless"
        | "listing.loops" => Class::Connector,
        "plugin.trap"
        | "plugin.cpu"
        | "plugin.timeout"
        | "plugin.memory"
        | "plugin.limit"
        | "plugin.page-too-large"
        | "plugin.bad-answer"
        | "plugin.no-ability"
        | "plugin.start"
        | "plugin.dead" => Class::Connector,
        "remote.not-found"
        | "remote.cursor-expired"
        | "remote.other"
        | "run.too-few-valid"
        | "run.too-few-applied"
        | "listing.incomplete" => Class::Organization,
        _ => Class::Neither,
    }
}

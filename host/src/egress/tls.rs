//! Whom requests trust: the system's authorities and those that the operator adds; and what a refused certificate means
//! in words. The client checks certificates; nothing here weakens that.

use super::Error;
use rustls::CertificateError;
use std::io;
use std::path::Path;

/// More authorities than anybody runs.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Authorities of the operator's own.
#[derive(Clone, Debug, Default)]
pub struct ExtraCa(Vec<reqwest::Certificate>);

impl ExtraCa {
    /// Reads a PEM file with one certificate or more.
    pub fn read(path: &Path) -> Result<ExtraCa, Error> {
        let wrong = |what: String| Error::ExtraCa { path: path.display().to_string(), what };
        let size = path.metadata().map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if size.len() > FILE_BYTES_MAX {
            return Err(wrong(format!("has more than {FILE_BYTES_MAX} bytes")));
        }
        let pem = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        ExtraCa::from_pem(&pem).map_err(wrong)
    }

    fn from_pem(pem: &[u8]) -> Result<ExtraCa, String> {
        let certificates = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|_| "holds a certificate that is no PEM".to_owned())?;
        if certificates.is_empty() {
            return Err("holds no certificate".to_owned());
        }
        // Whether they are certificates at all shows only when a client takes them.
        let taken = reqwest::Client::builder().tls_certs_only(certificates.clone()).build();
        taken.map_err(|_| "holds a certificate that cannot be read".to_owned())?;
        Ok(ExtraCa(certificates))
    }

    pub(super) fn certificates(&self) -> Vec<reqwest::Certificate> {
        self.0.clone()
    }
}

/// What a failed handshake means for whoever runs the connector; none where the error is another one.
pub(super) fn explained(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    // An I/O error keeps the one that it carries out of the chain of sources.
    if let Some(carried) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return explained(carried);
    }
    let tls = error.downcast_ref::<rustls::Error>()?;
    Some(match tls {
        rustls::Error::InvalidCertificate(cause) => {
            format!("the server's certificate {}", flaw(cause))
        }
        rustls::Error::PeerIncompatible(_) => {
            format!("the server speaks no TLS that is safe, TLS 1.2 or 1.3 ({tls})")
        }
        _ => format!("no TLS connection: {tls}"),
    })
}

fn flaw(cause: &CertificateError) -> String {
    match cause {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: compare the clocks of both sides".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is made out to another name".to_owned()
        }
        CertificateError::UnknownIssuer => "comes from an authority that is not trusted; if it is \
            your own, put its certificate into egress.extraCaFile"
            .to_owned(),
        CertificateError::Revoked => "has been revoked".to_owned(),
        other => format!("is not accepted: {other}"),
    }
}

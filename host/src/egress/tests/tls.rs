//! Whom a request trusts: certificates of a small authority that the test makes for itself.

use super::super::tls::ExtraCa;
use super::server::answer;
use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name`, valid from one year to another, and its key.
struct Made {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

fn made(name: &str, years: (i32, i32), issuer: Option<&Issuer>) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    Made { certificate: certificate.unwrap().der().clone(), key: key.serialize_der() }
}

/// A federation over TLS on loopback. `requests` counts those that got past the handshake.
struct Secure {
    port: u16,
    requests: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

async fn secure(made: Made, response: Vec<u8>) -> Secure {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4_096];
            if stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(&response).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    Secure { port, requests, _accepting: AbortOnDropHandle::new(accepting) }
}

fn ok() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_vec()
}

/// `club.example` is this server, and the operator allows its address.
fn plan(port: u16, extra_ca: ExtraCa) -> Plan {
    let base = format!("https://club.example:{port}");
    Plan {
        options: Options {
            allow_private: vec![format!("club.example:{port}").parse().unwrap()],
            extra_ca,
            retry: RequestRetry { attempts_max: 1, ..RequestRetry::default() },
            ..Options::default()
        },
        clock: Clock::system(),
        names: vec![("club.example", vec!["127.0.0.1"])],
        granted: vec![base.clone()],
        base,
        methods: vec![],
        auth: Auth::None,
        pace: Pace::default(),
    }
}

fn file(pem: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    (directory, path)
}

fn trusting(issuer: &Issuer) -> ExtraCa {
    let (_directory, path) = file(issuer.pem());
    ExtraCa::read(&path).unwrap()
}

const NOW: (i32, i32) = (2020, 2060);

#[tokio::test]
async fn certificates_that_prove_nothing_are_refused_in_words() {
    let ours = authority("our federation's authority");
    let cases = [
        ("another name", made("other.example", NOW, Some(&ours)), "is made out to another name"),
        ("expired", made("club.example", (2020, 2021), Some(&ours)), "has expired"),
        ("of tomorrow", made("club.example", (2059, 2060), Some(&ours)), "is not valid yet"),
        ("self-signed", made("club.example", NOW, None), "authority that is not trusted"),
        (
            "of a stranger's authority",
            made("club.example", NOW, Some(&authority("a stranger"))),
            "put its certificate into egress.extraCaFile",
        ),
        (
            "of an authority of the same name",
            made("club.example", NOW, Some(&authority("our federation's authority"))),
            "the server's certificate",
        ),
    ];
    for (name, made, expected) in cases {
        let server = secure(made, ok()).await;
        let bench = plan(server.port, trusting(&ours)).start();
        let failure = bench.get("/members").await.unwrap_err();
        let HttpFailure::Network(words) = &failure else { panic!("{name}: {failure:?}") };
        assert!(words.starts_with("club.example: ") && words.contains(expected), "{name}: {words}");
        assert_eq!(bench.outcomes(), [format!("network failure: {words}")]);
        assert_eq!(server.requests.load(Ordering::SeqCst), 0, "{name}: no request was sent");
    }
}

#[tokio::test]
async fn an_authority_of_the_operator_makes_its_federation_reachable() {
    let ours = authority("our federation's authority");
    let server = secure(made("club.example", NOW, Some(&ours)), ok()).await;
    let refused = plan(server.port, ExtraCa::default()).start().get("/members").await.unwrap_err();
    assert!(matches!(&refused, HttpFailure::Network(words) if words.contains("not trusted")));
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    let response = plan(server.port, trusting(&ours)).start().get("/members").await.unwrap();
    assert_eq!((response.status, &response.body[..]), (200, &b"ok"[..]));
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused() {
    let plain = Server::start(|_| answer(200, &[], "canary")).await;
    let ours = authority("our federation's authority");
    // The server repeats the key that it was sent.
    let location = format!("http://club.example:{}/members?cs=canary-7f3a", plain.port());
    let redirect = format!("HTTP/1.1 302 X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let server = secure(made("club.example", NOW, Some(&ours)), redirect.into_bytes()).await;
    // Granted and excepted: what is wrong is the way down alone.
    for excepted in [false, true] {
        let mut plan = plan(server.port, trusting(&ours));
        plan.granted.push(format!("http://club.example:{}", plain.port()));
        if excepted {
            let exception = format!("club.example:{}", plain.port());
            plan.options.allow_private.push(exception.parse().unwrap());
        }
        plan.auth = Auth::Query(vec![("cs".into(), "canary-7f3a".to_owned().into())]);
        let bench = plan.start();
        let reason = denied(bench.get("/members").await);
        assert!(reason.contains("leaves https:// for http://"), "{reason}");
        let told = format!("{reason} {:?}", bench.lines());
        assert!(!told.contains("canary"), "{told}");
    }
    assert_eq!(plain.connections(), 0);
}

/// The server answers with TLS 1.1, as old ones do.
#[tokio::test]
async fn old_protocols_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 4_096];
            let _ = stream.read(&mut hello).await;
            // A ServerHello: version 3.2, random, no session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA.
            let body = [&[3, 2][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
            let handshake = [&[2, 0, 0, body.len() as u8][..], &body].concat();
            let record = [&[22, 3, 2, 0, handshake.len() as u8][..], &handshake].concat();
            let _ = stream.write_all(&record).await;
            let _ = stream.read(&mut hello).await;
        }
    });
    let failure = plan(port, ExtraCa::default()).start().get("/").await.unwrap_err();
    let words = failure.to_string();
    assert!(words.contains("TLS 1.2 or 1.3"), "{words}");
    serving.abort();
}

#[test]
fn a_file_of_authorities_is_checked_when_it_is_read() {
    #[track_caller]
    fn check(pem: impl AsRef<[u8]>, expected: &str) {
        let (_directory, path) = file(pem);
        let error = ExtraCa::read(&path).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("egress.extraCaFile"), "{error}");
    }
    check("", "holds no certificate");
    check("not PEM at all", "holds no certificate");
    check("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "is no PEM");
    check(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "certificate that cannot be read",
    );
    check(KeyPair::generate().unwrap().serialize_pem(), "holds no certificate");
    check(vec![b'a'; 2 << 20], "more than 1048576 bytes");
    let missing = ExtraCa::read(std::path::Path::new("/nowhere/ca.pem")).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/ca.pem cannot be read"), "{missing}");
    let both = [authority("one").pem(), authority("two").pem()].concat();
    let (_directory, path) = file(both);
    assert_eq!(ExtraCa::read(&path).unwrap().certificates().len(), 2);
}

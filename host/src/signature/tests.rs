use super::*;
use crate::model::webhook::SignaturePlace;
use http::HeaderValue;

const SECRET: &str = "test_secret_01";
const BODY: &[u8] = br#"{"id":727,"status":"processing","total":"29.35"}"#;
const FILLER: &[u8] = b"random bytes";
const BASE64: &str = "xpt3gwDGt677OD0+z16uFcL080RHAn/HmFjkQVrG4kE=";
const HEX: &str = "c69b778300c6b7aefb383d3ecf5eae15c2f4f34447027fc79858e4415ac6e241";
const STRIPE: &str = "c2c306e22b05f8e1441a184ba5cdc6df8e571d5fe85dbb9e7ec7c50b31c2beac";
const ORIGINAL: &str = "4e4d399fcf9afa2486e68455294eba941a2795e801c4bc287f142219a5341b27";
const STANDARD_SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY";
/// The keys of RFC 8032, 7.1, test 1.
const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const PRIVATE: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

/// A secret that fits the scheme, and one that fits too and is another.
fn secrets_of(scheme: &str) -> (&'static str, &'static str) {
    match scheme {
        "standard" => (STANDARD_SECRET, "whsec_AAAA"),
        "standardEd25519" => (PUBLIC, "whpk_PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="),
        _ => (SECRET, "another"),
    }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers
            .append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    headers
}

fn verify(
    scheme: &str,
    secrets: &[&str],
    pairs: &[(&str, &str)],
    body: &[u8],
) -> Result<Verified, Refusal> {
    let verifier = shipped(scheme).unwrap();
    let keys = Keys::new(verifier.scheme(), secrets, FILLER).unwrap();
    verifier.verify(&keys, &headers(pairs), body)
}

#[track_caller]
fn good(scheme: &str, secret: &str, pairs: &[(&str, &str)], body: &[u8]) -> Verified {
    verify(scheme, &[secret], pairs, body)
        .unwrap_or_else(|refusal| panic!("{scheme} {pairs:?}: {refusal:?}"))
}

#[track_caller]
fn bad(scheme: &str, secret: &str, pairs: &[(&str, &str)], body: &[u8], expected: Refusal) {
    assert_eq!(verify(scheme, &[secret], pairs, body), Err(expected), "{scheme} {pairs:?}");
}

fn original(signature: &str) -> Vec<u8> {
    // Spaces and order are the sender's own.
    format!(
        r#"{{ "memberId":"GAA-001", "event":"updated", "signature":"{signature}", "connectorId":"c1",
            "federationOrgId":"club-9" }}"#
    )
    .into_bytes()
}

#[test]
fn every_shipped_scheme_fits_together() {
    assert_eq!(shipped::load().unwrap().len(), 9);
    let all = [
        "github",
        "intuit",
        "original",
        "shopify",
        "standard",
        "standardEd25519",
        "stripe",
        "token",
        "woocommerce",
    ];
    assert_eq!(*NAMES, all);
}

#[test]
fn the_published_vectors_pass() {
    let github = format!("sha256={HEX}");
    good("github", SECRET, &[("X-Hub-Signature-256", &github)], BODY);
    good("woocommerce", SECRET, &[("X-WC-Webhook-Signature", BASE64)], BODY);
    good("intuit", SECRET, &[("intuit-signature", BASE64)], BODY);
    good("shopify", SECRET, &[("X-Shopify-Hmac-SHA256", BASE64)], BODY);
    let stripe = format!("t=1700000000,v1={STRIPE}");
    let verified = good("stripe", SECRET, &[("Stripe-Signature", &stripe)], BODY);
    assert_eq!(verified.signed_at, Some(1_700_000_000_000));
    assert_eq!(verified.identity, Identity::Id("727".to_owned()));
    let standard = [
        ("webhook-id", "msg_0001"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", "v1,TjTITuSV9MIlzr9z4BeTyQYeF/1cXXnbkP/OPgMAhXs="),
    ];
    let verified = good("standard", STANDARD_SECRET, &standard, BODY);
    assert_eq!(verified.signed_at, Some(1_700_000_000_000));
    assert_eq!(verified.identity, Identity::Id("msg_0001".to_owned()));
    good("original", SECRET, &[], &original(ORIGINAL));
    let entities = "AbZ9zr4+LVFJCtqEGyHygJjIF+v/1Mzwxq+BuQyyRE0=";
    for typed in ["a&b\"c", "a&amp;b&quot;c", "a&#038;b&#x22;c"] {
        good("woocommerce", typed, &[("X-WC-Webhook-Signature", entities)], BODY);
    }
    good("token", SECRET, &[("Authorization", "Bearer test_secret_01")], BODY);
    good("token", SECRET, &[("X-Webhook-Token", "test_secret_01")], b"");
}

#[test]
fn names_that_mean_the_same_are_taken() {
    let standard = [
        ("svix-id", "msg_0001"),
        ("svix-timestamp", "1700000000"),
        ("svix-signature", "v1a,AAAA v1,TjTITuSV9MIlzr9z4BeTyQYeF/1cXXnbkP/OPgMAhXs="),
    ];
    good("standard", STANDARD_SECRET, &standard, BODY);
    good("shopify", SECRET, &[("Shopify-Hmac-Sha256", BASE64)], BODY);
}

#[test]
fn what_is_signed_cannot_be_changed() {
    let other = br#"{"id":727,"status":"processing","total":"29.36"}"#;
    let github = format!("sha256={HEX}");
    bad("github", SECRET, &[("X-Hub-Signature-256", &github)], other, Refusal::Forged);
    bad("github", "another", &[("X-Hub-Signature-256", &github)], BODY, Refusal::Forged);
    let stripe = format!("t=1700000001,v1={STRIPE}");
    bad("stripe", SECRET, &[("Stripe-Signature", &stripe)], BODY, Refusal::Forged);
    let signature = ("webhook-signature", "v1,TjTITuSV9MIlzr9z4BeTyQYeF/1cXXnbkP/OPgMAhXs=");
    for (id, time) in [("msg_0002", "1700000000"), ("msg_0001", "1700000001")] {
        let pairs = [("webhook-id", id), ("webhook-timestamp", time), signature];
        bad("standard", STANDARD_SECRET, &pairs, BODY, Refusal::Forged);
    }
    let moved = String::from_utf8(original(ORIGINAL)).unwrap().replace("club-9", "club-8");
    bad("original", SECRET, &[], moved.as_bytes(), Refusal::Forged);
}

#[test]
fn what_cannot_be_read_is_refused() {
    use Refusal::{Malformed, Unsigned};
    for scheme in NAMES.iter() {
        let (secret, _) = secrets_of(scheme);
        bad(scheme, secret, &[], BODY, Unsigned);
        bad(scheme, secret, &[], b"", Unsigned);
        bad(scheme, secret, &[], b"\xff{", Unsigned);
    }
    let github = "X-Hub-Signature-256";
    for signature in ["", HEX, "sha256=", "sha256=zz", "sha1=00", &format!("sha256={HEX}00")] {
        bad("github", SECRET, &[(github, signature)], BODY, Malformed);
    }
    let twice = format!("sha256={HEX}");
    bad("github", SECRET, &[(github, &twice), (github, &twice)], BODY, Malformed);
    for signature in [
        format!("v1={STRIPE}"),
        "t=1700000000".to_owned(),
        format!("t=1700000000,t=1700000000,v1={STRIPE}"),
        format!("t=1700000000{}", ",v1=00".repeat(9)),
        "nonsense".to_owned(),
    ] {
        bad("stripe", SECRET, &[("Stripe-Signature", &signature)], BODY, Malformed);
    }
    let signature = ("webhook-signature", "v1,TjTITuSV9MIlzr9z4BeTyQYeF/1cXXnbkP/OPgMAhXs=");
    bad("standard", STANDARD_SECRET, &[("webhook-id", "a"), signature], BODY, Malformed);
    let id_twice = [
        ("webhook-id", "msg_0001"),
        ("webhook-id", "msg_0001"),
        ("webhook-timestamp", "1700000000"),
        signature,
    ];
    bad("standard", STANDARD_SECRET, &id_twice, BODY, Malformed);
}

#[test]
fn the_original_form_has_its_members_and_no_others() {
    let text = String::from_utf8(original(ORIGINAL)).unwrap();
    let more = text.replacen('{', r#"{"note":"x","#, 1);
    bad("original", SECRET, &[], more.as_bytes(), Refusal::Malformed);
    let fewer = text.replace(r#""event":"updated", "#, "");
    bad("original", SECRET, &[], fewer.as_bytes(), Refusal::Malformed);
    let twice = text.replacen('{', r#"{"event":"deleted","#, 1);
    bad("original", SECRET, &[], twice.as_bytes(), Refusal::Unsigned);
    let large = text.replacen("club-9", &"c".repeat(20_000), 1);
    bad("original", SECRET, &[], large.as_bytes(), Refusal::Unsigned);
    let trailing = format!("{text}{{}}");
    bad("original", SECRET, &[], trailing.as_bytes(), Refusal::Unsigned);
    let verifier = shipped("original").unwrap();
    assert_eq!(verifier.connector_named(text.as_bytes()).as_deref(), Some("c1"));
    assert_eq!(shipped("github").unwrap().connector_named(text.as_bytes()), None);
}

#[test]
fn both_secrets_of_a_change_are_valid_and_no_third() {
    let pairs = [("intuit-signature", BASE64)];
    assert!(verify("intuit", &["new", SECRET], &pairs, BODY).is_ok());
    assert!(verify("intuit", &[SECRET, "old"], &pairs, BODY).is_ok());
    assert_eq!(verify("intuit", &["new", "old"], &pairs, BODY), Err(Refusal::Forged));
    let verifier = shipped("token").unwrap();
    let nobody = Keys::nobody(FILLER);
    let filler = headers(&[("x-webhook-token", "random bytes")]);
    // Known here; in the house nobody knows them.
    assert!(verifier.verify(&nobody, &filler, b"").is_ok());
}

/// The signature is another library's.
#[test]
fn a_private_key_signs_and_a_public_one_verifies() {
    const SIGNATURE: &str = "v1a,bPWQ1Vhm+hS0n672qswgTud9IIfkAUSTozY+J1jDYUSA+fZD2D8kZJV6Lmx8TMa2CLw/WzxT0JifCdnJoOSqBw==";
    const SCHEME: &str = "standardEd25519";
    let told = |signature| {
        let time = ("webhook-timestamp", "1700000000");
        [("webhook-id", "msg_0001"), time, ("webhook-signature", signature)]
    };
    let verified = good(SCHEME, PUBLIC, &told(SIGNATURE), BODY);
    assert_eq!(verified.identity, Identity::Id("msg_0001".to_owned()));
    bad(SCHEME, PUBLIC, &told(SIGNATURE), b"{}", Refusal::Forged);
    // A signature by the shared secret that the public key would be.
    bad(
        SCHEME,
        PUBLIC,
        &told("v1,TjTITuSV9MIlzr9z4BeTyQYeF/1cXXnbkP/OPgMAhXs="),
        BODY,
        Refusal::Malformed,
    );
    let verifier = shipped(SCHEME).unwrap();
    let signed = sign(&verifier, PRIVATE, "msg_0001", 1_700_000_000_000, BODY).unwrap();
    assert!(signed.headers.contains(&("webhook-signature".to_owned(), SIGNATURE.to_owned())));
    let short = sign(&verifier, "whsk_AQID", "msg_0001", 1_700_000_000_000, BODY);
    assert_eq!(short, Err(SignFault::NoPrivateKey));
}

#[test]
fn a_secret_must_be_what_its_scheme_asks_for() {
    let fault = |scheme: &str, secret: &str| {
        Keys::new(shipped(scheme).unwrap().scheme(), &[secret], FILLER).err()
    };
    assert_eq!(fault("standard", "whsec_###"), Some(SecretFault::Encoding("base64")));
    assert_eq!(fault("standard", "whsec_"), Some(SecretFault::Empty));
    assert_eq!(fault("github", ""), Some(SecretFault::Empty));
    assert_eq!(fault("standardEd25519", "whpk_AQID"), Some(SecretFault::NoPublicKey));
    // The prefix is part of the key here.
    assert_eq!(fault("stripe", "whsec_anything"), None);
}

#[test]
fn a_secret_that_does_not_fit_takes_no_other_along() {
    let scheme = shipped("standard").unwrap();
    let fitting = |secrets: &[&str]| {
        let (keys, wrong) = Keys::fitting(scheme.scheme(), secrets, FILLER);
        (keys.is_some(), wrong.map(|(place, _)| place))
    };
    assert_eq!(fitting(&[STANDARD_SECRET, "whsec_AAAA"]), (true, None));
    assert_eq!(fitting(&[STANDARD_SECRET, "old secret"]), (true, Some(1)));
    assert_eq!(fitting(&["old secret", STANDARD_SECRET]), (true, Some(0)));
    assert_eq!(fitting(&["old secret"]), (false, Some(0)));
    assert_eq!(fitting(&[]), (false, None));
}

#[test]
fn deliveries_are_told_apart_by_what_is_signed() {
    let github = format!("sha256={HEX}");
    let named = |id: &'static str| {
        good("github", SECRET, &[("X-Hub-Signature-256", &github), ("X-GitHub-Delivery", id)], BODY)
    };
    // The header is not signed: whoever replays the delivery could exchange it.
    assert_eq!(named("1").identity, named("2").identity);
    assert!(matches!(named("1").identity, Identity::Bytes(_)));
    // Spaces, order, escapes and the case of the signature are not signed either.
    let form = |body: &[u8]| good("original", SECRET, &[], body).identity;
    let known = form(&original(ORIGINAL));
    assert!(matches!(known, Identity::Bytes(_)));
    assert_eq!(form(&original(&ORIGINAL.to_uppercase())), known);
    let text = String::from_utf8(original(ORIGINAL)).unwrap();
    for same in [text.replace(", ", " ,\n"), text.replace("GAA", "G\\u0041A")] {
        assert_ne!(same, text);
        assert_eq!(form(same.as_bytes()), known, "{same}");
    }
    let token = |body: &[u8]| {
        good("token", SECRET, &[("Authorization", &format!("Bearer {SECRET}"))], body).identity
    };
    assert_eq!(token(b"1"), token(b"1"));
    assert_ne!(token(b"1"), token(b"2"), "a token covers nothing: the body tells them apart");
    let body = br#"{"no":"id"}"#;
    let at = |now: i64| {
        let verifier = shipped("stripe").unwrap();
        let signed = sign(&verifier, SECRET, "", now, body).unwrap();
        let pairs: Vec<(&str, &str)> =
            signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        good("stripe", SECRET, &pairs, body).identity
    };
    assert!(matches!(at(1_000), Identity::Timed(_)));
    assert_eq!(at(1_000), at(1_999));
    assert_ne!(at(1_000), at(2_000));
}

#[test]
fn a_handshake_is_unsigned_and_nothing_else() {
    let verifier = shipped("woocommerce").unwrap();
    let is = |pairs: &[(&str, &str)], body: &[u8]| verifier.is_handshake(&headers(pairs), body);
    assert!(is(&[], b"webhook_id=12"));
    for body in [&b"webhook_id="[..], b"webhook_id=1&x=2", b"webhook_id=x", b"", b"{}"] {
        assert!(!is(&[], body), "{body:?}");
    }
    assert!(!is(&[("X-WC-Webhook-Signature", "x")], b"webhook_id=12"));
    let github = shipped("github").unwrap();
    assert!(!github.is_handshake(&HeaderMap::new(), b"webhook_id=12"));
}

#[test]
fn what_is_signed_here_is_believed_here() {
    for scheme in NAMES.iter() {
        let verifier = shipped(scheme).unwrap();
        let (secret, other) = secrets_of(scheme);
        let private = if secret == PUBLIC { PRIVATE } else { secret };
        let body: &[u8] = match *scheme {
            "original" => br#"{"connectorId":"c1","event":"deleted","federationOrgId":"x","memberId":"\u00e9\n"}"#,
            _ => BODY,
        };
        let signed = sign(&verifier, private, "msg_7", 1_700_000_000_123, body).unwrap();
        let pairs: Vec<(&str, &str)> =
            signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        good(scheme, secret, &pairs, &signed.body);
        bad(scheme, other, &pairs, &signed.body, Refusal::Forged);
    }
    let verifier = shipped("original").unwrap();
    assert!(sign(&verifier, SECRET, "", 0, b"{}").is_err());
}

#[test]
fn a_scheme_that_vouches_for_nothing_is_refused() {
    let github = shipped("github").unwrap().scheme().clone();
    let fault = |scheme: SignatureScheme| Verifier::new(&scheme).err().map(|(pointer, _)| pointer);
    assert_eq!(fault(github.clone()), None);
    let unsigned = IdPlace::Header(vec!["x-github-delivery".to_owned()]);
    let named = SignatureScheme { delivery_id: Some(unsigned), ..github.clone() };
    assert_eq!(fault(named), Some("/deliveryId"));
    let constant = vec![Segment::Literal("x".to_owned())];
    assert_eq!(fault(SignatureScheme { signed: constant, ..github.clone() }), Some("/signed"));
    let timed = vec![Segment::Timestamp, Segment::Body];
    assert_eq!(fault(SignatureScheme { signed: timed, ..github.clone() }), Some("/timestamp"));
    assert_eq!(fault(SignatureScheme { signature: vec![], ..github.clone() }), Some("/signature"));
    let place = SignaturePlace {
        from: SignatureSource::Header(vec!["no header".to_owned()]),
        format: Format::Bare,
    };
    assert_eq!(fault(SignatureScheme { signature: vec![place], ..github }), Some("/signature"));
}

//! Deliveries whose signatures were made elsewhere, byte by byte as senders document them.

use serde_json::json;

use super::{Delivery, FAST, SECRET, STANDARD, hooks};
use crate::fixture::{checked, text};

const BODY: &str = r#"{"id":727,"status":"processing","total":"29.35"}"#;
const BASE64: &str = "xpt3gwDGt677OD0+z16uFcL080RHAn/HmFjkQVrG4kE=";
const HEX: &str = "sha256=c69b778300c6b7aefb383d3ecf5eae15c2f4f34447027fc79858e4415ac6e241";
const STRIPE: &str =
    "t=1700000000,v1=c2c306e22b05f8e1441a184ba5cdc6df8e571d5fe85dbb9e7ec7c50b31c2beac";
const STANDARD_SIGNATURE: &str = "v1,TjTITuSV9MIlzr9z4BeTyQYeF/1cXXnbkP/OPgMAhXs=";
const ENTITIES: &str = "AbZ9zr4+LVFJCtqEGyHygJjIF+v/1Mzwxq+BuQyyRE0=";

fn delivery(path: &str, headers: &[(&str, &str)], body: &str) -> Delivery {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Delivery {
        path: path.to_owned(),
        headers: headers.iter().map(own).collect(),
        body: body.into(),
    }
}

/// What these say is nothing that the connector knows; what matters is whether they are believed.
#[test]
fn signed_bodies_are_believed_as_documented() {
    let cases = [
        ("github", SECRET, "X-Hub-Signature-256", HEX),
        ("shopify", SECRET, "X-Shopify-Hmac-SHA256", BASE64),
        ("shopify", SECRET, "Shopify-Hmac-Sha256", BASE64),
        ("woocommerce", SECRET, "X-WC-Webhook-Signature", BASE64),
        ("woocommerce", "a&b\"c", "X-WC-Webhook-Signature", ENTITIES),
        ("woocommerce", "a&amp;b&quot;c", "X-WC-Webhook-Signature", ENTITIES),
        ("intuit", SECRET, "intuit-signature", BASE64),
        ("token", SECRET, "Authorization", "Bearer test_secret_01"),
        ("token", SECRET, "X-Webhook-Token", SECRET),
    ];
    for (scheme, secret, header, signature) in cases {
        let hooks = hooks(scheme, secret, 1, FAST);
        let send = |headers: &[(&str, &str)], body: &str| {
            hooks.send(&delivery(&hooks.path(), headers, body)).status
        };
        let good = [("Content-Type", "application/cloudevents+json"), (header, signature)];
        let answer = hooks.send(&delivery(&hooks.path(), &good, BODY));
        let answer = checked("POST", scheme, &answer, 200);
        assert_eq!(answer["status"], "accepted", "{scheme} {header}");
        let row = hooks.processed(&text(&answer, "deliveryId"));
        assert_eq!(row["scheme"], scheme, "{row:#}");
        assert_eq!(row["verdict"], json!("unknownEvent"), "{row:#}");
        let wrong = signature.replace('0', "1");
        assert_eq!(send(&[(header, &wrong)], BODY), 401, "{scheme}: another signature");
        assert_eq!(send(&[], BODY), 401, "{scheme}: unsigned");
        assert_eq!(send(&[(header, signature), (header, signature)], BODY), 401, "{scheme}: twice");
        if scheme != "token" {
            assert_eq!(send(&good, &format!("{BODY} ")), 401, "{scheme}: another body");
            assert_eq!(send(&good, &format!("\u{feff}{BODY}")), 401, "{scheme}: another beginning");
        }
    }
}

/// The documented time is long ago: it is believed who signed, and not that it is meant now. Any other time is a forgery.
#[test]
fn signed_times_are_believed_as_documented() {
    let standard = |time: &str, body: &str, path: &str| {
        let headers = [
            ("webhook-id", "msg_0001"),
            ("webhook-timestamp", time),
            ("webhook-signature", STANDARD_SIGNATURE),
        ];
        delivery(path, &headers, body)
    };
    let stripe = |time: &str, body: &str, path: &str| {
        delivery(path, &[("Stripe-Signature", &STRIPE.replace("1700000000", time))], body)
    };
    type Make<'a> = &'a dyn Fn(&str, &str, &str) -> Delivery;
    let cases: [(&str, &str, Make<'_>); 2] =
        [("standard", STANDARD, &standard), ("stripe", SECRET, &stripe)];
    for (scheme, secret, make) in cases {
        let hooks = hooks(scheme, secret, 1, FAST);
        let send = |time: &str, body: &str| hooks.send(&make(time, body, &hooks.path())).status;
        assert_eq!(send("1700000000", BODY), 401);
        hooks.logged("?verdict=replayed", 1);
        assert_eq!(send("1700000001", BODY), 401);
        assert_eq!(send("1700000000", &BODY.replace("29.35", "29.36")), 401);
        hooks.logged("?verdict=badSignature", 2);
        hooks.logged("?verdict=replayed", 1);
    }
}

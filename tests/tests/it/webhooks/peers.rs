//! Deliveries signed by other people's code.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use syncline_tests::peers;

use super::{Delivery, FAST, STANDARD, hooks, now_millis};
use crate::fixture::checked;

#[test]
fn what_the_public_library_signs_is_believed() {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(python) = peers::python(place, &peers.join("requirements.txt")) else { return };
    let hooks = hooks("standard", STANDARD, 1, FAST);
    for (number, body) in
        [hooks.event("updated", "M-1").to_string(), "{\"Ó\": \"Súilleabháin ✓\"}".to_owned()]
            .into_iter()
            .enumerate()
    {
        let id = format!("msg_{number}");
        let seconds = (now_millis() / 1_000).to_string();
        let output = Command::new(&python)
            .arg(peers.join("signer.py"))
            .args([STANDARD, &id, &seconds, &body])
            .output()
            .expect("python starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let headers: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let headers = headers.as_object().expect("headers").iter();
        let delivery = Delivery {
            path: hooks.path(),
            headers: headers
                .map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()))
                .collect(),
            body: body.into_bytes(),
        };
        let answer = checked("POST", "signed elsewhere", &hooks.send(&delivery), 200);
        assert_eq!(answer["status"], "accepted");
        let mut changed = delivery.clone();
        changed.body.push(b' ');
        assert_eq!(hooks.send(&changed).status, 401);
    }
}

//! Files that are no plugins: each is refused with one sentence that names the cause.

use crate::fixtures::{PATIENCE, engine, hostile_connector, hostile_strategy, short, variant};
use std::sync::Arc;
use std::time::Instant;
use syncline::plugin::{Kind, Limits, LoadError, Loaded, load};

async fn try_load(bytes: &[u8]) -> Result<Arc<Loaded>, LoadError> {
    load(&engine(short()), bytes.into()).await
}

async fn check(bytes: &[u8], code: &str, words: &str) {
    let error = try_load(bytes).await.expect_err("cannot load");
    let text = error.to_string();
    assert_eq!(error.code(), code, "{text}");
    assert!(text.contains(words), "`{text}` does not say `{words}`");
    assert_eq!(text.lines().count(), 1, "{text}");
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's own text is valid")
}

#[tokio::test]
async fn good_ones_load() {
    let loaded = try_load(hostile_connector()).await.unwrap();
    assert_eq!((loaded.name.as_str(), loaded.kind), ("hostile", Kind::Connector));
    assert_eq!(loaded.sha256.len(), 64);
    assert_eq!(loaded.abilities.names(), ["fetch", "webhook"]);
    let loaded = try_load(hostile_strategy()).await.unwrap();
    assert_eq!((loaded.name.as_str(), loaded.kind), ("hostile-strategy", Kind::Strategy));
}

#[tokio::test]
async fn other_files() {
    check(b"", "plugin.not-wasm", "not WebAssembly").await;
    check(b"<html>404</html>", "plugin.not-wasm", "not WebAssembly").await;
    check(&component("(module)"), "plugin.core-module", "core WebAssembly module").await;
    check(b"\0asm\x0d\0\x01\0garbage", "plugin.malformed", "damaged").await;
    let truncated = &hostile_connector()[..20_000];
    check(truncated, "plugin.malformed", "damaged").await;
}

#[tokio::test]
async fn too_large() {
    let limits = Limits { component_bytes_max: 10_000, ..short() };
    let error = load(&engine(limits), hostile_connector().into()).await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { bytes_max: 10_000, .. }), "{error}");
}

#[tokio::test]
async fn other_contracts() {
    let export =
        |name: &str| format!(r#"(component (instance $i) (export "{name}" (instance $i)))"#);
    check(
        &component(&export("syncline:plugin/pull@0.2.0")),
        "plugin.other-api",
        "built for syncline:plugin/pull@0.2.0; this host supports version 0.1",
    )
    .await;
    check(&component(&export("acme:plugin/pull@0.1.0")), "plugin.kind", "neither").await;
    check(&component("(component)"), "plugin.kind", "neither").await;
    check(&component(&export("syncline:plugin/pull@0.1.0")), "plugin.shape", "shape").await;
    let both = r#"(component (instance $i)
        (export "syncline:plugin/pull@0.1.0" (instance $i))
        (export "syncline:plugin/resolve@0.1.0" (instance $i)))"#;
    check(&component(both), "plugin.kind", "at once").await;
}

#[tokio::test]
async fn imports_beyond_the_contract() {
    for (export, import) in [
        ("pull", "wasi:filesystem/types@0.2.0"),
        ("pull", "wasi:sockets/tcp@0.2.0"),
        ("pull", "wasi:http/outgoing-handler@0.2.0"),
        ("pull", "wasi:cli/stdout@0.3.0"),
        ("pull", "syncline:plugin/vault@0.1.0"),
        ("resolve", "wasi:cli/stdout@0.2.0"),
        ("resolve", "syncline:plugin/http@0.1.0"),
    ] {
        let text = format!(
            r#"(component (import "{import}" (instance)) (instance $i)
                (export "syncline:plugin/{export}@0.1.0" (instance $i)))"#
        );
        check(&component(&text), "plugin.import", &format!("imports `{import}`")).await;
    }
}

#[tokio::test]
async fn describe_that_goes_wrong() {
    for (word, words) in [
        ("describe-panic", "hostile describe"),
        ("describe-spin", "computed for more than 200 ms"),
        ("start-panic", "hostile start"),
        ("start-spin", "computed for more than 200 ms"),
    ] {
        let begun = Instant::now();
        check(&variant(word), "plugin.describe", words).await;
        assert!(begun.elapsed() < PATIENCE, "{word}");
    }
}

#[tokio::test]
async fn describe_has_no_network() {
    let loaded = try_load(&variant("describe-http")).await.unwrap();
    assert_eq!(loaded.name, "hostile");
}

#[tokio::test]
async fn manifests_that_are_wrong() {
    for (word, pointer, words) in [
        ("not-json", "``", "not JSON"),
        ("wrong-kind", "`/kind`", "\"connector\""),
        ("unknown-type", "`/entities/0/fields/2/type`", "unknown variant `day`"),
        ("two-entities", "`/entities/1`", "`member` occurs twice"),
        ("bad-schema", "`/configSchema", "not a valid JSON Schema"),
        ("bad-source", "`/template/entities/member/fields/1/source`", "no source field `nobody`"),
        ("bad-scheme", "`/webhook/scheme`", "`homemade` is none of github,"),
        ("typo", "`/", "`tilte`"),
    ] {
        check(&variant(word), "plugin.manifest", pointer).await;
        check(&variant(word), "plugin.manifest", words).await;
    }
}

//! What the build script made: every bundled component says who it is, and imports what it may and nothing else.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use wasmtime::component::{Component, Instance, Linker, Val};
use wasmtime::{Engine, Store};

#[allow(unreachable_pub)]
#[path = "../src/plugin/embedded.rs"]
mod embedded;

const CONNECTORS: [&str; 2] = ["csv-members", "gaa-foireann"];
const STRATEGIES: [&str; 5] = ["federation_wins", "local_wins", "manual", "merge", "newest_wins"];

fn component(engine: &Engine, name: &str) -> Component {
    let embedded = embedded::COMPONENTS.iter().find(|component| component.name == name).unwrap();
    println!("{name}: {} bytes", embedded.bytes.len());
    Component::from_binary(engine, embedded.bytes).unwrap()
}

fn imports(engine: &Engine, component: &Component) -> BTreeSet<String> {
    component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect()
}

fn exports(engine: &Engine, component: &Component) -> BTreeSet<String> {
    component.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect()
}

fn call(
    store: &mut Store<()>,
    instance: &Instance,
    interface: &str,
    name: &str,
    arguments: &[Val],
) -> Val {
    let interface = instance.get_export_index(&mut *store, None, interface).unwrap();
    let function = instance.get_export_index(&mut *store, Some(&interface), name).unwrap();
    let function = instance.get_func(&mut *store, function).unwrap();
    let mut results = [Val::Bool(false)];
    function.call(store, arguments, &mut results).unwrap();
    let [result] = results;
    result
}

fn manifest(store: &mut Store<()>, instance: &Instance, interface: &str) -> serde_json::Value {
    let Val::Record(descriptor) = call(store, instance, interface, "describe", &[]) else {
        panic!("no record")
    };
    let (_, Val::String(manifest)) = &descriptor[0] else { panic!("no text") };
    serde_json::from_str(manifest).unwrap()
}

#[test]
fn all_are_embedded() {
    let found: Vec<&str> = embedded::COMPONENTS.iter().map(|component| component.name).collect();
    assert_eq!(found, [&CONNECTORS[..], &STRATEGIES[..]].concat());
}

#[test]
fn connectors_import_the_host_and_wasi_only() {
    let engine = Engine::default();
    for name in CONNECTORS {
        let component = component(&engine, name);
        let imports = imports(&engine, &component);
        let ours: Vec<&str> = imports
            .iter()
            .map(String::as_str)
            .filter(|import| !import.starts_with("wasi:"))
            .collect();
        for import in ours {
            let allowed = ["http", "log", "types"]
                .map(|interface| format!("syncline:plugin/{interface}@0.1.0"));
            assert!(allowed.iter().any(|name| name == import), "{name} imports {import}");
        }
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &component).unwrap();
        let manifest = manifest(&mut store, &instance, "syncline:plugin/connector-info@0.1.0");
        assert_eq!((&manifest["kind"], &manifest["id"]), (&"connector".into(), &name.into()));
        let exports = exports(&engine, &component);
        let fetches = exports.contains("syncline:plugin/fetch@0.1.0");
        let modes = manifest["entities"][0]["modes"].as_array().unwrap();
        assert_eq!(fetches, modes.contains(&"ids".into()), "{name}: {exports:?}");
        assert!(exports.contains("syncline:plugin/pull@0.1.0"), "{name}: {exports:?}");
        assert!(!exports.contains("syncline:plugin/resolve@0.1.0"), "{name}: {exports:?}");
    }
}

#[test]
fn strategies_import_types_at_most_and_decide_on_an_empty_linker() {
    let engine = Engine::default();
    let text = |text: &str| Val::String(text.to_owned());
    let value = |name: &str| Val::Variant("text".to_owned(), Some(Box::new(text(name))));
    let side = |name: &str| {
        Val::Record(vec![
            ("value".to_owned(), value(name)),
            ("modified-at".to_owned(), Val::Option(None)),
            ("modified-by".to_owned(), Val::Option(Some(Box::new(text("person"))))),
        ])
    };
    let conflict = Val::Record(vec![
        ("entity".to_owned(), text("member")),
        ("field".to_owned(), text("email")),
        ("field-type".to_owned(), text("email")),
        ("base".to_owned(), Val::Variant("absent".to_owned(), None)),
        ("remote".to_owned(), side("remote@example.org")),
        ("local".to_owned(), side("local@example.org")),
        ("source-of-truth".to_owned(), text("local")),
    ]);
    for (name, expect) in STRATEGIES.into_iter().zip(["remote", "local", "hold", "local", "local"])
    {
        let component = component(&engine, name);
        let imports = imports(&engine, &component);
        assert!(
            imports.iter().all(|import| import == "syncline:plugin/types@0.1.0"),
            "{name} imports {imports:?}"
        );
        println!("{name} imports {imports:?}");
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
        let manifest = manifest(&mut store, &instance, "syncline:plugin/strategy-info@0.1.0");
        assert_eq!((&manifest["kind"], &manifest["id"]), (&"strategy".into(), &name.into()));
        let conflicts = Val::List(vec![conflict.clone(), conflict.clone()]);
        let decisions =
            call(&mut store, &instance, "syncline:plugin/resolve@0.1.0", "decide", &[conflicts]);
        let Val::List(decisions) = decisions else { panic!("no list") };
        assert_eq!(decisions.len(), 2);
        let Val::Record(decision) = &decisions[1] else { panic!("no record") };
        assert_eq!(decision[0].1, Val::Variant(expect.to_owned(), None), "{name}");
    }
}

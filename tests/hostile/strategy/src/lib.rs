//! A strategy that misbehaves on request: the name of the first conflict's field says how.

#![cfg(target_family = "wasm")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

wit_bindgen::generate!({ path: "../../../wit", world: "strategy" });

use exports::syncline::plugin::resolve::{Choice, Conflict, Decision};
use exports::syncline::plugin::{resolve, strategy_info};
use syncline::plugin::types::{Descriptor, Value};

static DECIDED: AtomicU32 = AtomicU32::new(0);

struct Hostile;

impl strategy_info::Guest for Hostile {
    fn describe() -> Descriptor {
        let manifest = r#"{"kind": "strategy", "id": "hostile-strategy", "version": "0.1.0",
            "title": "Breaks every rule", "aliases": ["hostile_alias"]}"#;
        Descriptor { manifest: manifest.to_owned() }
    }
}

impl resolve::Guest for Hostile {
    fn decide(conflicts: Vec<Conflict>) -> Vec<Decision> {
        let behaviour = conflicts.first().map_or("", |conflict| conflict.field.as_str());
        let mut decisions: Vec<Decision> = conflicts.iter().map(remote).collect();
        match behaviour {
            "short" => drop(decisions.pop()),
            "long" => decisions.push(decisions[0].clone()),
            "none" => decisions.clear(),
            "spin" => spin(),
            "trap" => std::arch::wasm32::unreachable(),
            "panic" => panic!("hostile decision"),
            "allocate" => allocate(),
            "value" => decisions[0].choice = Choice::Value(Value::Text("mine".to_owned())),
            "long-note" => decisions[0].note = "n".repeat(1 << 20),
            "huge" => decisions.iter_mut().for_each(|decision| decision.note = "n".repeat(1 << 20)),
            _ => {}
        }
        decisions
    }
}

export!(Hostile);

/// The note counts the decisions of this instance, which is as far as a strategy can remember.
fn remote(_conflict: &Conflict) -> Decision {
    let number = DECIDED.fetch_add(1, Ordering::Relaxed);
    Decision { choice: Choice::Remote, note: number.to_string() }
}

fn spin() -> ! {
    let mut number = 0_u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}

fn allocate() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

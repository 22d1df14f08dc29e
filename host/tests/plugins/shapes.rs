//! Components that ask for too much by their shape: tables, memories and instances, which no toolchain of ours makes.

use crate::fixtures::{engine, hostile_connector, short};
use syncline::plugin::{Error, Limits, LoadError, load};

const CORE_MODULE: u8 = 1;
const CORE_INSTANCES: u8 = 2;

/// Any number in WebAssembly's variable length.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn read_number(bytes: &[u8]) -> (usize, usize) {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (value, at + 1);
        }
    }
    panic!("no number");
}

/// How many core modules a component holds, by its outermost sections.
fn core_modules(component: &[u8]) -> usize {
    let (mut at, mut count) = (8, 0);
    while at < component.len() {
        let (size, width) = read_number(&component[at + 1..]);
        count += usize::from(component[at] == CORE_MODULE);
        at += 1 + width + size;
    }
    count
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &number(content.len())[..], content].concat()
}

/// The hostile connector, which also instantiates a module of its own so many times.
fn with_instances(module: &str, count: usize) -> Vec<u8> {
    let module = wat::parse_str(module).expect("the test's own text is valid");
    let index = core_modules(hostile_connector());
    let instance = [&[0][..], &number(index), &[0]].concat();
    let instances = [number(count), instance.repeat(count)].concat();
    let added = [section(CORE_MODULE, &module), section(CORE_INSTANCES, &instances)].concat();
    [hostile_connector(), &added].concat()
}

async fn loaded(module: &str, count: usize) -> Result<(), LoadError> {
    load(&engine(short()), with_instances(module, count).into()).await.map(|_| ())
}

#[track_caller]
fn over(result: Result<(), LoadError>, limit: &str) {
    match result {
        Err(LoadError::Describe(Error::Limit(told))) => assert_eq!(told, limit),
        other => panic!("not over the limit of {limit}: {other:?}"),
    }
}

#[tokio::test]
async fn table_elements_are_summed() {
    let table = "(module (table 30000 funcref))";
    loaded(table, 3).await.unwrap();
    over(loaded(table, 4).await, "100000 table elements");
    over(loaded("(module (table 200000 funcref))", 1).await, "100000 table elements");
}

#[tokio::test]
async fn a_table_that_grows_is_counted_too() {
    let growing = |by: u32| {
        format!(
            "(module (table 1 funcref) (func $grow (drop (table.grow (ref.null func) (i32.const {by}))))
               (start $grow))"
        )
    };
    loaded(&growing(50_000), 1).await.unwrap();
    over(loaded(&growing(50_000), 2).await, "100000 table elements");
    over(loaded(&growing(u32::MAX >> 1), 1).await, "100000 table elements");
}

#[tokio::test]
async fn tables_memories_and_instances_are_counted() {
    let limits = Limits::default();
    let cases = [
        ("(module (table 0 funcref))", limits.tables_max, "8 tables"),
        ("(module (memory 0))", limits.memories_max, "8 memories"),
        ("(module)", limits.instances_max, "64 instances"),
    ];
    for (module, max, limit) in cases {
        // The connector has some of its own.
        loaded(module, max / 2).await.unwrap();
        over(loaded(module, max).await, limit);
        over(loaded(module, 10 * max).await, limit);
    }
}

/// Memories that are small one by one.
#[tokio::test]
async fn memories_are_summed() {
    let memory = "(module (memory 400))";
    loaded(memory, 4).await.unwrap();
    let error = loaded(memory, 6).await.unwrap_err();
    assert!(
        matches!(error, LoadError::Describe(Error::MemoryLimit { bytes }) if bytes == 128 << 20),
        "{error}"
    );
}

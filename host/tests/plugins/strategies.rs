//! Strategies that answer wrongly, or not at all.

use crate::fixtures::{connector, short, strategy};
use syncline::model::{Choice, Conflict, FieldType, Side, Value};
use syncline::plugin::{Error, Limits, StrategySession};

/// That many conflicts; the field's name tells the hostile strategy what to do.
pub(crate) fn conflicts(field: &str, count: usize) -> Vec<Conflict> {
    let side = |text: &str| Side { value: Value::Text(text.to_owned()), ..Side::default() };
    let conflict = Conflict {
        entity: "member".to_owned(),
        field: field.to_owned(),
        field_type: FieldType::Text,
        base: Value::Absent,
        remote: side("remote"),
        local: side("local"),
        source_of_truth: Default::default(),
    };
    vec![conflict; count]
}

#[tokio::test]
async fn one_decision_for_each_conflict_in_batches() {
    let session = StrategySession::open(&strategy(short()).await).unwrap();
    let decisions = session.decide(&conflicts("normal", 600)).await.unwrap();
    assert_eq!(decisions.len(), 600);
    assert!(decisions.iter().all(|decision| decision.choice == Choice::Remote));
    // The hostile strategy counts in its memory: each batch began anew.
    let notes: Vec<&str> = decisions.iter().map(|decision| decision.note.as_str()).collect();
    assert_eq!((notes[0], notes[255], notes[256], notes[599]), ("0", "255", "0", "87"));
    assert!(session.decide(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn wrong_answers() {
    let limits = Limits { cpu_millis_max: 1_000, ..short() };
    let session = StrategySession::open(&strategy(limits).await).unwrap();
    for (field, code, words) in [
        ("short", "plugin.bad-answer", "2 decisions for 3 conflicts"),
        ("long", "plugin.bad-answer", "4 decisions for 3 conflicts"),
        ("none", "plugin.bad-answer", "0 decisions for 3 conflicts"),
        ("value", "plugin.bad-answer", "which the manifest does not declare"),
        ("spin", "plugin.cpu", "1000 ms"),
        ("trap", "plugin.trap", "unreachable"),
        ("panic", "plugin.trap", "unreachable"),
        ("allocate", "plugin.memory", "134217728 bytes"),
    ] {
        let error = session.decide(&conflicts(field, 3)).await.unwrap_err();
        assert_eq!(error.code(), code, "{field}: {error}");
        assert!(error.to_string().contains(words), "{field}: {error}");
        let after = session.decide(&conflicts("normal", 3)).await.unwrap();
        assert_eq!(after.len(), 3, "after {field}");
    }
}

#[tokio::test]
async fn notes_are_cut_and_floods_refused() {
    let session = StrategySession::open(&strategy(short()).await).unwrap();
    let decisions = session.decide(&conflicts("long-note", 2)).await.unwrap();
    assert!(decisions[0].note.len() < 2_100);
    let flood = session.decide(&conflicts("huge", 40)).await;
    assert_eq!(flood.unwrap_err().code(), "plugin.page-too-large");
}

#[tokio::test]
async fn a_connector_is_no_strategy() {
    let error = StrategySession::open(&connector(short()).await).err();
    assert_eq!(error, Some(Error::NoAbility("syncline:plugin/resolve")));
}

//! Answers that break the contract: refused as a whole, or one row set aside.

use crate::fixtures::{Counting, connector, context, page_of, request, short};
use syncline::plugin::{ConnectorSession, Error};

#[tokio::test]
async fn a_good_page_arrives_as_it_was_sent() {
    let page = page_of(&connector(short()).await, "normal", 3).await.unwrap();
    assert_eq!(page.fields.len(), 10);
    assert_eq!(page.rows.len(), 3);
    let third = &page.rows.to_vec()[2];
    assert_eq!(third.id, "id-2");
    assert_eq!(third.values[9].display(), "value 9 of 2");
    assert_eq!(third.aliases, [("number".to_owned(), "N2".to_owned())]);
    assert_eq!((page.total, page.next, page.rejects.len()), (Some(3), None, 0));
}

/// Shape, sizes and cursors: nothing of the page can be used. The session goes on.
#[tokio::test]
async fn pages_that_are_refused() {
    let loaded = connector(short()).await;
    let mut session = ConnectorSession::open(&loaded, Counting::answering()).await.unwrap();
    for (behaviour, words) in [
        ("short-row", "149 cells are no rows of 15"),
        ("torn-texts", "row 0: cell 14 is of no known kind, or its text does not fit"),
        ("many-aliases", "1000 columns of secondary ids, at most 16 are allowed"),
        ("too-many", "11 records where 10 were asked for"),
        ("reject-flood", "110 records where 10 were asked for"),
        ("duplicate-fields", "the field `f0` occurs twice"),
        ("long-cursor", "`next` has 5000 bytes, at most 4096 are allowed"),
        ("empty-cursor", "`next` is empty"),
    ] {
        match session.fetch_page(&context(behaviour), &request(10)).await {
            Err(Error::BadAnswer(text)) => assert!(text.contains(words), "{behaviour}: {text}"),
            other => panic!("{behaviour}: {other:?}"),
        }
    }
    assert!(session.fetch_page(&context("normal"), &request(10)).await.is_ok());
}

/// One bad row is a reject, with its id where the id can be used.
#[tokio::test]
async fn rows_that_are_set_aside() {
    let loaded = connector(short()).await;
    for (behaviour, id, words) in [
        ("empty-id", None, "the id is empty"),
        ("control-id", None, "the id has control characters"),
        ("long-id", None, "the id is too long"),
        ("control-value", Some("id-0"), "the field `f3` has control characters"),
        ("bad-json", Some("id-0"), "the field `f3` is not valid JSON"),
        ("deep-json", Some("id-0"), "the field `f3` is not valid JSON"),
    ] {
        let page = page_of(&loaded, behaviour, 3).await.unwrap();
        assert_eq!((page.rows.len(), page.rejects.len()), (2, 1), "{behaviour}");
        assert_eq!(page.rejects[0].id.as_deref(), id, "{behaviour}");
        assert!(page.rejects[0].reason.contains(words), "{behaviour}: {}", page.rejects[0].reason);
        assert!(page.rejects[0].raw.len() < 9 << 10, "{behaviour}");
    }
}

#[tokio::test]
async fn a_time_that_is_none_is_for_the_mapping_to_doubt() {
    let page = page_of(&connector(short()).await, "bad-instant", 3).await.unwrap();
    assert_eq!((page.rows.len(), page.rejects.len()), (3, 0));
    assert_eq!(page.rows.iter().next().and_then(|row| row.updated_at()), Some("yesterday"));
}

#[tokio::test]
async fn duplicate_ids_are_for_the_run_to_judge() {
    let page = page_of(&connector(short()).await, "duplicate-ids", 3).await.unwrap();
    let ids: Vec<&str> = page.rows.iter().map(|row| row.id()).collect();
    assert_eq!(ids, ["id-1", "id-1", "id-2"]);
}

#[tokio::test]
async fn long_samples_are_cut() {
    let page = page_of(&connector(short()).await, "long-reject", 3).await.unwrap();
    assert!(page.rejects[0].reason.len() < 2_100);
    assert!(page.rejects[0].raw.len() < 8_300);
}

#[tokio::test]
async fn only_ids_that_were_asked_for() {
    let loaded = connector(short()).await;
    let mut session = ConnectorSession::open(&loaded, Counting::answering()).await.unwrap();
    let ids = ["a".to_owned(), "b".to_owned()];
    let page = session.by_ids(&context("normal"), "member", &ids).await.unwrap();
    assert_eq!(page.rows.len(), 2);
    let page = session.by_ids(&context("missing-id"), "member", &ids).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    let forged = session.by_ids(&context("forged-id"), "member", &ids).await;
    assert_eq!(
        forged.unwrap_err(),
        Error::BadAnswer("the id `somebody-else` was not asked for".to_owned())
    );
    let many = vec!["a".to_owned(); 101];
    let refused = session.by_ids(&context("normal"), "member", &many).await;
    assert_eq!(refused.unwrap_err().code(), "plugin.limit");
}

#[tokio::test]
async fn a_session_keeps_its_instance_and_shares_it_with_nobody() {
    let loaded = connector(short()).await;
    for _ in 0..2 {
        let mut session = ConnectorSession::open(&loaded, Counting::answering()).await.unwrap();
        for expected in ["0", "1"] {
            let page = session.fetch_page(&context("count"), &request(1)).await.unwrap();
            assert_eq!(page.rows.to_vec()[0].id, expected);
        }
    }
}

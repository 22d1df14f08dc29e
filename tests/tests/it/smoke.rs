//! The shortest way through the whole product.

use crate::fixture::Setup;

#[test]
fn members_arrive_and_a_second_sync_changes_nothing() {
    let setup = Setup::generated(30);
    let first = setup.sync();
    assert_eq!(first["status"], "completed", "{first}");
    assert_eq!(first["counts"]["created"], 30, "{first}");
    let second = setup.sync();
    assert_eq!(second["counts"]["unchanged"], 30, "{second}");
    assert_eq!(second["counts"]["updated"], 0, "{second}");
    assert_eq!(setup.records().len(), 30);
}

#[test]
fn what_was_committed_survives_a_kill() {
    let mut setup = Setup::generated(5);
    setup.sync();
    setup.host.kill();
    setup.host.restart();
    assert_eq!(setup.records().len(), 5);
    assert_eq!(setup.sync()["counts"]["unchanged"], 5);
}

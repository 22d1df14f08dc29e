//! What becomes of an error of a visit.

use super::*;
use crate::store::Store;
use crate::store::tables::EVENTS;

#[test]
fn the_error_of_a_visit_ends_the_scan_and_is_not_fatal() {
    fn check(read: &dyn Read) {
        let mut seen = 0;
        let answer = scan_prefix(read, EVENTS, &Key::new(), &mut |_, _| {
            seen += 1;
            Err(Error::Overtaken)
        });
        assert!(matches!(answer, Err(Error::Overtaken)), "{answer:?}");
        assert_eq!(seen, 1);
    }
    let dir = tempfile::tempdir().unwrap();
    let on_fatal: OnFatal = Arc::new(|reason| panic!("{reason}"));
    let options = Options { on_fatal, ..Options::default() };
    let store = Store::create(dir.path(), &options).unwrap();
    let written = store.write_blocking(|txn| -> Result<(), Error> {
        [b"1", b"2"].iter().try_for_each(|key| txn.put(EVENTS, *key, &[]))?;
        check(txn);
        // The table can still be used.
        check(txn);
        Ok(())
    });
    written.unwrap();
    check(&store.read().unwrap());
}

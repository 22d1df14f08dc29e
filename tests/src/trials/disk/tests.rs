use super::*;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

const TABLE: TableDefinition<'static, u64, u64> = TableDefinition::new("t");

fn add(database: &Database, number: u64) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(TABLE)?.insert(number, number)?;
    Ok(write.commit()?)
}

fn open(disk: &Disk, path: &Path) -> Result<Database, redb::DatabaseError> {
    disk.open_file()(&Database::builder(), path)
}

/// redb itself, at every operation, under each trouble: what was committed is there, and nothing else.
#[test]
fn what_was_committed_outlives_any_trouble() {
    for trouble in Trouble::ALL {
        let mut at = 1;
        loop {
            let directory = tempfile::TempDir::new().unwrap();
            let path = directory.path().join("a.redb");
            drop(Database::create(&path).unwrap());
            let disk = Disk::new(Some((trouble, at)), 7);
            let mut committed = 0;
            if let Ok(database) = open(&disk, &path) {
                while committed < 8 && add(&database, committed).is_ok() {
                    committed += 1;
                }
                disk.stopping();
            }
            disk.leave().unwrap();
            let database = Database::open(&path).unwrap();
            let read = database.begin_read().unwrap();
            let found = read
                .open_table(TABLE)
                .map_or(0, |table| table.iter().unwrap().map(Result::unwrap).count() as u64);
            // The one that failed may be there: its caller was told nothing.
            assert!(
                found == committed || found == committed + 1,
                "{trouble:?} at {at}, {:?}: {found} for {committed}",
                disk.struck()
            );
            if disk.struck().is_none() {
                break;
            }
            at += 1;
        }
        assert!(at > 20, "{trouble:?} was possible at {at} operations only");
    }
}

#[test]
fn without_syncs_a_power_cut_loses_what_was_written() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("a");
    std::fs::write(&path, vec![1; 2 * SECTOR]).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let disk = Disk::new(Some((Trouble::PowerCut, 2)), seed);
        disk.load(&path).unwrap();
        let write = Change::Write { at: 0, data: vec![2; 2 * SECTOR] };
        disk.change(&path, write).unwrap();
        assert!(disk.sync(&path).is_err());
        disk.leave().unwrap();
        let left = std::fs::read(&path).unwrap();
        seen.insert((left[0], left[SECTOR]));
        std::fs::write(&path, vec![1; 2 * SECTOR]).unwrap();
    }
    let all = [(1, 1), (1, 2), (2, 1), (2, 2)];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all, "lost, torn both ways, kept");
}

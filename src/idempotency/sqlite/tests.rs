use std::{fs, io::Write, os::unix::fs::PermissionsExt};

use super::*;
use crate::idempotency::store::suite::{self, key, put, record};

fn here() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("idempotency.sqlite");
    (directory, path)
}

/// Leaves what a killed process would: the files as they are, without a clean close.
fn crash_image(path: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let from = format!("{}{suffix}", path.display());
        if Path::new(&from).exists() {
            fs::copy(from, format!("{}{suffix}", to.display())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_in_a_file_does_what_a_store_must() {
    let directory = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicU32::new(0);
    suite::run(|| async {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        SqliteStore::open(&directory.path().join(format!("{number}.sqlite"))).unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_scan_finds_every_key_once_and_in_order() {
    let (_directory, path) = here();
    suite::a_scan_finds_every_key_once_and_in_order(&SqliteStore::open(&path).unwrap()).await;
}

#[test]
fn a_store_in_a_file_is_a_map_that_survives_being_closed_and_opened() {
    let directory = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    let path = || directory.path().join(format!("{}.sqlite", number.get()));
    let make = async || {
        number.set(number.get() + 1);
        SqliteStore::open(&path()).unwrap()
    };
    let reopen = async |store| {
        drop(store);
        SqliteStore::open(&path()).unwrap()
    };
    suite::is_a_map(24, suite::Removes::Sweep, make, reopen);
}

#[tokio::test]
async fn records_survive_a_restart_and_their_writers_are_known_to_be_gone() {
    let (_directory, path) = here();
    let store = SqliteStore::open(&path).unwrap();
    let before = put(&store, "a", None, record("one")).await;
    drop(store);

    let store = SqliteStore::open(&path).unwrap();

    let stored = store.load(key("a")).await.unwrap().unwrap();
    assert_eq!((stored.version, &stored.record[..]), (before, &b"one"[..]));
    assert!(stored.writer_gone);
    let after = put(&store, "a", Some(before), record("two")).await;
    assert_ne!(after, before);
    assert!(!store.load(key("a")).await.unwrap().unwrap().writer_gone);
}

#[tokio::test]
async fn an_answered_write_survives_a_crash() {
    let (directory, path) = here();
    let store = SqliteStore::open(&path).unwrap();
    put(&store, "a", None, record("one")).await;
    let image = directory.path().join("image.sqlite");
    crash_image(&path, &image);

    let restarted = SqliteStore::open(&image).unwrap();

    let stored = restarted.load(key("a")).await.unwrap().unwrap();
    assert_eq!(&stored.record[..], b"one");
    assert!(stored.writer_gone);
}

#[tokio::test]
async fn versions_do_not_repeat_after_a_crash() {
    let (directory, path) = here();
    let store = SqliteStore::open(&path).unwrap();
    let image = directory.path().join("image.sqlite");
    crash_image(&path, &image);
    let first = put(&store, "a", None, record("one")).await;

    let restarted = SqliteStore::open(&image).unwrap();

    assert_ne!(put(&restarted, "a", None, record("one")).await, first);
}

#[tokio::test]
async fn a_second_opener_is_refused_and_does_not_loosen_the_lock() {
    let (_directory, path) = here();
    let store = SqliteStore::open(&path).unwrap();

    for _ in 0..2 {
        let second = SqliteStore::open(&path).err().unwrap();
        assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    }

    put(&store, "a", None, record("one")).await;
}

#[test]
#[cfg(target_os = "linux")]
fn another_process_is_refused_while_the_store_lives() {
    let (directory, path) = here();
    let store = SqliteStore::open(&path).unwrap();
    // Locks between processes are the file's, so another process is asked: this test binary, once more.
    let probe = || {
        std::process::Command::new("/proc/self/exe")
            .args(["idempotency::sqlite::tests::probe", "--exact", "--ignored"])
            .current_dir(directory.path())
            .output()
            .unwrap()
            .status
            .success()
    };

    assert!(!probe());
    drop(store);
    assert!(probe());
}

#[test]
#[ignore = "opens the store in the working directory, where another test starts it"]
fn probe() {
    SqliteStore::open(Path::new("idempotency.sqlite")).unwrap();
}

#[test]
fn only_the_owner_may_read_the_files() {
    let (directory, path) = here();
    let _store = SqliteStore::open(&path).unwrap();

    let mut files = 0;
    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
        files += 1;
    }
    assert_eq!(files, 2, "the file and its log");
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let (_directory, path) = here();
    let store = SqliteStore::open(&path).unwrap();
    for number in 0..200 {
        put(&store, &number.to_string(), None, record("some record")).await;
    }
    drop(store);
    let whole = fs::read(&path).unwrap();

    for page in 1..whole.len() / 4096 {
        let mut damaged = whole.clone();
        // The head of a page: what kind it is and where its cells lie.
        damaged[page * 4096..page * 4096 + 8].fill(0xa5);
        fs::write(&path, &damaged).unwrap();

        let error = SqliteStore::open(&path).err().unwrap();

        assert!(matches!(error, OpenError::Damaged { .. }), "page {page}: {error}");
        assert!(fs::read(&path).unwrap() == damaged, "page {page}");
    }
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let (_directory, path) = here();
    for content in [&b""[..], b"not a database, but long enough to be taken for one: ........................................................"] {
        fs::File::create(&path).unwrap().write_all(content).unwrap();

        let error = SqliteStore::open(&path).err().unwrap();

        assert!(
            matches!(error, OpenError::Foreign { .. } | OpenError::Damaged { .. }),
            "{error}"
        );
        assert!(fs::read(&path).unwrap() == content, "{error}");
    }
}

#[test]
fn the_database_of_another_program_is_refused() {
    let (_directory, path) = here();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (x); PRAGMA user_version = 1")
        .unwrap();
    drop(other);

    let error = SqliteStore::open(&path).err().unwrap();

    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn a_format_of_another_release_is_refused() {
    let (_directory, path) = here();
    drop(SqliteStore::open(&path).unwrap());
    let newer = Connection::open(&path).unwrap();
    newer.execute_batch("PRAGMA user_version = 2").unwrap();
    drop(newer);

    let error = SqliteStore::open(&path).err().unwrap();

    assert!(matches!(error, OpenError::Format { found: 2, .. }), "{error}");
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let (directory, _) = here();

    let error = SqliteStore::open(&directory.path().join("missing/idempotency.sqlite"))
        .err()
        .unwrap();

    assert!(matches!(error, OpenError::File { .. }), "{error}");
}

#[tokio::test]
async fn a_group_with_a_failing_member_is_not_done_at_all() {
    let (_directory, path) = here();
    let mut writer = Writer::on(file::open(&path).unwrap());
    let swap = |name| {
        let (answer, answered) = oneshot::channel();
        let command = Command::Swap {
            key: key(name),
            expected: None,
            change: record("one"),
            answer,
        };
        (command, answered)
    };
    let (first, first_answered) = swap("a");
    let (second, second_answered) = swap("b");
    let fails = "CREATE TRIGGER fails BEFORE INSERT ON record WHEN (SELECT count(*) FROM record) = 1
         BEGIN SELECT RAISE(FAIL, 'disk full'); END";
    writer.connection.execute_batch(fails).unwrap();

    writer.commit(vec![first, second]);

    assert!(first_answered.await.is_err());
    assert!(second_answered.await.is_err());
    assert_eq!(writer.load(&key("a")).unwrap(), None);
    // And the next group is done again.
    let (third, third_answered) = swap("c");
    writer.commit(vec![third]);
    assert!(matches!(third_answered.await, Ok(Swap::Put(_))));
}

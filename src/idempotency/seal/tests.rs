use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::*;
use crate::idempotency::{
    Fingerprint,
    memory::MemoryStore,
    record::Record,
    sqlite::SqliteStore,
    store::suite::{self, key},
};

const OLD: &str = "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=";
const NEW: &str = "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=";
const SHARE: &[u8] = b"the-name-of-a-share";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.0.path().join("store.keys");
        fs::write(&path, text).unwrap();
        mode(&path, 0o600);
        path
    }

    fn keys(&self, lines: &[&str]) -> Keys {
        Keys::load(&self.file(&lines.join("\n"))).unwrap()
    }

    fn sealed<S: Store>(&self, store: &Arc<S>, lines: &[&str]) -> Sealed {
        Sealed::new(Arc::clone(store) as Arc<dyn Store>, self.keys(lines))
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn succeeded() -> Bytes {
    let record = Record::Succeeded {
        fingerprint: Fingerprint::from_bytes([7; 32]),
        reply: SHARE.into(),
        recorded_at: 1,
        expires: 2,
    };
    record.encode()
}

async fn put(store: &dyn Store, name: &str, expected: Option<Version>, record: Bytes) -> Version {
    let change = Change::Put { record, expires: 2 };
    match store.compare_and_swap(key(name), expected, change).await.unwrap() {
        Swap::Put(version) => version,
        other => panic!("{other:?}"),
    }
}

async fn loaded(store: &dyn Store, name: &str) -> Result<Bytes, String> {
    match store.load(key(name)).await {
        Ok(stored) => Ok(stored.unwrap().record),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn a_sealed_store_does_what_a_store_must() {
    let folder = Folder::new();
    suite::run(|| async { folder.sealed(&Arc::<MemoryStore>::default(), &[NEW]) }).await;
}

#[tokio::test]
async fn the_file_tells_nothing_of_a_reply() {
    for (lines, readable) in [(None, true), (Some([NEW]), false)] {
        let folder = Folder::new();
        let path = folder.0.path().join("idempotency.sqlite");
        let mut store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).unwrap());
        if let Some(lines) = lines {
            store = Arc::new(Sealed::new(store, folder.keys(&lines)));
        }
        let version = put(store.as_ref(), "a", None, succeeded()).await;
        put(store.as_ref(), "a", Some(version), succeeded()).await;

        let on_disk = || {
            ["", "-wal"]
                .map(|suffix| fs::read(format!("{}{suffix}", path.display())).unwrap_or_default())
                .concat()
        };
        let shows = |bytes: &[u8]| bytes.windows(SHARE.len()).any(|window| window == SHARE);

        assert_eq!(shows(&on_disk()), readable, "while it is open");
        assert_eq!(loaded(store.as_ref(), "a").await.unwrap(), succeeded());
        drop(store);
        assert_eq!(shows(&on_disk()), readable, "after it was closed");
    }
}

#[tokio::test]
async fn equal_records_do_not_look_equal() {
    let folder = Folder::new();
    let store = Arc::<MemoryStore>::default();
    let sealed = folder.sealed(&store, &[NEW]);
    let version = put(&sealed, "a", None, succeeded()).await;
    let first = loaded(store.as_ref(), "a").await;

    put(&sealed, "a", Some(version), succeeded()).await;

    assert_ne!(first, loaded(store.as_ref(), "a").await);
}

#[tokio::test]
async fn a_key_is_replaced_without_a_gap() {
    let folder = Folder::new();
    let store = Arc::<MemoryStore>::default();
    put(&folder.sealed(&store, &[OLD]), "old", None, succeeded()).await;

    let both = folder.sealed(&store, &["# since May", NEW, "", OLD, ""]);
    put(&both, "new", None, succeeded()).await;

    assert_eq!(loaded(&both, "old").await.unwrap(), succeeded());
    let only_new = folder.sealed(&store, &[NEW]);
    assert_eq!(loaded(&only_new, "new").await.unwrap(), succeeded());
}

#[tokio::test]
async fn without_its_key_a_record_is_an_error_that_names_the_key_and_the_file() {
    let folder = Folder::new();
    let store = Arc::<MemoryStore>::default();
    put(&folder.sealed(&store, &[OLD]), "a", None, succeeded()).await;

    let error = loaded(&folder.sealed(&store, &[NEW]), "a").await.unwrap_err();

    assert!(error.contains("the key 84e0c0ea"), "{error}");
    assert!(error.contains("store.keys"), "{error}");
    // Without any key file it is the record's format that is refused.
    let bytes = loaded(store.as_ref(), "a").await.unwrap();
    let error = Record::decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("store_key_file"), "{error}");
}

#[tokio::test]
async fn a_record_that_was_moved_or_changed_is_refused() {
    let folder = Folder::new();
    let store = Arc::<MemoryStore>::default();
    let sealed = folder.sealed(&store, &[NEW]);
    let mut version = put(&sealed, "a", None, succeeded()).await;
    let bytes = loaded(store.as_ref(), "a").await.unwrap();

    put(store.as_ref(), "b", None, bytes.clone()).await;
    assert!(
        loaded(&sealed, "b")
            .await
            .unwrap_err()
            .contains("another intent's")
    );

    for changed in [5, 20, bytes.len() - 1] {
        let mut bytes = bytes.to_vec();
        bytes[changed] ^= 1;
        version = put(store.as_ref(), "a", Some(version), bytes.into()).await;
        assert!(
            loaded(&sealed, "a").await.unwrap_err().contains("damaged"),
            "{changed}"
        );
    }
    for length in [1, 4, 16, 17, 30] {
        version = put(store.as_ref(), "a", Some(version), bytes.slice(..length)).await;
        assert!(loaded(&sealed, "a").await.is_err(), "{length}");
    }
}

#[tokio::test]
async fn records_from_before_there_was_a_key_are_read_as_they_are() {
    let folder = Folder::new();
    let store = Arc::<MemoryStore>::default();
    put(store.as_ref(), "a", None, succeeded()).await;

    let sealed = folder.sealed(&store, &[NEW]);

    assert_eq!(loaded(&sealed, "a").await.unwrap(), succeeded());
}

#[test]
fn a_sealed_record_is_not_larger_than_a_record_may_be() {
    let folder = Folder::new();
    let sealed = folder.sealed(&Arc::<MemoryStore>::default(), &[NEW]);
    let record = Record::Succeeded {
        fingerprint: Fingerprint::from_bytes([255; 32]),
        reply: vec![0; 131_072 - Record::OVERHEAD].into(),
        recorded_at: u64::MAX,
        expires: u64::MAX,
    };

    let length = sealed.seal(&key("a"), &record.encode()).unwrap().len();

    assert!(length <= 131_072, "{length}");
}

#[test]
fn a_file_that_is_not_only_keys_is_refused_without_a_word_of_it() {
    let folder = Folder::new();
    let cases = [
        (String::new(), "holds no key"),
        ("# nothing".to_owned(), "holds no key"),
        (format!("{NEW}\n{}", NEW.strip_prefix("MTEx").unwrap()), "line 2"),
        (format!("{NEW}{NEW}"), "line 1"),
        ("!".repeat(44), "line 1"),
        // 33 bytes.
        (
            "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx".to_owned(),
            "line 1",
        ),
        ("#".repeat(65 * 1024), "larger"),
    ];
    for (text, what) in cases {
        let error = Keys::load(&folder.file(&text)).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert!(error.contains("store.keys"), "{error}");
        assert!(!error.contains("MTEx"), "{error}");
    }
}

#[test]
fn a_file_that_others_can_read_or_its_group_write_is_refused() {
    let folder = Folder::new();
    let path = folder.file(NEW);
    for exposed in [0o604, 0o660, 0o602, 0o644] {
        mode(&path, exposed);
        let error = Keys::load(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("{exposed:04o}")), "{error}");
    }
    for closed in [0o600, 0o400, 0o440] {
        mode(&path, closed);
        assert!(Keys::load(&path).is_ok(), "{closed:o}");
    }
}

#[test]
fn keys_show_nothing_of_themselves() {
    let folder = Folder::new();
    let shown = format!("{:?}", folder.keys(&[NEW, OLD]));

    assert!(shown.starts_with("Keys(2 of /"), "{shown}");
}

//! Bearer tokens from a file that holds only their hashes.
//!
//! Each line is the SHA-256 of a token in 64 hex digits, a space, and the caller's name; `#` begins a comment. A name
//! may have several tokens, so that one can be replaced without a gap: add the new one, move the client, remove the old
//! one. The file is read again when it changes and on SIGHUP; one that does not parse changes nothing.
//!
//! Tokens must be long random strings: a hash without salt keeps a guessable one no secret. One way to make a line
//! (the token goes to the client, the hash to the file):
//!
//! ```text
//! token=$(openssl rand -base64 32); printf %s "$token" | sha256sum | sed 's/ .*/ network-team/'
//! ```

use std::{
    fmt,
    fs::File,
    future::ready,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Authenticator,
    call::Caller,
    failure::{Failure, Reason},
};

/// Who vouches for the names in the file.
const ISSUER: &str = "static-token";

/// Longest token that is hashed, in bytes.
const MAX_TOKEN: usize = 8 * 1_024;

/// Largest file that is read, in bytes: some 10,000 lines.
const MAX_FILE: u64 = 1_024 * 1_024;

const MAX_NAME: usize = 128;

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Time between two looks at the file, in milliseconds. Range 100 to 3_600_000. Default 5_000: a look is one
    /// `stat`, and whoever revokes a token waits for it.
    pub poll_interval: Duration,
}

impl Settings {
    /// Reads `path` and looks at it again every 5 seconds.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            poll_interval: Duration::from_secs(5),
        }
    }
}

/// What is wrong with one line of the file. It never quotes the line, in which a token may stand by mistake.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct Fault {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong, and what it should be.
    pub problem: String,
}

/// Why a file of tokens was not taken over.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read the token file `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its lines break rules; these are all of them.
    #[error("the token file `{}` is not valid: {}", path.display(), listed(faults))]
    Parse {
        /// The file.
        path: PathBuf,
        /// Every faulty line.
        faults: Vec<Fault>,
    },
    /// Everybody on the machine could add a token of their own.
    #[error("the token file `{}` can be written by everybody; take that right away", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
    },
    /// It names nobody, which is what a file looks like while it is being written.
    #[error("the token file `{}` holds no token", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

fn listed(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(Fault::to_string).collect();
    lines.join("; ")
}

type Hash = [u8; 32];

/// The tokens of a file, by their hashes.
pub struct Table(Vec<(Hash, Caller)>);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} tokens)", self.0.len())
    }
}

impl Table {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Every faulty line, in the order of the lines.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let mut entries: Vec<(usize, Hash, Caller)> = Vec::new();
        let mut faults = Vec::new();
        for (index, content) in text.lines().enumerate() {
            let line = index + 1;
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let parsed = parse_line(content).and_then(|(hash, caller)| {
                match entries.iter().find(|(_, known, _)| *known == hash) {
                    Some((earlier, _, _)) => Err(format!("the same hash stands in line {earlier}")),
                    None => Ok((line, hash, caller)),
                }
            });
            match parsed {
                Ok(entry) => entries.push(entry),
                Err(problem) => faults.push(Fault { line, problem }),
            }
        }
        if faults.is_empty() {
            Ok(Self(
                entries
                    .into_iter()
                    .map(|(_, hash, caller)| (hash, caller))
                    .collect(),
            ))
        } else {
            Err(faults)
        }
    }

    /// Returns whose token has this hash. Takes the same time whether and where it stands in the table.
    fn find(&self, presented: &Hash) -> Option<&Caller> {
        let mut found = Choice::from(0);
        let mut position = 0_u64;
        for (index, (hash, _)) in (0_u64..).zip(&self.0) {
            let same = hash.ct_eq(presented);
            position.conditional_assign(&index, same);
            found |= same;
        }
        if !bool::from(found) {
            return None;
        }
        let (_, caller) = self.0.get(usize::try_from(position).ok()?)?;
        Some(caller)
    }
}

fn parse_line(content: &str) -> Result<(Hash, Caller), String> {
    let mut words = content.split_whitespace();
    let (Some(hash), Some(name), None) = (words.next(), words.next(), words.next()) else {
        return Err("must be a SHA-256 in 64 hex digits, a space and a name".to_owned());
    };
    let hash = parse_hash(hash).ok_or("the hash must be 64 hex digits")?;
    let fits = name.len() <= MAX_NAME
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte));
    if !fits {
        return Err(format!(
            "the name must be 1 to {MAX_NAME} letters, digits and ._:/@-"
        ));
    }
    Ok((hash, Caller::new(ISSUER, name)))
}

fn parse_hash(text: &str) -> Option<Hash> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != size_of::<Hash>() {
        return None;
    }
    let mut hash = Hash::default();
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(hash)
}

/// What tells that a file has changed: `ctime` also sees changed rights, and a write that keeps the time and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            length: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }
}

/// Knows callers by the tokens of a file.
pub struct StaticTokens {
    path: PathBuf,
    table: ArcSwap<Table>,
}

impl fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticTokens")
            .field("path", &self.path)
            .field("table", &self.table.load())
            .finish()
    }
}

impl StaticTokens {
    /// Reads the tokens of the file at `path`. Blocks; call it at start.
    ///
    /// # Errors
    /// If the file cannot be read, does not parse, names nobody, or can be written by everybody.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, LoadError> {
        let path = path.into();
        let table = read(&path)?;
        Ok(Self {
            path,
            table: ArcSwap::from_pointee(table),
        })
    }

    /// Reads the file again, and logs how that went. Blocks.
    ///
    /// # Errors
    /// As [`load`](Self::load); the tokens then stay as they were.
    pub fn reload(&self) -> Result<(), LoadError> {
        match read(&self.path) {
            Ok(table) => {
                tracing::info!(path = %self.path.display(), tokens = table.0.len(), "read the tokens again");
                self.table.store(Arc::new(table));
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "kept the old tokens");
                Err(error)
            }
        }
    }

    /// Reads the file again whenever it changes, and on SIGHUP, until `shutdown` is cancelled.
    ///
    /// # Errors
    /// If the process cannot listen to SIGHUP.
    pub async fn watch(
        self: Arc<Self>,
        poll_interval: Duration,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let mut ticks = interval(poll_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first look reads the file once more: it may have changed since it was loaded.
        let mut seen = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
                Some(()) = hangups.recv() => seen = None,
            }
            let tokens = Arc::clone(&self);
            let look = tokio::task::spawn_blocking(move || {
                // Before the reading: a change during it shows at the next look.
                let stamp = Some(Stamp::at(&tokens.path));
                if stamp == seen || is_final(&tokens.reload()) {
                    stamp
                } else {
                    None
                }
            });
            match look.await {
                Ok(stamp) => seen = stamp,
                Err(error) => tracing::error!(%error, "could not look at the token file"),
            }
        }
    }
}

/// Returns whether reading the same file again would end the same way.
fn is_final(reloaded: &Result<(), LoadError>) -> bool {
    match reloaded {
        // A file whose text is wrong stays so until it changes; one line in the log is enough.
        Ok(()) | Err(LoadError::Parse { .. } | LoadError::Empty { .. } | LoadError::Writable { .. }) => true,
        // May be over at the next look, and until then a token that was taken away is still good.
        Err(LoadError::Read { .. }) => false,
    }
}

fn read(path: &Path) -> Result<Table, LoadError> {
    let path = || path.to_owned();
    let failed = |source| LoadError::Read { path: path(), source };
    let file = File::open(path()).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    if mode & 0o002 != 0 {
        return Err(LoadError::Writable { path: path() });
    }
    if mode & 0o004 != 0 {
        // Only hashes stand in it, so this is no reason to stop.
        tracing::warn!(path = %path().display(), "everybody on this machine can read the token file");
    }

    let mut text = String::new();
    let length = file
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_FILE) {
        let too_large = format!("it is larger than {MAX_FILE} bytes");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, too_large)));
    }
    let table = Table::parse(&text).map_err(|faults| LoadError::Parse { path: path(), faults })?;
    if table.0.is_empty() {
        return Err(LoadError::Empty { path: path() });
    }
    Ok(table)
}

impl Authenticator for StaticTokens {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Caller, Failure>> {
        let answer = match headers.get(header::AUTHORIZATION) {
            None => Err(Failure::new(
                Reason::CredentialsMissing,
                "the call carries no credential; send `authorization: Bearer <token>`",
            )),
            Some(credential) => self.check(credential.as_bytes()).ok_or_else(|| {
                // One text for all: which part was wrong is nothing to tell a stranger.
                Failure::new(
                    Reason::CredentialsInvalid,
                    "the credential is not valid; check the bearer token",
                )
            }),
        };
        Box::pin(ready(answer))
    }
}

impl StaticTokens {
    fn check(&self, credential: &[u8]) -> Option<Caller> {
        let token = bearer_token(credential)?;
        let hash = Sha256::digest(token).into();
        self.table.load().find(&hash).cloned()
    }
}

/// The token of `Bearer <token>` (RFC 6750, 2.1; RFC 9110, 11.2: token68).
fn bearer_token(credential: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = credential.split_first_chunk::<6>()?;
    let (b' ', token) = rest.split_first()? else {
        return None;
    };
    let body = without_padding(token);
    let fits = scheme.eq_ignore_ascii_case(b"bearer")
        && token.len() <= MAX_TOKEN
        && !body.is_empty()
        && body
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte));
    fits.then_some(token)
}

/// The token without its padding.
fn without_padding(mut token: &[u8]) -> &[u8] {
    while let [before @ .., b'='] = token {
        token = before;
    }
    token
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::SystemTime};

    use http::HeaderValue;
    use tempfile::TempDir;
    use tonic::Code;

    use super::*;

    /// The hash of `token` as the file writes it.
    fn hex(token: &str) -> String {
        Sha256::digest(token)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn line(token: &str, name: &str) -> String {
        format!("{} {name}\n", hex(token))
    }

    struct Fixture {
        _directory: TempDir,
        path: PathBuf,
    }

    impl Fixture {
        fn new(text: &str) -> Self {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("tokens");
            fs::write(&path, text).unwrap();
            Self {
                _directory: directory,
                path,
            }
        }

        fn write(&self, text: &str) {
            fs::write(&self.path, text).unwrap();
        }

        fn load(&self) -> StaticTokens {
            StaticTokens::load(&self.path).unwrap()
        }
    }

    fn who(tokens: &StaticTokens, credential: &[u8]) -> Result<String, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_bytes(credential).unwrap(),
        );
        let answer = futures_util::FutureExt::now_or_never(tokens.authenticate(&headers)).unwrap();
        answer.map(|caller| caller.to_string())
    }

    #[test]
    fn the_holder_of_a_token_is_its_name() {
        let text = format!(
            "# team tokens\n\n{}{}",
            line("tok-1", "alice"),
            line("tok-2==", "team/bob@eu")
        );
        let tokens = Fixture::new(&text).load();

        assert_eq!(who(&tokens, b"Bearer tok-1").unwrap(), "static-token/alice");
        assert_eq!(
            who(&tokens, b"bEARER tok-2==").unwrap(),
            "static-token/team/bob@eu"
        );
    }

    #[test]
    fn one_name_may_have_several_tokens() {
        let tokens = Fixture::new(&format!("{}{}", line("old", "alice"), line("new", "alice"))).load();

        assert_eq!(
            who(&tokens, b"Bearer old").unwrap(),
            who(&tokens, b"Bearer new").unwrap()
        );
    }

    /// Asserts that `credential` proves nothing, in the words that every such credential gets.
    fn assert_invalid(tokens: &StaticTokens, credential: &[u8]) {
        let failure = who(tokens, credential).unwrap_err();

        assert_eq!(failure.why(), Reason::CredentialsInvalid);
        assert_eq!(failure.code(), Code::Unauthenticated);
        assert_eq!(
            failure.message(),
            "the credential is not valid; check the bearer token"
        );
    }

    #[test]
    fn whatever_is_wrong_with_a_credential_gives_the_same_answer() {
        let tokens = Fixture::new(&line("good", "alice")).load();
        let cases: [&[u8]; 8] = [
            b"",
            b"Bearer",
            b"Bearer other",
            b"Bearer good=",
            b"Bearer\tgood",
            b"Basic good",
            b"Bearer-good",
            b"good",
        ];
        for credential in cases {
            assert_invalid(&tokens, credential);
        }
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_none_even_when_its_hash_is_known() {
        let too_long = "x".repeat(MAX_TOKEN + 1);
        for token in [
            "", " good", "good ", "go od", "=", "go=od", "g,d", "g\u{f6}d", &too_long,
        ] {
            let tokens = Fixture::new(&line(token, "alice")).load();

            assert_invalid(&tokens, format!("Bearer {token}").as_bytes());
        }
    }

    #[test]
    fn the_longest_token_is_accepted() {
        let token = "x".repeat(MAX_TOKEN);
        let tokens = Fixture::new(&line(&token, "alice")).load();

        assert!(who(&tokens, format!("Bearer {token}").as_bytes()).is_ok());
    }

    #[test]
    fn the_hash_of_a_token_is_no_token() {
        let tokens = Fixture::new(&line("good", "alice")).load();

        assert!(who(&tokens, format!("Bearer {}", hex("good")).as_bytes()).is_err());
    }

    #[tokio::test]
    async fn no_credential_is_told_what_to_send() {
        let tokens = Fixture::new(&line("good", "alice")).load();

        let failure = tokens.authenticate(&HeaderMap::new()).await.unwrap_err();

        assert_eq!(failure.why(), Reason::CredentialsMissing);
    }

    #[test]
    fn every_faulty_line_is_named_and_none_is_quoted() {
        let good = line("good", "alice");
        let hash = hex("good");
        let text = format!(
            "{good}canary\n{hash} bob\n# fine\n{} bob\n{} b\u{f6}b\n{} {}\n{} bob extra\n{} bob\n",
            "canary00".repeat(8),
            "1".repeat(64),
            "2".repeat(64),
            "n".repeat(MAX_NAME + 1),
            "3".repeat(64),
            "4".repeat(63),
        );

        let faults = Table::parse(&text).unwrap_err();

        let seen: Vec<_> = faults
            .iter()
            .map(|fault| (fault.line, fault.problem.as_str()))
            .collect();
        let form = "must be a SHA-256 in 64 hex digits, a space and a name";
        let name = "the name must be 1 to 128 letters, digits and ._:/@-";
        assert_eq!(
            seen,
            [
                (2, form),
                (3, "the same hash stands in line 1"),
                (5, "the hash must be 64 hex digits"),
                (6, name),
                (7, name),
                (8, form),
                (9, "the hash must be 64 hex digits"),
            ]
        );
        let report = listed(&faults);
        assert!(
            !report.contains("canary") && !report.contains(hash.split_at(8).0),
            "{report}"
        );
    }

    #[test]
    fn a_hash_in_upper_case_is_the_same_hash() {
        let lower = line("good", "alice");
        let upper = format!("{} bob", hex("good").to_uppercase());

        assert!(Table::parse(&upper).is_ok());
        assert_eq!(Table::parse(&format!("{lower}{upper}")).unwrap_err()[0].line, 2);
    }

    #[test]
    fn a_reload_takes_new_tokens_and_drops_old_ones() {
        let file = Fixture::new(&line("old", "alice"));
        let tokens = file.load();

        file.write(&line("new", "alice"));
        tokens.reload().unwrap();

        assert!(who(&tokens, b"Bearer old").is_err());
        assert!(who(&tokens, b"Bearer new").is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_used_changes_nothing() {
        let file = Fixture::new(&line("good", "alice"));
        let tokens = file.load();

        file.write("garbage");
        assert!(matches!(tokens.reload(), Err(LoadError::Parse { .. })));
        file.write("# being written\n");
        assert!(matches!(tokens.reload(), Err(LoadError::Empty { .. })));
        fs::write(&file.path, [0xff]).unwrap();
        assert!(matches!(tokens.reload(), Err(LoadError::Read { .. })));
        fs::remove_file(&file.path).unwrap();
        assert!(matches!(tokens.reload(), Err(LoadError::Read { .. })));

        assert!(who(&tokens, b"Bearer good").is_ok());
    }

    #[test]
    fn a_file_that_could_not_be_read_is_tried_again_unchanged() {
        let file = Fixture::new(&line("good", "alice"));
        let tokens = file.load();
        assert!(is_final(&tokens.reload()));

        file.write("garbage");
        assert!(is_final(&tokens.reload()));
        fs::remove_file(&file.path).unwrap();
        assert!(!is_final(&tokens.reload()));
    }

    #[test]
    fn a_file_that_everybody_can_write_is_refused() {
        let file = Fixture::new(&line("good", "alice"));
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o666)).unwrap();

        assert!(matches!(
            StaticTokens::load(&file.path),
            Err(LoadError::Writable { .. })
        ));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let file = Fixture::new(&"#".repeat(1_024 * 1_024 + 1));

        assert!(matches!(
            StaticTokens::load(&file.path),
            Err(LoadError::Read { .. })
        ));
    }

    #[test]
    fn a_change_that_keeps_length_and_time_is_noticed() {
        let file = Fixture::new(&line("good", "alice"));
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let set_time = || {
            File::options()
                .write(true)
                .open(&file.path)
                .unwrap()
                .set_modified(old)
                .unwrap();
        };
        set_time();
        let before = Stamp::at(&file.path).unwrap();

        file.write(&line("best", "alice"));
        set_time();

        let after = Stamp::at(&file.path).unwrap();
        assert_eq!((before.modified, before.length), (after.modified, after.length));
        assert_ne!(before, after);
    }

    /// Waits until `token` is known.
    async fn is_known(tokens: &StaticTokens, token: &str) {
        let credential = format!("Bearer {token}");
        let known = async {
            while who(tokens, credential.as_bytes()).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), known)
            .await
            .expect("not read again");
    }

    #[tokio::test]
    async fn a_changed_file_is_read_while_the_server_runs() {
        let file = Fixture::new(&line("first", "alice"));
        let tokens = Arc::new(file.load());
        let shutdown = CancellationToken::new();
        let watching = tokio::spawn(Arc::clone(&tokens).watch(Duration::from_millis(5), shutdown.clone()));

        file.write(&line("second", "alice"));
        is_known(&tokens, "second").await;
        fs::remove_file(&file.path).unwrap();
        file.write("garbage");
        file.write(&line("third", "alice"));
        is_known(&tokens, "third").await;

        shutdown.cancel();
        watching.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_hangup_makes_it_read_the_file_at_once() {
        let file = Fixture::new(&line("first", "alice"));
        let tokens = Arc::new(file.load());
        file.write(&line("second", "alice"));
        let watching =
            tokio::spawn(Arc::clone(&tokens).watch(Duration::from_secs(3_600), CancellationToken::new()));
        // The first look is over, and with it the only one of this hour; the signal does not end the process any more.
        is_known(&tokens, "second").await;

        file.write(&line("third", "alice"));
        let kill = format!("kill -HUP {}", std::process::id());
        let sent = std::process::Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap();

        assert!(sent.success());
        is_known(&tokens, "third").await;
        watching.abort();
    }

    #[test]
    fn printing_shows_no_hash_and_no_name() {
        let tokens = Fixture::new(&line("good", "alice")).load();

        let printed = format!("{tokens:?}");

        assert!(
            printed.contains("1 tokens") && !printed.contains("alice"),
            "{printed}"
        );
    }
}

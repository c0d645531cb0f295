use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use http::{HeaderMap, HeaderValue};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::{
    file::{finality, listed},
    table::MAX_NAME,
    *,
};
use crate::{auth::bearer::MAX_TOKEN, failure::Reason, watch::Reading};

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

fn evidence(headers: &HeaderMap) -> Evidence<'_> {
    Evidence { headers, peer: None }
}

fn who(tokens: &StaticTokens, credential: &[u8]) -> Result<String, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::AUTHORIZATION,
        HeaderValue::from_bytes(credential).unwrap(),
    );
    let answer = futures_util::FutureExt::now_or_never(tokens.authenticate(evidence(&headers))).unwrap();
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

    let failure = tokens
        .authenticate(evidence(&HeaderMap::new()))
        .await
        .unwrap_err();

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
    assert_eq!(finality(&tokens.reload()), Reading::Final);

    file.write("garbage");
    assert_eq!(finality(&tokens.reload()), Reading::Final);
    fs::remove_file(&file.path).unwrap();
    assert_eq!(finality(&tokens.reload()), Reading::Unfinished);
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
    let watching = tokio::spawn(
        Arc::clone(&tokens)
            .watch(Duration::from_millis(5), shutdown.clone())
            .unwrap(),
    );

    file.write(&line("second", "alice"));
    is_known(&tokens, "second").await;
    fs::remove_file(&file.path).unwrap();
    file.write("garbage");
    file.write(&line("third", "alice"));
    is_known(&tokens, "third").await;

    shutdown.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn a_hangup_makes_it_read_the_file_at_once() {
    let file = Fixture::new(&line("first", "alice"));
    let tokens = Arc::new(file.load());
    file.write(&line("second", "alice"));
    let watching = tokio::spawn(
        Arc::clone(&tokens)
            .watch(Duration::from_secs(3_600), CancellationToken::new())
            .unwrap(),
    );
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

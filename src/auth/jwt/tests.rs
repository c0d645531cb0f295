use std::fs;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::{
    issuer::{SigningKey, jwks},
    *,
};

const ISSUER: &str = "https://issuer.example";

/// Verifiers before one issuer whose keys stand in a file.
struct Fixture {
    directory: TempDir,
    jwt: Jwt,
}

impl Fixture {
    fn new(keys: &[&SigningKey]) -> Self {
        let directory = TempDir::new().unwrap();
        let set = directory.path().join("keys.json");
        fs::write(&set, jwks(keys)).unwrap();
        let issuers = directory.path().join("issuers.toml");
        let text = format!(
            "[[issuer]]\nissuer = \"{ISSUER}\"\naudiences = [\"ram-facade\"]\nalgorithms = [\"ES256\"]\njwks_file = \"{}\"",
            set.display()
        );
        fs::write(&issuers, text).unwrap();
        let jwt = Jwt::load(&issuers).unwrap();
        Self { directory, jwt }
    }

    fn publish(&self, keys: &[&SigningKey]) {
        fs::write(self.directory.path().join("keys.json"), jwks(keys)).unwrap();
    }

    async fn who(&self, token: &str) -> Result<String, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_str(&format!("Bearer {token}")).unwrap(),
        );
        let evidence = Evidence {
            headers: &headers,
            peer: None,
        };
        self.jwt
            .authenticate(evidence)
            .await
            .map(|caller| caller.to_string())
    }
}

fn claims(expires_in: i64) -> Value {
    let now = i64::try_from(clock::wall_now() / 1_000).unwrap();
    json!({"iss": ISSUER, "aud": "ram-facade", "sub": "alice", "exp": now + expires_in})
}

#[tokio::test]
async fn the_holder_of_a_signed_token_is_its_subject() {
    let key = SigningKey::p256("k");
    let fixture = Fixture::new(&[&key]);
    let token = key.token(&claims(60));

    for _ in 0..2 {
        assert_eq!(fixture.who(&token).await.unwrap(), "https://issuer.example/alice");
    }
}

#[tokio::test]
async fn an_expired_token_says_so_and_only_to_who_has_a_good_one() {
    let (key, other) = (SigningKey::p256("k"), SigningKey::p256("k"));
    let fixture = Fixture::new(&[&key]);

    let expired = fixture.who(&key.token(&claims(-60))).await.unwrap_err();
    let forged = fixture.who(&other.token(&claims(-60))).await.unwrap_err();

    assert_eq!(expired.why(), Reason::CredentialsExpired);
    assert_eq!(forged.why(), Reason::CredentialsInvalid);
}

#[tokio::test]
async fn a_remembered_token_ends_in_time() {
    let key = SigningKey::p256("k");
    let fixture = Fixture::new(&[&key]);
    let token = key.token(&claims(60));
    fixture.who(&token).await.unwrap();
    let hash = Sha256::digest(&token).into();
    let known = fixture.jwt.verified.get(&hash).expect("it is remembered");

    fixture
        .jwt
        .verified
        .insert(hash, Verified { until: 1.0, ..known });

    let failure = fixture.who(&token).await.unwrap_err();
    assert_eq!(failure.why(), Reason::CredentialsExpired);
}

#[tokio::test]
async fn a_refused_token_is_not_remembered() {
    let key = SigningKey::p256("k");
    let fixture = Fixture::new(&[&key]);

    fixture.who(&key.token(&claims(-60))).await.unwrap_err();

    fixture.jwt.verified.run_pending_tasks();
    assert_eq!(fixture.jwt.verified.entry_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_left_the_file_does_not_keep_its_tokens_alive() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let fixture = Fixture::new(&[&old]);
    fixture.jwt.keep_current(&CancellationToken::new());
    let token = old.token(&claims(3_600));
    fixture.who(&token).await.unwrap();

    fixture.publish(&[&new]);
    tokio::time::sleep(Duration::from_secs(20)).await;

    assert!(fixture.who(&token).await.is_err());
    fixture.who(&new.token(&claims(3_600))).await.unwrap();
}

#[tokio::test]
async fn every_refusal_but_the_expired_ones_has_one_text() {
    let key = SigningKey::p256("k");
    let fixture = Fixture::new(&[&key]);
    let mut other_audience = claims(60);
    other_audience["aud"] = json!("other");
    let mut other_issuer = claims(60);
    other_issuer["iss"] = json!("https://issuer.example/");
    for token in [
        key.token(&other_audience),
        key.token(&other_issuer),
        SigningKey::p256("k").token(&claims(60)),
        SigningKey::rsa("k").token(&claims(60)),
        "static".to_owned(),
        "a.b.c".to_owned(),
    ] {
        let failure = fixture.who(&token).await.unwrap_err();
        assert_eq!(
            (failure.why(), failure.message()),
            (
                Reason::CredentialsInvalid,
                "the credential is not valid; check the bearer token"
            )
        );
    }
}

#[test]
fn with_keys_in_files_everybody_is_ready_at_once() {
    let fixture = Fixture::new(&[&SigningKey::p256("k")]);

    assert!(fixture.jwt.ready().now_or_never().is_some());
}

#[test]
fn faults_of_all_files_are_found_without_a_network() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("empty.json"), "{\"keys\":[]}").unwrap();
    fs::write(at("no.pem"), "no certificate").unwrap();
    let issuer = |name: &str, source: String| {
        format!("[[issuer]]\nissuer = \"{name}\"\naudiences = [\"a\"]\nalgorithms = [\"ES256\"]\n{source}\n")
    };
    let text = [
        issuer(
            "absent",
            format!("jwks_file = \"{}\"", at("absent.json").display()),
        ),
        issuer("empty", format!("jwks_file = \"{}\"", at("empty.json").display())),
        issuer(
            "no-ca",
            format!(
                "jwks_url = \"https://x.invalid\"\njwks_ca_file = \"{}\"",
                at("no.pem").display()
            ),
        ),
        issuer("plain", "jwks_url = \"http://127.0.0.1:1/keys\"".to_owned()),
    ];
    fs::write(at("issuers.toml"), text.concat()).unwrap();

    let error = Jwt::load(&at("issuers.toml")).unwrap_err().to_string();

    for part in [
        "issuer `absent`: jwks_file: cannot read",
        "issuer `empty`: jwks_file",
        "issuer `no-ca`: cannot read",
        "no certificate in PEM",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("`plain`"), "{error}");
}

#[test]
fn a_file_that_everybody_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new(&[&SigningKey::p256("k")]);
    let path = fixture.directory.path().join("issuers.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();

    let error = chain(&Jwt::load(&path).unwrap_err());

    assert!(error.contains("can be written by everybody"), "{error}");
}

#[test]
fn printing_shows_neither_tokens_nor_keys() {
    let printed = format!("{:?}", Fixture::new(&[&SigningKey::p256("k")]).jwt);

    assert_eq!(printed, format!("Jwt {{ issuers: [{ISSUER:?}] }}"));
}

fn text_of(parts: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let parts = parts.to_vec();
    prop::collection::vec(prop::sample::select(parts), 0..40).prop_map(|chosen| chosen.concat())
}

proptest! {
    #[test]
    fn whatever_bytes_come_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Token::parse(&bytes);
        let _ = KeySet::parse(&bytes);
        let _ = json::Object::parse(&bytes);
        let _ = settings::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn whatever_looks_like_json_nothing_panics(
        text in text_of(&[
            "{", "}", "[", "]", ",", ":", "\"keys\"", "\"kty\"", "\"RSA\"", "\"EC\"", "\"OKP\"", "\"crv\"", "\"P-256\"",
            "\"n\"", "\"x\"", "\"AQAB\"", "\"\"", "1e9", "-1", "null", "\"alg\"", "\"ES256\"", "\"kid\"", "\"exp\"",
        ]),
    ) {
        let _ = KeySet::parse(text.as_bytes());
        if let Some(object) = json::Object::parse(text.as_bytes()) {
            let _ = object.pointer("/keys/0/kty");
        }
    }

    #[test]
    fn whatever_looks_like_a_file_of_issuers_nothing_panics(
        text in text_of(&[
            "[[issuer]]\n", "issuer = ", "audiences = ", "algorithms = ", "jwks_url = ", "attributes = ", "leeway_s = ",
            "\"https://a\"\n", "[\"a\"]\n", "[]\n", "{}\n", "{ a = \"/b\" }\n", "1\n", "\"\"\n", "\n",
        ]),
    ) {
        let _ = settings::parse(&text);
    }
}

#[tokio::test]
async fn no_change_of_a_single_character_is_accepted() {
    let key = SigningKey::p256("k");
    let fixture = Fixture::new(&[&key]);
    fixture.jwt.keep_current(&CancellationToken::new());
    let token = key.token(&claims(600));
    for position in 0..token.len() {
        for other in ['A', 'z', '-', '_', '.', '='] {
            let mut changed: Vec<char> = token.chars().collect();
            if changed[position] == other {
                continue;
            }
            changed[position] = other;
            let changed: String = changed.into_iter().collect();
            assert!(fixture.who(&changed).await.is_err(), "{position}: {changed}");
        }
        let (before, after) = token.split_at(position);
        for changed in [before.to_owned(), format!("{before}A{after}"), after.to_owned()] {
            assert!(
                changed == token || fixture.who(&changed).await.is_err(),
                "{position}: {changed}"
            );
        }
    }
}

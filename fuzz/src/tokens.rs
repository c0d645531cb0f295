//! JWTs, the file of their issuers and the issuers' key sets. Nobody gets in whom no issuer names, and nothing panics.

#[allow(dead_code, reason = "the integration tests use the rest")]
#[path = "../../tests/common/issuer.rs"]
mod issuer;

use std::{
    fs,
    path::{Path, PathBuf},
};

use http::{HeaderMap, HeaderValue, header};
use ram_facade::{
    auth::{Authenticator, Evidence, jwt::Jwt},
    call::Caller,
};
use tokio_util::sync::CancellationToken;

use self::issuer::{SigningKey, jwks};

/// A header as an issuer writes it, for claims of any kind.
const HEADER: &str = r#"{"alg":"EdDSA","kid":"k"}"#;

struct Fixture {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    key: SigningKey,
    verifier: Jwt,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let key = SigningKey::ed25519("k");
        let set = write(folder.path(), "set.json", jwks(&[&key]).as_bytes());
        let verifier = Jwt::load(&issuers(folder.path(), &set)).expect("the key is good");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("it starts");
        // Whoever names an unknown key waits until the set was read again.
        runtime.block_on(async { verifier.keep_current(&CancellationToken::new()) });
        Self {
            folder,
            runtime,
            key,
            verifier,
        }
    }

    /// Who the bearer of `token` is, if anybody.
    fn caller(&self, token: &[u8]) -> Option<Caller> {
        let mut headers = HeaderMap::new();
        let credential = [b"Bearer ", token].concat();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(&credential).ok()?);
        let evidence = Evidence {
            headers: &headers,
            peer: None,
        };
        self.runtime.block_on(self.verifier.authenticate(evidence)).ok()
    }
}

fn write(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("there is room");
    path
}

/// An issuers file that names the key set.
fn issuers(folder: &Path, set: &Path) -> PathBuf {
    let text = format!(
        "[[issuer]]\nissuer = \"i\"\naudiences = [\"a\"]\nalgorithms = [\"EdDSA\", \"ES256\", \"RS256\"]\n\
         jwks_file = \"{}\"\nattributes = {{ groups = \"/groups\", namespace = \"/k8s/namespace\" }}\n",
        set.display()
    );
    write(folder, "issuers.toml", text.as_bytes())
}

thread_local! {
    static FIXTURE: Fixture = Fixture::new();
}

/// Feeds one input. Its first byte, best a digit, says what the rest is.
pub fn feed(bytes: &[u8]) {
    let Some((what, rest)) = bytes.split_first() else {
        return;
    };
    FIXTURE.with(|fixture| match what % 8 {
        0 => {
            let set = write(fixture.folder.path(), "fed.json", rest);
            let _ = Jwt::load(&issuers(fixture.folder.path(), &set));
        }
        1 => {
            let _ = Jwt::load(&write(fixture.folder.path(), "fed.toml", rest));
        }
        2 => signed(fixture, HEADER, &String::from_utf8_lossy(rest)),
        3 => signed(
            fixture,
            &String::from_utf8_lossy(rest),
            r#"{"iss":"i","aud":"a","sub":"s","exp":253402300799}"#,
        ),
        _ => assert_eq!(fixture.caller(rest), None, "a forged token got in"),
    });
}

/// A token of the issuer itself, which may be as strange as it likes.
fn signed(fixture: &Fixture, header: &str, claims: &str) {
    let token = fixture.key.sign(header, claims);
    let Some(caller) = fixture.caller(token.as_bytes()) else {
        return;
    };
    assert_eq!(caller.issuer(), "i");
    assert_eq!(
        fixture.caller(token.as_bytes()),
        Some(caller),
        "it is remembered as somebody else"
    );
    // The same body under the signature of another.
    let other = fixture.key.sign(header, &format!("{claims} "));
    let (_, signature) = other.rsplit_once('.').expect("it has three parts");
    let (body, _) = token.rsplit_once('.').expect("it has three parts");
    assert_eq!(
        fixture.caller(format!("{body}.{signature}").as_bytes()),
        None,
        "a forged token got in"
    );
}

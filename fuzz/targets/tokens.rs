//! JWTs and the key sets of their issuers. Nobody gets in, and nothing panics.
#![no_main]

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use libfuzzer_sys::fuzz_target;
use ram_facade::auth::{Authenticator, Evidence, jwt::Jwt};

/// A key of the RFC that describes keys (RFC 7517, A.1), whose private half nobody has.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

struct Fixture {
    folder: PathBuf,
    runtime: tokio::runtime::Runtime,
    verifier: Jwt,
}

/// An issuers file, and beside it its key set.
fn issuers(folder: &Path, keys: &[u8]) -> PathBuf {
    let (set, file) = (folder.join("jwks"), folder.join("issuers.toml"));
    fs::write(&set, keys).expect("there is room");
    let text = format!(
        "[[issuer]]\nissuer = \"i\"\naudiences = [\"a\"]\nalgorithms = [\"ES256\", \"RS256\"]\njwks_file = \"{}\"\n",
        set.display()
    );
    fs::write(&file, text).expect("there is room");
    file
}

thread_local! {
    static FIXTURE: RefCell<Fixture> = {
        let folder = std::env::temp_dir().join(format!("ram-facade-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is room");
        let verifier = Jwt::load(&issuers(&folder, KEYS.as_bytes())).expect("the key is good");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts");
        RefCell::new(Fixture { folder, runtime, verifier })
    };
}

fuzz_target!(|bytes: &[u8]| {
    FIXTURE.with_borrow(|fixture| {
        let Some((which, rest)) = bytes.split_first() else { return };
        if which % 8 == 0 {
            let _ = Jwt::load(&issuers(&fixture.folder, rest));
            return;
        }
        let value = [b"Bearer ".as_slice(), rest].concat();
        let Ok(value) = http::HeaderValue::from_bytes(&value) else { return };
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, value);
        let evidence = Evidence { headers: &headers, peer: None };
        let answer = fixture.runtime.block_on(fixture.verifier.authenticate(evidence));
        assert!(answer.is_err(), "a forged token got in");
    });
});

//! A caller who is known and judged: an issuer of JWTs, a token of it, and policies that permit.

use std::{fs, path::Path, time::UNIX_EPOCH};

use serde_json::json;

use super::issuer::{SigningKey, jwks};

/// A policy that permits, and a guard that looks at every resource, as in the README.
const POLICIES: &str = r#"
@id("network-team-shares")
permit (
    principal == RamFacade::Caller::"https:%2F%2Fissuer.example/network-team",
    action == RamFacade::Action::"CreateResourceShare",
    resource
)
when { context.name like "network-*" };

@id("own-account-only")
forbid (principal, action in RamFacade::Action::"Write", resource)
unless {
    [resource.account].containsAll(context.resources.accounts) &&
    [resource.partition].containsAll(context.resources.partitions)
};
"#;

pub(crate) struct Known {
    issuers: String,
    policies: String,
    /// What the caller shows (RS256), good for two hours.
    pub(crate) token: String,
}

impl Known {
    /// Puts the files that the facade reads into `folder`.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let key = SigningKey::rsa("key");
        let set = write("jwks", &jwks(&[&key]));
        let issuers = format!(
            "[[issuer]]\nissuer = \"https://issuer.example\"\naudiences = [\"ram-facade\"]\nalgorithms = [\"RS256\"]\n\
             jwks_file = \"{set}\"\n"
        );
        let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
        let claims = json!({
            "iss": "https://issuer.example", "sub": "network-team", "aud": "ram-facade", "iat": now, "exp": now + 7_200
        });
        Self {
            issuers: write("issuers.toml", &issuers),
            policies: write("policy.cedar", POLICIES),
            token: key.token(&claims),
        }
    }

    /// The flags of a server that knows and judges this caller.
    pub(crate) fn flags(&self) -> [&str; 4] {
        [
            "--auth-issuers-file",
            &self.issuers,
            "--policy-file",
            &self.policies,
        ]
    }
}

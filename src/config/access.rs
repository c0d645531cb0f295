//! The keys of who may call, and of what callers may do.

use std::{net::SocketAddr, path::PathBuf};

use super::{reader::Reader, tls};
use crate::{auth::certificate, server::tls as server_tls};

/// How callers prove who they are. Without any way everybody is the same anonymous caller, on loopback only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Bearer tokens whose hashes stand in this file.
    pub tokens_file: Option<PathBuf>,
    /// JWT bearer tokens of the issuers in this file.
    pub issuers_file: Option<PathBuf>,
    /// Client certificates with these names.
    pub certificate: Option<certificate::Settings>,
}

impl Authentication {
    /// Returns whether nobody has to prove anything.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// What callers may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policies {
    /// What the Cedar policies of this file or folder permit.
    Cedar(PathBuf),
    /// Everything, whoever they are.
    AllowAll,
}

/// What was read of these keys. Whether it holds together depends on others.
pub(super) struct Keys {
    insecure: bool,
    proofs: Authentication,
    policy_file: Option<PathBuf>,
    allow_all: bool,
}

pub(super) fn read(r: &mut Reader, tls: Option<&server_tls::Settings>) -> Keys {
    let insecure = r.or_default(
        "insecure_no_auth",
        false,
        "true or false",
        "Serves everybody, on loopback addresses only.",
    );
    let proofs = Authentication {
        tokens_file: r.optional(
            "auth.tokens_file",
            "a file path",
            "File with a line `SHA-256-of-token caller-name` for each bearer token. Reread when it changes and on SIGHUP.",
        ),
        issuers_file: r.optional(
            "auth.issuers_file",
            "a file path",
            "File (TOML) with an [[issuer]] for each issuer of JWT bearer tokens that are accepted; docs/auth.md. Read \
             at start.",
        ),
        certificate: tls::callers(r, tls),
    };
    let policy_file = r.optional(
        "policy.file",
        "a file or a folder",
        "Cedar policies that say who may share what, in a file or in the `*.cedar` files of a folder (docs/policy.md). \
         What no policy permits is denied. Reread when it changes and on SIGHUP.",
    );
    let allow_all = r.or_default(
        "policy.allow_all",
        false,
        "true or false",
        "Lets every authenticated caller do everything that the credentials may, instead of policies.",
    );
    Keys {
        insecure,
        proofs,
        policy_file,
        allow_all,
    }
}

impl Keys {
    /// Notes what contradicts itself, `listen` or the sandbox.
    pub(super) fn judge(
        self,
        r: &mut Reader,
        listen: SocketAddr,
        sandbox: bool,
    ) -> (Authentication, Policies) {
        self.judge_proofs(r, listen, sandbox);
        let policies = self.policies(r, sandbox);
        (self.proofs, policies)
    }

    /// Nobody gets in by default, and what is open to everybody is open on loopback only.
    fn judge_proofs(&self, r: &mut Reader, listen: SocketAddr, sandbox: bool) {
        if !self.proofs.is_off() {
            if self.insecure {
                r.fault("insecure_no_auth and the keys auth.* exclude each other; remove one");
            }
        } else if !self.insecure && !sandbox {
            r.fault(
                "no authentication: set auth.tokens_file (RAM_FACADE_AUTH_TOKENS_FILE), auth.issuers_file \
                 (RAM_FACADE_AUTH_ISSUERS_FILE) or auth.certificate.* for client certificates, or insecure_no_auth \
                 (--insecure-no-auth) to serve everybody on loopback",
            );
        } else if !listen.ip().is_loopback() {
            r.fault(format!(
                "listen (RAM_FACADE_LISTEN) is `{listen}`, but without authentication only loopback addresses are \
                 served; set one of the keys auth.*, or listen on 127.0.0.1"
            ));
        }
    }

    /// Nothing is permitted by default, except where nobody is asked who they are either.
    fn policies(&self, r: &mut Reader, sandbox: bool) -> Policies {
        let open = self.insecure || sandbox;
        match &self.policy_file {
            Some(_) if self.allow_all => {
                r.fault("policy.file and policy.allow_all exclude each other; remove one");
            }
            Some(_) if !cfg!(feature = "cedar") => {
                r.fault(
                    "policy.file (RAM_FACADE_POLICY_FILE) is set, but this build has no policies (feature `cedar`)",
                );
            }
            Some(file) => return Policies::Cedar(file.clone()),
            None if !open && !self.allow_all => {
                r.fault(
                    "no policy: set policy.file (RAM_FACADE_POLICY_FILE) to Cedar policies, or policy.allow_all = \
                     true to let every authenticated caller do everything",
                );
            }
            None => {}
        }
        Policies::AllowAll
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::config, *};

    #[test]
    fn nobody_gets_in_by_default() {
        let faults = config("store = \":memory:\"").unwrap_err();

        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("no authentication"), "{faults:?}");
        assert!(faults[1].contains("no policy"), "{faults:?}");
    }

    #[test]
    fn whoever_gets_in_may_do_nothing_by_default() {
        let with = |policy| {
            config(&format!(
                "store = \":memory:\"\n[auth]\ntokens_file = \"t\"\n[policy]\n{policy}"
            ))
        };
        let refused = |policy| with(policy).unwrap_err().join("\n");

        assert!(refused("").contains("no policy: set policy.file"));
        assert!(refused("file = \"p\"\nallow_all = true").contains("exclude each other"));
        assert_eq!(with("allow_all = true").unwrap().policies, Policies::AllowAll);
        #[cfg(feature = "cedar")]
        assert_eq!(
            with("file = \"p\"").unwrap().policies,
            Policies::Cedar("p".into())
        );
        #[cfg(not(feature = "cedar"))]
        assert!(refused("file = \"p\"").contains("this build has no policies"));
    }

    #[test]
    fn without_authentication_only_loopback_is_served() {
        for key in ["insecure_no_auth = true", "sandbox.enabled = true"] {
            let faults = config(&format!("listen = \"0.0.0.0:1\"\nstore = \":memory:\"\n{key}")).unwrap_err();
            assert!(faults[0].contains("only loopback"), "{faults:?}");
        }
        assert!(config("listen = \"[::1]:0\"\nstore = \":memory:\"\ninsecure_no_auth = true").is_ok());
    }

    #[test]
    fn several_verifiers_may_stand_together_and_none_beside_insecure_no_auth() {
        let both = "store = \":memory:\"\nlisten = \"0.0.0.0:1\"\npolicy.allow_all = true\n[auth]\ntokens_file = \"t\"\nissuers_file = \"i\"";
        let expected = Authentication {
            tokens_file: Some("t".into()),
            issuers_file: Some("i".into()),
            certificate: None,
        };

        assert_eq!(config(both).unwrap().authentication, expected);
        for key in ["tokens_file", "issuers_file"] {
            let faults = config(&format!(
                "store = \":memory:\"\ninsecure_no_auth = true\n[auth]\n{key} = \"x\""
            ));
            assert!(faults.unwrap_err()[0].contains("exclude each other"), "{key}");
        }
    }
}

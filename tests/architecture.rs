//! Who may import whom. A rule that is broken fails with its own sentence.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, fs, path::Path};

use syn::{UseTree, visit::Visit};

/// Files under `of` (a path below src, without `.rs`) may use of this crate only what stands in `may`.
struct Rule {
    of: &'static str,
    may: &'static [&'static str],
    because: &'static str,
}

/// Leaves that everybody may use: they use nothing of the crate themselves, or only each other.
const COMMON: &[&str] = &["clock", "failpoint", "failure"];

const RULES: &[Rule] = &[
    Rule {
        of: "main",
        may: &["cli"],
        because: "main parses nothing and decides nothing",
    },
    Rule {
        of: "cli",
        may: &[
            "config",
            "telemetry",
            "server",
            "sandbox",
            "operator",
            "policy_tool",
            "cli",
        ],
        because: "the command line starts things, and config, telemetry, server, sandbox and the two tools are what it starts",
    },
    Rule {
        of: "operator",
        may: &["call", "idempotency", "layers", "pb", "rules"],
        because: "an operator looks at records and settles them, past the server and past RAM",
    },
    Rule {
        of: "policy_tool",
        may: &["auth", "call", "operation", "operations", "pb", "rules"],
        because: "policies are asked about a request of any operation, past the server and past RAM",
    },
    Rule {
        of: "audit",
        may: &["audit", "auth", "call", "idempotency", "operation"],
        because: "a line says who asked for what and what policy said; it comes from the layers, which it does not know",
    },
    Rule {
        of: "config",
        may: &[
            "audit",
            "auth",
            "config",
            "idempotency",
            "layers",
            "ram",
            "rules",
            "sandbox",
            "server",
            "telemetry",
        ],
        because: "config gathers Settings; nobody's Settings know config",
    },
    Rule {
        of: "operations/",
        may: &["operation", "idempotency", "pb", "ram", "rules"],
        because: "an operation knows RAM and its own messages, not the layers, the edge or another operation",
    },
    Rule {
        of: "operations",
        may: &["api", "operation", "operations", "pb"],
        because: "the list connects operations to the edge, so that the edge does not know the list",
    },
    Rule {
        of: "api",
        may: &["api", "stack", "operation", "call", "layers", "ram"],
        because: "the edge knows the stack and the types that go through it, not the operations",
    },
    Rule {
        of: "stack",
        may: &["audit", "auth", "layers", "operation", "call", "ram"],
        because: "the stack composes layers for any operation",
    },
    Rule {
        of: "layers/testing",
        may: &["auth", "call", "idempotency", "layers", "operation", "ram"],
        because: "the operations of the layers' tests must name what an operation sends through, in this one place",
    },
    Rule {
        of: "layers",
        may: &[
            "audit",
            "auth",
            "call",
            "idempotency",
            "layers",
            "operation",
            "pacing",
        ],
        because: "a layer knows calls, the way into the audit log, the arithmetic of pacing and the traits of auth and idempotency, not RAM, operations, config or messages",
    },
    Rule {
        of: "auth",
        may: &["auth", "bounded", "call", "operation", "rules", "watch"],
        because: "a verifier knows headers, connections and callers and may read and watch a file of its own; a policy takes a \
                  request's values apart as validation does",
    },
    Rule {
        of: "idempotency",
        may: &["bounded", "call", "idempotency"],
        because: "keys, records and stores know callers and a file of keys, not RAM and not the edge",
    },
    Rule {
        of: "pacing",
        may: &["pacing"],
        because: "who may leave when is decided without I/O, clock or knowledge of RAM, so that it can be tested as arithmetic",
    },
    Rule {
        of: "failure",
        may: &[],
        because: "everybody uses failures, so they use nobody",
    },
    Rule {
        of: "ram",
        may: &["call", "ram"],
        because: "the way to RAM knows its target, not who asks",
    },
    Rule {
        of: "rules",
        may: &[],
        because: "rules are about values",
    },
    Rule {
        of: "sandbox",
        may: &["sandbox"],
        because: "it is another program's side of the wire",
    },
];

/// Paths, most of them of other crates, that only some files may use.
const EXCLUSIVE: &[(&str, &[&str], &str)] = &[
    (
        "aws_sdk_ram",
        &["ram", "operations/"],
        "one place turns the SDK's answers into ours",
    ),
    ("aws_sdk_sts", &["ram"], "the account is asked for once"),
    (
        "jsonwebtoken",
        &["auth/jwt"],
        "one place decides which tokens are believed",
    ),
    (
        "hyper_rustls",
        &["auth/jwt/source"],
        "nothing but keys is fetched past the AWS SDK",
    ),
    (
        "governor",
        &["layers/limit_caller"],
        "one place counts what callers ask for",
    ),
    (
        "tokio_rustls",
        &["server"],
        "the accept loop and its probe speak TLS; verifiers see what it proved",
    ),
    (
        "webpki",
        &["server/tls", "auth/certificate"],
        "one module says whether a certificate is good, one whom it names",
    ),
    ("rusqlite", &["idempotency/sqlite"], "a store is one file"),
    (
        "crate::idempotency::memory",
        &["server", "idempotency"],
        "the server composes the store; layers know what any store does",
    ),
    ("redis", &["idempotency/redis"], "a store is one file"),
    (
        "cedar_policy",
        &["auth/cedar"],
        "everybody else asks a policy, in whatever language it is written",
    ),
    (
        "tonic::Status",
        &[
            "failure",
            "api",
            "server",
            "operations",
            "layers/explain",
            "layers/wire",
            "layers/trace",
            "pb",
        ],
        "failures become statuses in one table",
    ),
    (
        "std::env",
        &["config", "cli", "failpoint"],
        "the environment is read in one place",
    ),
    ("reqwest", &[], "there is one HTTP client"),
    (
        "tonic_web",
        &["server"],
        "grpc-web is translated at the door, and within there is only gRPC",
    ),
];

/// What a state machine that takes its time as an argument has no use for.
const IMPURE: &[&str] = &[
    "tokio",
    "rusqlite",
    "redis",
    "std::fs",
    "std::net",
    "std::thread",
    "std::time::SystemTime",
    "crate::clock::wall_now",
];

#[derive(Default)]
struct Paths(BTreeSet<String>);

impl Paths {
    fn add_tree(&mut self, prefix: &str, tree: &UseTree) {
        let join = |name: &str| {
            if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}::{name}")
            }
        };
        match tree {
            UseTree::Path(path) => self.add_tree(&join(&path.ident.to_string()), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(prefix, tree)),
            UseTree::Name(name) => drop(self.0.insert(join(&name.ident.to_string()))),
            UseTree::Rename(name) => drop(self.0.insert(join(&name.ident.to_string()))),
            UseTree::Glob(_) => drop(self.0.insert(join("*"))),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree("", &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.0.insert(segments.join("::"));
        syn::visit::visit_path(self, path);
    }
}

/// Every source file: its path below src without `.rs`, and the paths that it names.
fn sources() -> Vec<(String, BTreeSet<String>)> {
    fn walk(dir: &Path, root: &Path, out: &mut Vec<(String, BTreeSet<String>)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
                let mut paths = Paths::default();
                paths.visit_file(&file);
                let name = path.strip_prefix(root).unwrap().with_extension("");
                out.push((name.to_str().unwrap().to_owned(), paths.0));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = Vec::new();
    walk(&root, &root, &mut out);
    assert!(out.len() > 30, "the sources were not found");
    out
}

fn is_under(file: &str, of: &str) -> bool {
    match of.strip_suffix('/') {
        Some(folder) => file
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/')),
        None => file == of || file.strip_prefix(of).is_some_and(|rest| rest.starts_with('/')),
    }
}

#[test]
fn nobody_imports_what_their_rule_does_not_name() {
    let mut broken = Vec::new();
    for (file, paths) in sources() {
        let Some(rule) = RULES.iter().find(|rule| is_under(&file, rule.of)) else {
            continue;
        };
        let own = rule.of.trim_end_matches('/');
        for path in paths.iter().filter_map(|p| p.strip_prefix("crate::")) {
            let module = path.split("::").next().unwrap();
            let own_subject = !rule.of.ends_with('/') && module == own;
            if !own_subject && !COMMON.contains(&module) && !rule.may.contains(&module) {
                broken.push(format!("src/{file}.rs uses crate::{path}: {}", rule.because));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_belongs_to_one_place_is_used_in_no_other() {
    let mut broken = Vec::new();
    for (file, paths) in sources() {
        for (path, owners, because) in EXCLUSIVE {
            let uses = paths
                .iter()
                .any(|p| p == path || p.starts_with(&format!("{path}::")));
            if uses && !owners.iter().any(|owner| is_under(&file, owner)) {
                broken.push(format!("src/{file}.rs uses {path}: {because}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_record_machine_does_no_io_and_reads_no_clock() {
    let sources = sources();
    let (_, paths) = sources
        .iter()
        .find(|(file, _)| file == "idempotency/record")
        .expect("it has moved");

    for impure in IMPURE {
        assert!(
            !paths.iter().any(|p| p.starts_with(impure)),
            "idempotency/record.rs uses {impure}"
        );
    }
}

#[test]
fn an_operation_is_named_in_its_own_file_and_in_the_list_only() {
    // What adding an operation may touch: its file, the list, and the generated messages of its rpc.
    let operations: Vec<_> = sources()
        .into_iter()
        .map(|(f, _)| f)
        .filter(|f| is_under(f, "operations/"))
        .collect();
    assert!(operations.len() >= 2, "{operations:?}");

    for operation in operations {
        let module = operation.rsplit('/').next().unwrap();
        let name: String = module
            .split('_')
            .map(|word| word[..1].to_uppercase() + &word[1..])
            .collect();
        for (file, paths) in sources() {
            if is_under(&file, "sandbox") || file == "operations" || file == operation {
                continue;
            }
            let named = paths
                .iter()
                .any(|p| p.split("::").any(|s| s == module || s == name));
            assert!(
                !named,
                "src/{file}.rs knows {name}; a new operation would have to be added there too"
            );
        }
    }
}

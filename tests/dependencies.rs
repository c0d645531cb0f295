//! Cargo.lock holds one TLS stack and one HTTP stack, and none of what the AWS SDK's default features would add.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// The versions of every locked package, by name.
fn locked() -> Result<BTreeMap<String, BTreeSet<String>>, toml::de::Error> {
    #[derive(serde::Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        name: String,
        version: String,
    }

    let lock: Lock = toml::from_str(include_str!("../Cargo.lock"))?;
    let mut versions = BTreeMap::<_, BTreeSet<_>>::new();
    for Package { name, version } in lock.package {
        versions.entry(name).or_default().insert(version);
    }
    Ok(versions)
}

#[test]
fn there_is_one_version_of_each_crate_whose_types_cross_borders() {
    let locked = locked().unwrap();
    for name in ["tonic", "prost", "hyper", "h2", "rustls"] {
        let versions = locked
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in Cargo.lock"));
        assert_eq!(
            versions.len(),
            1,
            "{name} is locked as {versions:?}; `cargo tree -i {name}@VERSION` tells who brings which"
        );
    }
}

#[test]
fn there_is_no_second_tls_stack() {
    let locked = locked().unwrap();
    for name in ["openssl", "openssl-sys", "native-tls"] {
        assert!(
            !locked.contains_key(name),
            "{name} is in Cargo.lock; `cargo tree -i {name} -e features` tells which feature brings it"
        );
    }
}

// ring does stand in Cargo.lock: rustls-webpki names it in a weak feature (`ring?/alloc`), and cargo locks what such a
// feature could reach. What counts is that no build has it. With two providers rustls cannot choose one, and panics.
#[test]
fn ring_is_locked_but_never_built() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges=all",
            "--prefix=none",
            "--format={p}",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();

    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let built = String::from_utf8(output.stdout).unwrap();
    assert!(built.lines().any(|line| line.starts_with("rustls ")), "{built}");
    assert!(
        !built.lines().any(|line| line.starts_with("ring ")),
        "`cargo tree -i ring -e features` tells which feature brings ring"
    );
}

#[test]
fn hyper_is_not_the_one_without_fixes() {
    let versions = &locked().unwrap()["hyper"];
    assert!(
        versions.iter().all(|version| !version.starts_with("0.")),
        "hyper {versions:?}: turn off the default features of the aws crates"
    );
}

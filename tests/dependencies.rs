//! Cargo.lock holds one TLS stack and one HTTP stack, and none of what the AWS SDK's default features would add.

use std::collections::{BTreeMap, BTreeSet};

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
        let versions = locked.get(name).unwrap_or_else(|| panic!("{name} is not in Cargo.lock"));
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
    for name in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(
            !locked.contains_key(name),
            "{name} is in Cargo.lock; `cargo tree -i {name} -e features` tells which feature brings it"
        );
    }
}

#[test]
fn hyper_is_not_the_one_without_fixes() {
    let versions = &locked().unwrap()["hyper"];
    assert!(
        versions.iter().all(|version| !version.starts_with("0.")),
        "hyper {versions:?}: turn off the default features of the aws crates"
    );
}

//! A replay by a caller who is known and judged, against one by anybody.

use std::{fs, time::UNIX_EPOCH};

use serde_json::json;

use crate::{
    Sizes,
    issuer::{SigningKey, jwks},
    process::Process,
    replay::{SERVE, Side, prepare},
    report::{Page, Spread},
};

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

pub(crate) async fn measure(sizes: &Sizes, page: &mut Page) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key = SigningKey::rsa("key");
    let set = write("jwks", &jwks(&[&key]));
    let issuers = write(
        "issuers.toml",
        &format!(
            "[[issuer]]\nissuer = \"https://issuer.example\"\naudiences = [\"ram-facade\"]\nalgorithms = [\"RS256\"]\n\
             jwks_file = \"{set}\"\n"
        ),
    );
    let policies = write("policy.cedar", POLICIES);
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let token = key.token(&json!({
        "iss": "https://issuer.example", "sub": "network-team", "aud": "ram-facade", "iat": now, "exp": now + 3_600
    }));

    let anybody = Side::known_by(Process::facade(&SERVE), None).await;
    let flags = ["--auth-issuers-file", &issuers, "--policy-file", &policies];
    let known = Process::facade(&[&SERVE[..], &flags].concat());
    let known = Side::known_by(known, Some(&token)).await;
    prepare(&anybody).await;
    prepare(&known).await;
    let mut sides = [anybody, known];
    for round in 0..=sizes.rounds {
        sides.rotate_left(1);
        for side in &mut sides {
            side.turn(sizes).await;
            if round == 0 {
                (side.per_second, side.cpu_us) = Default::default();
            }
        }
    }
    sides.rotate_right((sizes.rounds + 1) % 2);
    let [anybody, known] = sides;

    page.section(
        "A replay by a known caller, against one by anybody",
        "The same load. A known caller sends a JWT (RS256, verified once and then known by its hash until it expires), and two Cedar\n\
         policies decide about every call.",
        ["", "median (least to most)"],
    );
    for (name, side) in [("anybody", &anybody), ("known and judged", &known)] {
        page.row(
            &format!("{name}, calls per second"),
            Spread::of(side.per_second.clone()).whole(0),
        );
        page.row(
            &format!("{name}, server's processor time for a call, µs"),
            Spread::of(side.cpu_us.clone()).whole(1),
        );
    }
    let ratios = known.cpu_us.iter().zip(&anybody.cpu_us);
    page.row(
        "**known / anybody, processor time**",
        Spread::of(ratios.map(|(known, anybody)| known / anybody)).whole(2),
    );
    let ratios = known.per_second.iter().zip(&anybody.per_second);
    page.row(
        "**known / anybody, throughput**",
        Spread::of(ratios.map(|(known, anybody)| known / anybody)).whole(2),
    );
}

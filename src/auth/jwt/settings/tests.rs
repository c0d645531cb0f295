use super::*;

const GOOD: &str = r#"
    [[issuer]]
    issuer = "https://a.example"
    audiences = ["ram-facade"]
    algorithms = ["RS256", "EdDSA"]
    jwks_url = "https://a.example/keys"
"#;

fn faults(text: &str) -> Vec<String> {
    parse(text).unwrap_err()
}

#[test]
fn a_table_with_the_required_keys_is_an_issuer() {
    let issuers = parse(GOOD).unwrap();

    let [issuer] = issuers.as_slice() else {
        panic!("{issuers:?}")
    };
    assert_eq!(issuer.algorithms, [Algorithm::RS256, Algorithm::EdDSA]);
    assert_eq!(issuer.subject_claim, "sub");
    assert_eq!(issuer.leeway, Duration::from_secs(10));
    assert!(matches!(
        &issuer.keys,
        KeySource::Url {
            ca_file: None,
            token_file: None,
            ..
        }
    ));
}

#[test]
fn each_fault_names_the_issuer_the_key_and_the_rule() {
    for (line, key) in [
        ("audiences = []", "audiences"),
        ("audiences = \"ram-facade\"", "audiences"),
        ("audiences = [1]", "audiences"),
        ("audiences = [\"\"]", "audiences"),
        ("algorithms = []", "algorithms"),
        ("algorithms = [\"HS256\"]", "algorithms"),
        ("algorithms = [\"none\"]", "algorithms"),
        ("jwks_url = \"http://a.example/keys\"", "jwks_url"),
        ("jwks_url = \"file:///keys\"", "jwks_url"),
        ("jwks_url = \"https://user@a.example/\"", "jwks_url"),
        ("jwks_url = \"http://127.0.0.1.evil.example/\"", "jwks_url"),
        ("jwks_file = \"keys.json\"", "jwks_url"),
        ("jwks_ca_file = 1", "jwks_ca_file"),
        ("leeway_s = 61", "leeway_s"),
        ("leeway_s = -1", "leeway_s"),
        ("leeway_s = \"10\"", "leeway_s"),
        ("subject_claim = \"\"", "subject_claim"),
        ("attributes = []", "attributes"),
        (
            "attributes = { namespace = \"kubernetes.io/namespace\" }",
            "attributes.namespace",
        ),
        ("attributes = { \"a b\" = \"/a\" }", "attributes.a b"),
        ("audience = [\"x\"]", "audience"),
    ] {
        let key_of_line = line.split(' ').next().unwrap();
        let kept = GOOD
            .lines()
            .filter(|other| !other.trim().starts_with(&format!("{key_of_line} =")));
        let text = format!("{}\n{line}", kept.collect::<Vec<_>>().join("\n"));

        let faults = faults(&text);

        let start = format!("issuer `https://a.example`: {key} ");
        assert!(
            faults.iter().any(|fault| fault.starts_with(&start)),
            "{line}: {faults:?}"
        );
    }
}

#[test]
fn every_fault_is_reported_at_once() {
    let faults = faults("other = 1\n[[issuer]]\n[[issuer]]\nissuer = \"b\"\nleeway_s = 99");

    for part in [
        "`other` is no key",
        "issuer 1: issuer must be set",
        "issuer 1: audiences",
        "issuer 1: jwks_url",
        "issuer `b`: algorithms",
        "issuer `b`: leeway_s",
    ] {
        assert!(
            faults.iter().any(|fault| fault.starts_with(part)),
            "{part}: {faults:#?}"
        );
    }
}

#[test]
fn one_issuer_cannot_stand_twice() {
    let faults = faults(&format!("{GOOD}\n{GOOD}"));

    assert_eq!(
        faults,
        ["issuer `https://a.example`: issuer stands twice; put its audiences into one table"]
    );
}

#[test]
fn a_file_without_issuers_is_at_fault() {
    for text in ["", "issuer = []", "issuer = 1", "[issuer]"] {
        assert!(faults(text)[0].contains("[[issuer]]"), "{text}");
    }
    assert!(faults("[[issuer")[0].starts_with("it is not TOML"));
}

#[test]
fn no_issuer_can_name_callers_as_another_verifier_does() {
    for name in RESERVED {
        let faults = faults(&GOOD.replacen("https://a.example", name, 1));
        assert_eq!(
            faults,
            [format!(
                "issuer `{name}`: issuer is a name that this server uses itself"
            )]
        );
    }
}

#[test]
fn plain_http_is_for_loopback() {
    for url in [
        "http://127.0.0.1:1/k",
        "http://[::1]:1/k",
        "http://localhost/k",
        "https://a.example/k",
    ] {
        assert!(is_safe(&url.parse().unwrap()), "{url}");
    }
}

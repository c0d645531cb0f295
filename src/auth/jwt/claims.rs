//! What a token claims, held against what its issuer is configured to say (RFC 7519, 4.1; RFC 8725).

use serde_json::Value;

use super::{Refused, Wrong, json::Object, settings::Issuer};
use crate::call::{Attribute, Caller, Proof};

/// Longest name of a caller, in bytes. A Kubernetes service account's takes up to 339.
const MAX_SUBJECT: usize = 512;

/// The last second of the year 9999. What is later is no date but a mistake, mostly milliseconds.
const END_OF_TIME: f64 = 253_402_300_799.0;

/// A caller, as long as its token's signature holds.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) caller: Caller,
    /// When the token ends, in seconds since the Unix epoch, the leeway included.
    pub(super) until: f64,
}

/// Checks claims at the time `now`, in seconds since the Unix epoch.
///
/// The issuer is known: it is how `issuer` was found.
pub(super) fn check(claims: &Object, issuer: &Issuer, now: f64) -> Result<Claimed, Refused> {
    let is_ours = |aud: &Value| {
        let ours = |text: &str| issuer.audiences.iter().any(|audience| audience == text);
        aud.as_str().is_some_and(ours)
    };
    let names_us = match claims.get("aud") {
        None => return Err(Wrong("it has no `aud`").into()),
        Some(Value::Array(list)) => list.iter().all(Value::is_string) && list.iter().any(is_ours),
        Some(single) => is_ours(single),
    };
    if !names_us {
        return Err(Wrong("its `aud` does not name us").into());
    }
    let caller = caller(claims, issuer)?;

    let leeway = issuer.leeway.as_secs_f64();
    let expires = time(claims, "exp")?.ok_or(Wrong("it has no `exp`"))?;
    if time(claims, "nbf")?.is_some_and(|begins| begins > now + leeway) {
        return Err(Wrong("its `nbf` lies in the future").into());
    }
    if time(claims, "iat")?.is_some_and(|issued| issued > now + leeway) {
        return Err(Wrong("its `iat` lies in the future").into());
    }
    let until = expires + leeway;
    if until <= now {
        return Err(Refused::Expired);
    }
    Ok(Claimed { caller, until })
}

/// A NumericDate (RFC 7519, 2): seconds, whole or not.
fn time(claims: &Object, name: &str) -> Result<Option<f64>, Wrong> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    match value.as_f64() {
        Some(seconds) if (0.0..=END_OF_TIME).contains(&seconds) => Ok(Some(seconds)),
        _ => Err(Wrong("its `exp`, `nbf` or `iat` is no time in seconds")),
    }
}

fn caller(claims: &Object, issuer: &Issuer) -> Result<Caller, Wrong> {
    let subject = claims
        .get(&issuer.subject_claim)
        .and_then(Value::as_str)
        .filter(|subject| {
            (1..=MAX_SUBJECT).contains(&subject.len()) && !subject.chars().any(char::is_control)
        })
        .ok_or(Wrong("its subject is no text of 1 to 512 bytes"))?;
    let named = Caller::new(issuer.issuer.as_str(), subject).proven_by(Proof::Jwt);
    Ok(issuer
        .attributes
        .iter()
        .filter_map(|(name, pointer)| Some((name, attribute(claims.pointer(pointer)?)?)))
        .fold(named, |caller, (name, value)| caller.with(name, value)))
}

/// What a policy can look at. `None` for objects and the like: policies that ask for them do not match.
fn attribute(claim: &Value) -> Option<Attribute> {
    match claim {
        Value::String(text) => Some(Attribute::Text(text.clone())),
        Value::Bool(value) => Some(Attribute::Text(value.to_string())),
        Value::Number(value) => Some(Attribute::Text(value.to_string())),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Attribute::Texts),
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use serde_json::json;

    use super::*;

    const NOW: f64 = 1_800_000_000.0;

    fn issuer() -> Issuer {
        let text = r#"
            [[issuer]]
            issuer = "https://issuer.example"
            audiences = ["ram-facade", "other-name"]
            algorithms = ["ES256"]
            jwks_file = "keys.json"
            leeway_s = 10
            [issuer.attributes]
            namespace = "/kubernetes.io/namespace"
            groups = "/groups"
            deep = "/a/b"
        "#;
        super::super::settings::parse(text).unwrap().remove(0)
    }

    /// Good claims with members replaced; null takes one away.
    fn claims(changes: Value) -> Object {
        let mut claims = json!({
            "iss": "https://issuer.example", "aud": "ram-facade", "sub": "alice", "exp": NOW + 60.0,
        });
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        Object::parse(claims.to_string().as_bytes()).unwrap()
    }

    fn refused(changes: Value) -> Option<Refused> {
        check(&claims(changes), &issuer(), NOW).err()
    }

    fn wrong(changes: Value) -> &'static str {
        match refused(changes.clone()) {
            Some(Refused::Wrong(Wrong(why))) => why,
            other => panic!("{changes}: {other:?}"),
        }
    }

    #[test]
    fn the_audience_must_be_ours_to_the_letter() {
        for aud in [
            json!("ram-facade"),
            json!(["other-name"]),
            json!(
                (0..1_000)
                    .map(|i| i.to_string())
                    .chain(["ram-facade".to_owned()])
                    .collect::<Vec<_>>()
            ),
        ] {
            assert_eq!(refused(json!({"aud": aud})), None);
        }
        for aud in [
            json!("ram"),
            json!("ram-facade-2"),
            json!("RAM-FACADE"),
            json!([]),
            json!(""),
            json!([["ram-facade"]]),
            json!({"ram-facade": 1}),
            json!(1),
            json!(["ram-facade", 1]),
            json!("https://kubernetes.default.svc"),
        ] {
            assert_eq!(wrong(json!({"aud": aud})), "its `aud` does not name us");
        }
        assert_eq!(wrong(json!({"aud": null})), "it has no `aud`");
    }

    #[test]
    fn a_token_ends_with_its_exp_and_the_leeway() {
        for exp in [NOW, NOW - 9.5] {
            assert_eq!(refused(json!({"exp": exp})), None, "{exp}");
        }
        for exp in [NOW - 10.0, NOW - 61.0, 0.0] {
            assert_eq!(refused(json!({"exp": exp})), Some(Refused::Expired), "{exp}");
        }
        assert_eq!(wrong(json!({"exp": null})), "it has no `exp`");
    }

    #[test]
    fn a_token_does_not_begin_before_its_nbf_and_iat() {
        for name in ["nbf", "iat"] {
            assert_eq!(refused(json!({name: NOW + 10.0})), None, "{name}");
            assert!(wrong(json!({name: NOW + 11.0})).contains("in the future"));
        }
    }

    #[test]
    fn a_time_is_a_number_of_seconds_in_a_sane_range() {
        let milliseconds = NOW * 1_000.0;
        for time in [
            json!("1800000060"),
            json!(1e300),
            json!(-1),
            json!(milliseconds),
            json!(true),
            json!([]),
            json!(u64::MAX),
            json!(i64::MIN),
        ] {
            for name in ["exp", "nbf", "iat"] {
                assert!(wrong(json!({name: time})).contains("is no time"), "{name} {time}");
            }
        }
        assert_eq!(
            refused(json!({"exp": 1_800_000_060_u64, "iat": 1_799_999_999.5})),
            None
        );
    }

    #[test]
    fn the_subject_is_a_text_that_can_stand_in_a_log() {
        let longest = "s".repeat(MAX_SUBJECT);
        let too_long = "s".repeat(MAX_SUBJECT + 1);
        assert_eq!(refused(json!({"sub": longest})), None);
        for sub in [
            json!(null),
            json!(""),
            json!(1),
            json!(["alice"]),
            json!(too_long),
            json!("a\nb"),
            json!("a\u{0}"),
        ] {
            assert!(wrong(json!({"sub": sub})).contains("subject"), "{sub}");
        }
    }

    #[test]
    fn the_caller_is_named_by_issuer_and_subject_and_has_the_configured_attributes() {
        let claims = claims(json!({
            "kubernetes.io": {"namespace": "billing", "pod": {"name": "p"}},
            "groups": ["a", "b"],
            "a": {"b": {"c": 1}},
        }));

        let caller = check(&claims, &issuer(), NOW).unwrap().caller;

        assert_eq!(caller.to_string(), "https://issuer.example/alice");
        assert_eq!(caller.proof(), Proof::Jwt);
        let expected = BTreeMap::from([
            ("namespace".to_owned(), Attribute::Text("billing".to_owned())),
            (
                "groups".to_owned(),
                Attribute::Texts(vec!["a".to_owned(), "b".to_owned()]),
            ),
        ]);
        assert_eq!(caller.attributes(), &expected);
    }

    #[test]
    fn another_claim_may_name_the_caller() {
        let mut issuer = issuer();
        issuer.subject_claim = "client_id".to_owned();

        let named = check(&claims(json!({"client_id": "billing"})), &issuer, NOW).unwrap();
        let unnamed = check(&claims(json!({})), &issuer, NOW);

        assert_eq!(named.caller.subject(), "billing");
        assert!(unnamed.is_err());
    }

    #[test]
    fn without_leeway_a_token_ends_to_the_second() {
        let mut issuer = issuer();
        issuer.leeway = Duration::ZERO;

        assert!(check(&claims(json!({"exp": NOW})), &issuer, NOW).is_err());
        assert_eq!(
            check(&claims(json!({"exp": NOW + 1.0})), &issuer, NOW)
                .unwrap()
                .until,
            NOW + 1.0
        );
    }
}

use std::sync::Arc;

use http::HeaderMap;
use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;
use crate::auth::peer::Peer;

/// A certificate with these names: what has a colon in it is a URI.
fn certificate(names: &[&str]) -> Arc<[u8]> {
    let mut params = CertificateParams::default();
    for name in names {
        let name = (*name).to_owned();
        params.subject_alt_names.push(if name.contains(':') {
            SanType::URI(name.try_into().unwrap())
        } else {
            SanType::DnsName(name.try_into().unwrap())
        });
    }
    let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    signed.der().as_ref().into()
}

fn verifier() -> Certificate {
    let own = |names: &[&str]| -> Vec<_> { names.iter().map(|name| (*name).to_owned()).collect() };
    let settings = Settings::new(
        own(&["prod.example", "test.example"]),
        own(&["Client.example.com", "other.example.com"]),
    );
    Certificate::new(settings.unwrap())
}

async fn who(certificate: Option<Arc<[u8]>>) -> Result<Caller, Failure> {
    let peer = Peer {
        address: ([127, 0, 0, 1], 1).into(),
        certificate,
    };
    let evidence = Evidence {
        headers: &HeaderMap::new(),
        peer: Some(&peer),
    };
    verifier().authenticate(evidence).await
}

async fn named(names: &[&str]) -> Result<Caller, Reason> {
    who(Some(certificate(names)))
        .await
        .map_err(|failure| failure.why())
}

#[tokio::test]
async fn a_spiffe_id_names_a_caller_and_prints_as_it_is() {
    let caller = named(&["spiffe://prod.example/ns/net/sa/sharer", "client.example.com"])
        .await
        .unwrap();

    assert_eq!(
        (caller.issuer(), caller.subject(), caller.proof()),
        ("spiffe://prod.example", "ns/net/sa/sharer", Proof::Certificate)
    );
    assert_eq!(caller.to_string(), "spiffe://prod.example/ns/net/sa/sharer");
    let attributes: Vec<_> = caller.attributes().iter().collect();
    let text = |text: &str| Attribute::Text(text.to_owned());
    assert_eq!(
        attributes,
        [
            (&"namespace".to_owned(), &text("net")),
            (&"service_account".to_owned(), &text("sharer")),
            (&"trust_domain".to_owned(), &text("prod.example")),
        ]
    );
}

#[tokio::test]
async fn a_path_of_another_form_has_no_namespace() {
    let caller = named(&["spiffe://prod.example/batch"]).await.unwrap();

    let attributes: Vec<_> = caller.attributes().keys().collect();
    assert_eq!(attributes, ["trust_domain"]);
}

#[tokio::test]
async fn the_same_path_in_two_trust_domains_is_two_callers() {
    let one = named(&["spiffe://prod.example/a"]).await.unwrap();
    let other = named(&["spiffe://test.example/a"]).await.unwrap();

    assert_ne!(one, other);
}

#[tokio::test]
async fn a_listed_dns_name_names_a_caller_in_any_letter_case() {
    let caller = named(&["unlisted.example.com", "CLIENT.example.com"])
        .await
        .unwrap();

    assert_eq!(
        (caller.issuer(), caller.subject()),
        ("dns-san", "client.example.com")
    );
    assert_eq!(caller.proof(), Proof::Certificate);
}

#[tokio::test]
async fn whatever_names_nobody_or_two_is_refused() {
    for names in [
        &[] as &[&str],
        &["unlisted.example.com"],
        &["*.example.com"],
        &["client.example.com.evil.example"],
        &["client.example.com", "other.example.com"],
        &["spiffe://foreign.example/a"],
        &["spiffe://foreign.example/a", "client.example.com"],
        &["spiffe://prod.example.evil/a"],
        &["spiffe://prod.example/a", "spiffe://test.example/b"],
        &["spiffe://prod.example/a", "https://prod.example/a"],
        &["https://prod.example/a", "client.example.com"],
        &["spiffe://prod.example"],
        &["spiffe://prod.example/../a"],
        &["spiffe://PROD.example/a"],
        &["spiffe://prod.example:443/a"],
    ] {
        assert_eq!(named(names).await, Err(Reason::CredentialsInvalid), "{names:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_certificate_are_refused() {
    let failure = who(Some(Arc::from([0x30, 0x03, 0x02, 0x01, 0x00].as_slice())))
        .await
        .unwrap_err();

    assert_eq!(failure.why(), Reason::CredentialsInvalid);
}

#[tokio::test]
async fn no_certificate_is_told_what_to_bring() {
    assert_eq!(who(None).await.unwrap_err().why(), Reason::CredentialsMissing);
}

#[tokio::test]
async fn a_caller_is_not_told_which_part_was_wrong() {
    let foreign = who(Some(certificate(&["spiffe://foreign.example/a"])))
        .await
        .unwrap_err();
    let nameless = who(Some(certificate(&[]))).await.unwrap_err();

    assert_eq!(foreign.message(), nameless.message());
    assert!(foreign.cause().unwrap().to_string().contains("foreign.example"));
}

#[test]
fn settings_that_match_nothing_are_refused() {
    let one = |text: &str| vec![text.to_owned()];
    for domain in ["spiffe://td", "Prod.example", "td/a", "*", "td:1"] {
        assert!(
            matches!(Settings::new(one(domain), []), Err(Fault::TrustDomain(_))),
            "{domain}"
        );
    }
    for name in ["*.example.com", "a..b", ".a", "a.", "a b", "spiffe://td/a"] {
        assert!(
            matches!(Settings::new([], one(name)), Err(Fault::DnsName(_))),
            "{name}"
        );
    }
}

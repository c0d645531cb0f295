//! The keys of TLS and of callers who are known by their certificates.

use std::{path::PathBuf, str::FromStr};

use super::reader::Reader;
use crate::{
    auth::certificate,
    server::tls::{Clients, Presence, Settings},
};

impl FromStr for Presence {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            _ => Err(()),
        }
    }
}

/// TLS, `None` if there is no word of it.
pub(super) fn read(r: &mut Reader) -> Option<Settings> {
    let certificate_file = r.optional::<PathBuf>(
        "tls.certificate_file",
        "a file path",
        "The server's certificate (PEM), with those between it and a root below it. Turns TLS on. All files of TLS are \
         reread when one changes and on SIGHUP (docs/tls.md).",
    );
    let key_file = r.optional::<PathBuf>(
        "tls.key_file",
        "a file path",
        "Its private key (PEM). Mode 0600 or 0440.",
    );
    let ca_file = r.optional::<PathBuf>(
        "tls.client_ca_file",
        "a file path",
        "The authorities (PEM) whose certificates clients show. Unset: clients are asked for none.",
    );
    let crl_file = r.optional::<PathBuf>(
        "tls.crl_file",
        "a file path",
        "Lists of revoked client certificates (PEM), one of every authority. One past its nextUpdate refuses every client.",
    );
    let presence = r.optional::<Presence>(
        "tls.client_certificates",
        "`required` or `optional`",
        "Whether a client without a certificate is refused at the handshake. Unset, with tls.client_ca_file: `required`.",
    );
    let handshake_timeout = r.millis(
        "tls.handshake_timeout_ms",
        Settings::HANDSHAKE_TIMEOUT,
        10..=60_000,
        "How long a TLS handshake may take.",
    );
    let poll_interval = r.millis(
        "tls.poll_interval_ms",
        Settings::POLL_INTERVAL,
        10..=3_600_000,
        "How often the files of TLS are looked at.",
    );

    for (is_set, key, needed, has_needed) in [
        (
            certificate_file.is_some(),
            "tls.certificate_file",
            "tls.key_file",
            key_file.is_some(),
        ),
        (
            key_file.is_some(),
            "tls.key_file",
            "tls.certificate_file",
            certificate_file.is_some(),
        ),
        (
            ca_file.is_some(),
            "tls.client_ca_file",
            "tls.certificate_file",
            certificate_file.is_some(),
        ),
        (
            crl_file.is_some(),
            "tls.crl_file",
            "tls.client_ca_file",
            ca_file.is_some(),
        ),
        (
            presence.is_some(),
            "tls.client_certificates",
            "tls.client_ca_file",
            ca_file.is_some(),
        ),
    ] {
        if is_set && !has_needed {
            r.fault(format!("{key} is set, but {needed} is not; set both or neither"));
        }
    }
    Some(Settings {
        certificate_file: certificate_file?,
        key_file: key_file?,
        clients: ca_file.map(|ca_file| Clients {
            ca_file,
            crl_file,
            presence: presence.unwrap_or(Presence::Required),
        }),
        handshake_timeout,
        poll_interval,
    })
}

/// Which certificates name a caller, `None` if none do.
pub(super) fn callers(r: &mut Reader, tls: Option<&Settings>) -> Option<certificate::Settings> {
    let trust_domains = list(
        r,
        "auth.certificate.trust_domains",
        "SPIFFE trust domains, with commas between them",
        "Knows callers by the SPIFFE id in their certificate, if it is of one of these trust domains.",
    );
    let dns_names = list(
        r,
        "auth.certificate.dns_names",
        "DNS names, with commas between them",
        "Knows callers by one of these names in a certificate without a SPIFFE id. No wildcards.",
    );
    if trust_domains.is_empty() && dns_names.is_empty() {
        return None;
    }
    if tls.is_none_or(|tls| tls.clients.is_none()) {
        r.fault("auth.certificate.* is set, but tls.client_ca_file is not: no client would be asked for a certificate");
    }
    match certificate::Settings::new(trust_domains, dns_names) {
        Ok(settings) => Some(settings),
        Err(fault) => {
            r.fault(format!("auth.certificate.{fault}"));
            None
        }
    }
}

fn list(r: &mut Reader, key: &'static str, values: &str, meaning: &'static str) -> Vec<String> {
    let text = r.optional::<String>(key, values, meaning).unwrap_or_default();
    let items = text.split(',').map(|item| item.trim().to_owned());
    items.filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::config, *};

    const FILES: &str = "certificate_file = \"c\"\nkey_file = \"k\"\nclient_ca_file = \"a\"\n";

    #[test]
    fn a_certificate_that_names_its_caller_is_authentication_enough() {
        let file = format!(
            "listen = \"0.0.0.0:1\"\nstore = \":memory:\"\npolicy.allow_all = true\n[tls]\n{FILES}[auth.certificate]\ntrust_domains = \"a, b\""
        );
        let config = config(&file).unwrap();

        assert!(config.authentication.certificate.is_some());
        let clients = config.tls.unwrap().clients.unwrap();
        assert_eq!(clients.presence, Presence::Required);
        assert_eq!(clients.crl_file, None);
    }

    #[test]
    fn keys_of_tls_that_miss_another_are_faults() {
        for (keys, missing) in [
            ("certificate_file = \"c\"", "tls.key_file is not"),
            ("key_file = \"k\"", "tls.certificate_file is not"),
            ("client_ca_file = \"a\"", "tls.certificate_file is not"),
            (
                "certificate_file = \"c\"\nkey_file = \"k\"\ncrl_file = \"l\"",
                "tls.client_ca_file is not",
            ),
            (
                "certificate_file = \"c\"\nkey_file = \"k\"\nclient_certificates = \"optional\"",
                "tls.client_ca_file is not",
            ),
            (
                &format!("{FILES}client_certificates = \"sometimes\""),
                "`required` or `optional`",
            ),
        ] {
            let faults = config(&format!("sandbox.enabled = true\n[tls]\n{keys}")).unwrap_err();
            assert_eq!(faults.len(), 1, "{keys}: {faults:?}");
            assert!(faults[0].contains(missing), "{keys}: {faults:?}");
        }
    }

    #[test]
    fn a_certificate_names_nobody_where_none_is_asked_for() {
        let without =
            config("sandbox.enabled = true\nauth.certificate.dns_names = \"a.example\"").unwrap_err();
        let insecure = config(&format!(
            "insecure_no_auth = true\nstore = \":memory:\"\nauth.certificate.dns_names = \"a.example\"\n[tls]\n{FILES}"
        ))
        .unwrap_err();
        let wildcard = config(&format!(
            "store = \":memory:\"\nsandbox.enabled = true\nauth.certificate.dns_names = \"*.example\"\n[tls]\n{FILES}"
        ))
        .unwrap_err();

        assert!(without[0].contains("tls.client_ca_file"), "{without:?}");
        assert!(insecure[0].contains("exclude each other"), "{insecure:?}");
        assert!(
            wildcard[0].contains("auth.certificate.dns_names has `*.example`"),
            "{wildcard:?}"
        );
    }
}

//! SPIFFE ids: `spiffe://trust-domain/path`, in the one form that they may have.
//!
//! Source: SPIFFE-ID specification, 2. Nothing is folded or decoded, so that one id has one spelling, and two callers are
//! never taken for each other.

/// Longest id, in bytes (SPIFFE-ID, 2.3).
const MAX_ID: usize = 2_048;
/// Longest trust domain, in bytes (SPIFFE-ID, 2.3).
const MAX_TRUST_DOMAIN: usize = 255;

/// The id of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpiffeId<'a> {
    pub(super) trust_domain: &'a str,
    /// Without the slash before it. Never empty: the id of a trust domain alone names an authority, not a workload
    /// (X509-SVID, 5.2).
    pub(super) path: &'a str,
}

impl<'a> SpiffeId<'a> {
    /// Takes `uri` apart, `None` if it is no id of a workload.
    pub(super) fn parse(uri: &'a str) -> Option<Self> {
        let (trust_domain, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
        let fits = uri.len() <= MAX_ID && is_trust_domain(trust_domain) && path.split('/').all(is_segment);
        fits.then_some(Self { trust_domain, path })
    }

    /// Namespace and service account, if the path is one that Istio and SPIRE give to workloads in Kubernetes.
    pub(super) fn kubernetes(&self) -> Option<(&'a str, &'a str)> {
        let mut segments = self.path.split('/');
        let found = match [segments.next(), segments.next(), segments.next(), segments.next()] {
            [Some("ns"), Some(namespace), Some("sa"), Some(account)] => (namespace, account),
            _ => return None,
        };
        segments.next().is_none().then_some(found)
    }
}

/// Returns whether this is a trust domain: lower-case letters, digits, `.`, `-` and `_` (SPIFFE-ID, 2.1). So it has
/// neither a port nor a user.
pub(super) fn is_trust_domain(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    !text.is_empty() && text.len() <= MAX_TRUST_DOMAIN && text.bytes().all(fits)
}

/// Returns whether this is a segment of a path: letters, digits, `.`, `-` and `_`, and not `.` or `..` (SPIFFE-ID, 2.2).
/// So there is no query, no fragment and no percent-encoding.
fn is_segment(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !matches!(text, "" | "." | "..") && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_a_trust_domain_and_a_path() {
        let id = SpiffeId::parse("spiffe://prod.example/ns/net/sa/sharer").unwrap();

        assert_eq!((id.trust_domain, id.path), ("prod.example", "ns/net/sa/sharer"));
        assert_eq!(id.kubernetes(), Some(("net", "sharer")));
        assert_eq!(SpiffeId::parse("spiffe://td/A_b-1.c").unwrap().kubernetes(), None);
        for other in ["ns/a/sa", "ns/a/sa/b/c", "ns/a/xx/b", "sa/a/ns/b"] {
            let uri = format!("spiffe://td/{other}");
            assert_eq!(SpiffeId::parse(&uri).unwrap().kubernetes(), None, "{other}");
        }
    }

    #[test]
    fn whatever_has_another_form_is_no_id() {
        for uri in [
            "",
            "spiffe://",
            "spiffe:///path",
            "spiffe://td",
            "spiffe://td/",
            "spiffe://td/a/",
            "spiffe://td//a",
            "spiffe://td/a//b",
            "spiffe://td/./a",
            "spiffe://td/a/..",
            "spiffe://td/a?b",
            "spiffe://td/a#b",
            "spiffe://td/%61",
            "spiffe://td/\u{e4}",
            "spiffe://td/a b",
            "spiffe://td/a\0",
            "spiffe://td:443/a",
            "spiffe://user@td/a",
            "spiffe://TD/a",
            "spiffe://t\u{f6}d/a",
            "SPIFFE://td/a",
            "Spiffe://td/a",
            "https://td/a",
            " spiffe://td/a",
            "spiffe://td/a\n",
        ] {
            assert_eq!(SpiffeId::parse(uri), None, "{uri:?}");
        }
    }

    #[test]
    fn lengths_end_where_the_specification_says() {
        let path = |length: usize| format!("spiffe://td/{}", "a".repeat(length - "spiffe://td/".len()));
        let domain = |length| format!("spiffe://{}/a", "d".repeat(length));

        assert!(SpiffeId::parse(&path(2_048)).is_some() && SpiffeId::parse(&domain(255)).is_some());
        assert!(SpiffeId::parse(&path(2_049)).is_none() && SpiffeId::parse(&domain(256)).is_none());
    }

    proptest! {
        #[test]
        fn an_id_is_spelt_in_one_way(uri in "(spiffe://)?[ -~\u{e4}/.]{0,40}") {
            if let Some(id) = SpiffeId::parse(&uri) {
                prop_assert_eq!(format!("spiffe://{}/{}", id.trust_domain, id.path), uri);
            }
        }
    }
}

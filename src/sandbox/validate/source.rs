//! Sources limit for whom a service principal may use the share, so they come with service principals only.

use std::collections::HashSet;

use super::{Principal, arn};
use crate::sandbox::error::Refusal;

/// Refuses sources without service principals, and a source that is no account, ARN, organization or organization path.
pub(crate) fn check(sources: &[String], principals: &[Principal]) -> Result<Vec<String>, Refusal> {
    if !sources.is_empty() && !principals.iter().any(|p| p.service) {
        return Err(Refusal::invalid_parameter(
            "Sources can be used with service principals only.",
        ));
    }
    let mut seen = HashSet::new();
    let mut once = Vec::with_capacity(sources.len());
    for source in sources.iter().filter(|source| seen.insert(*source)) {
        if source.starts_with("arn:") {
            arn::parse(source)?;
        } else if !arn::is_account(source) && !is_organization_path(source) {
            return Err(Refusal::invalid_parameter(format!(
                "Source {source:?} is not valid."
            )));
        }
        once.push(source.clone());
    }
    Ok(once)
}

/// `o-id`, or `o-id/r-id/ou-id/` with more units, with or without the last slash.
fn is_organization_path(source: &str) -> bool {
    source.starts_with("o-")
        && source
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'/' | b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(source: &str, service: bool) -> Option<&'static str> {
        let principal = Principal {
            entity: "x".to_owned(),
            external: false,
            service,
        };
        check(&[source.to_owned()], &[principal])
            .err()
            .map(|refusal| refusal.code)
    }

    #[test]
    fn each_kind_of_source_is_taken_for_a_service() {
        for source in [
            "111122223333",
            "o-sandbox0001",
            "o-sandbox0001/r-ab12/ou-ab12-cd34/",
        ] {
            assert_eq!(code_of(source, true), None, "{source}");
        }
        assert_eq!(code_of("arn:aws:acm-pca:us-east-1:111122223333:x/y", true), None);
    }

    #[test]
    fn sources_without_a_service_or_without_sense_are_refused() {
        assert_eq!(code_of("111122223333", false), Some("InvalidParameterException"));
        assert_eq!(code_of("nonsense", true), Some("InvalidParameterException"));
        assert_eq!(code_of("arn:nonsense", true), Some("MalformedArnException"));
    }
}

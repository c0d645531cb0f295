//! Tags: a key of 1 to 128 characters that AWS has not reserved, a value of up to 256, at most 50 on a share.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::sandbox::error::Refusal;

/// The most tags one share can have.
pub(crate) const MOST_TAGS: usize = 50;

/// A tag as it is sent. The service model requires neither member, the service requires the key.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Tag {
    key: Option<String>,
    value: Option<String>,
}

/// Refuses the first tag that is not valid; answers with the tags by key.
pub(crate) fn check(tags: &[Tag]) -> Result<BTreeMap<String, String>, Refusal> {
    if tags.len() > MOST_TAGS {
        return Err(Refusal::tag_limit_exceeded(format!(
            "You can add up to {MOST_TAGS} tags."
        )));
    }
    let mut checked = BTreeMap::new();
    for tag in tags {
        let key = tag.key.as_deref().unwrap_or_default();
        let value = tag.value.as_deref().unwrap_or_default();
        if !(1..=128).contains(&key.chars().count()) {
            return Err(Refusal::invalid_parameter(
                "A tag key must have 1 to 128 characters.",
            ));
        }
        if value.chars().count() > 256 {
            let message = format!("The value of tag {key:?} has more than 256 characters.");
            return Err(Refusal::invalid_parameter(message));
        }
        if key
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
        {
            return Err(Refusal::tag_policy_violation(format!(
                "The tag key {key:?} is reserved for AWS."
            )));
        }
        if checked.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Refusal::invalid_parameter(format!(
                "The tag key {key:?} is given more than once."
            )));
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        }
    }

    fn code_of(tags: &[Tag]) -> Option<&'static str> {
        check(tags).err().map(|refusal| refusal.code)
    }

    #[test]
    fn keys_and_values_of_the_longest_length_are_taken() {
        assert_eq!(
            code_of(&[tag(&"ä".repeat(128), &"ä".repeat(256)), tag("k", "")]),
            None
        );
        assert_eq!(
            code_of(&[Tag {
                key: Some("k".to_owned()),
                value: None
            }]),
            None
        );
    }

    #[test]
    fn one_tag_too_many_has_its_own_exception() {
        let tags: Vec<_> = (0..51).map(|n| tag(&format!("k{n}"), "")).collect();
        assert_eq!(code_of(&tags[..50]), None);
        assert_eq!(code_of(&tags), Some("TagLimitExceededException"));
    }

    #[test]
    fn reserved_keys_have_their_own_exception() {
        assert_eq!(code_of(&[tag("aws:x", "")]), Some("TagPolicyViolationException"));
        assert_eq!(code_of(&[tag("AWS:x", "")]), Some("TagPolicyViolationException"));
        assert_eq!(code_of(&[tag("awsx", "")]), None);
    }

    #[test]
    fn everything_else_is_an_invalid_parameter() {
        let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
        for tags in [
            vec![Tag {
                key: None,
                value: Some("v".to_owned()),
            }],
            vec![tag("", "v")],
            vec![tag(&long_key, "")],
            vec![tag("k", &long_value)],
            vec![tag("k", "1"), tag("k", "2")],
        ] {
            assert_eq!(code_of(&tags), Some("InvalidParameterException"), "{tags:?}");
        }
    }
}

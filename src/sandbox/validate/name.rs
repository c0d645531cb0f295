//! A share's name: letters, digits, spaces, periods, dashes and underscores.

use crate::sandbox::error::Refusal;

/// Refuses a name that is missing, empty or has other characters.
pub(crate) fn check(name: Option<&str>) -> Result<&str, Refusal> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(Refusal::invalid_parameter(
            "The resource share name is missing or empty.",
        ));
    };
    if name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '-' | '_'))
    {
        return Ok(name);
    }
    Err(Refusal::invalid_parameter(format!(
        "The resource share name {name:?} is not valid: use letters, digits, spaces, periods, dashes and underscores only."
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_taken() {
        for name in ["a", "Team 7 - prod.v2_b"] {
            assert_eq!(check(Some(name)), Ok(name));
        }
    }

    #[test]
    fn missing_empty_and_odd_names_are_refused() {
        for name in [None, Some(""), Some("a/b"), Some("a\n"), Some("naïve")] {
            assert_eq!(
                check(name).unwrap_err().code,
                "InvalidParameterException",
                "{name:?}"
            );
        }
    }
}

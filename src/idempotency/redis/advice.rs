//! What is unsafe in a server's settings, in sentences for an operator.

/// Reads the answer to `INFO` and returns what could lose records, and what that leads to.
pub(super) fn on(info: &str) -> Vec<String> {
    let value = |name: &str| {
        info.lines()
            .filter_map(|line| line.trim_end().split_once(':'))
            .find_map(|(key, value)| (key == name).then_some(value))
    };
    let mut advice = Vec::new();
    match value("maxmemory_policy") {
        Some("noeviction") => {}
        Some(policy) => advice.push(format!(
            "maxmemory-policy is `{policy}`: a full server drops records, and a token whose record is gone may be \
             executed again once RAM has forgotten it; set it to `noeviction`"
        )),
        None => advice.push(NOT_SAID.replace("{}", "maxmemory-policy")),
    }
    match value("aof_enabled") {
        Some("1") => {}
        Some(_) => advice.push(
            "appendonly is off: a restart forgets the records since the last snapshot, and with them which requests \
             are under way; set it to `yes`"
                .to_owned(),
        ),
        None => advice.push(NOT_SAID.replace("{}", "appendonly")),
    }
    advice
}

const NOT_SAID: &str = "the server does not say what {} is; see that it is safe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safe_server_needs_no_advice() {
        let info = "# Memory\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n";

        assert_eq!(on(info), Vec::<String>::new());
    }

    #[test]
    fn eviction_and_a_missing_log_are_named() {
        let advice = on("maxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n");

        assert_eq!(advice.len(), 2);
        assert!(advice[0].contains("`allkeys-lru`"), "{advice:?}");
        assert!(advice[1].contains("appendonly is off"), "{advice:?}");
    }

    #[test]
    fn what_the_server_leaves_out_is_not_taken_for_safe() {
        assert_eq!(on("").len(), 2);
    }
}

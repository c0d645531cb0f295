//! What callers send: ARNs, principals, names, tags. Any text gets a verdict, and what is accepted can be taken apart.

use ram_facade::rules::{self, Arn, Principal, Violations};

/// Feeds one input.
pub fn feed(text: &str) {
    let _ = rules::share_name(text);
    let _ = rules::permission_arn(text);
    let _ = rules::is_service(text);
    let _ = rules::tag_key(text);
    if let Ok(arn) = Arn::parse(text) {
        let _ = arn.split();
    }
    // Taking apart is stricter than validation, which leaves the form of ids to RAM; a policy denies what is between.
    if let Ok(principal) = Principal::parse(text) {
        assert_eq!(rules::principal(text), Ok(()), "{text}");
        assert!(text.contains(principal.party), "{text}");
    }
    if rules::resource_arn(text).is_ok() {
        assert!(Arn::parse(text).is_ok(), "{text}");
    }
    let mut violations = Violations::default();
    rules::tags(
        &mut violations,
        text.lines().filter_map(|line| line.split_once('=')),
    );
    // A sentence about a value never repeats it: it may be long or hostile.
    for violation in violations.into_vec() {
        assert!(violation.description.len() < 400);
    }
}

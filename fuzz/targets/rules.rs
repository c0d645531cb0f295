//! What callers send: ARNs, principals, names, tags. Any text gets a verdict.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ram_facade::rules::{self, Violations};

fuzz_target!(|text: &str| {
    let _ = rules::share_name(text);
    let _ = rules::resource_arn(text);
    let _ = rules::permission_arn(text);
    let _ = rules::principal(text);
    let _ = rules::is_service(text);
    let _ = rules::tag_key(text);
    let mut violations = Violations::default();
    rules::tags(&mut violations, text.lines().filter_map(|line| line.split_once('=')));
    // A sentence about a value never repeats it: it may be long or hostile.
    for violation in violations.into_vec() {
        assert!(violation.description.len() < 400);
    }
});

//! The files that an operator writes. A faulty one gets its faults listed.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ram_facade::{
    auth::{
        cedar::{Cedar, Source},
        static_tokens::Table,
    },
    config::{Config, Sources},
    operations,
    sandbox::FaultPlan,
};

fuzz_target!(|text: &str| {
    let _ = Config::read(Sources {
        file: Some(text.to_owned()),
        ..Sources::default()
    });
    if let Err(faults) = Table::parse(text) {
        assert!(!faults.is_empty());
    }
    let _ = FaultPlan::from_json(text);
    let source = Source {
        path: "policies.cedar".into(),
        text: text.to_owned(),
    };
    if let Ok((policies, _warnings)) = Cedar::of(Path::new("policies.cedar"), vec![source], operations::ALL) {
        let _ = policies.len();
    }
});

//! The files that an operator writes. A faulty one gets its faults listed.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use ram_facade::{
    auth::static_tokens::Table,
    config::{Config, Sources},
    sandbox::FaultPlan,
};

fuzz_target!(|text: &str| {
    let _ = Config::read(Sources {
        file: Some(text.to_owned()),
        variables: BTreeMap::new(),
        flags: BTreeMap::new(),
    });
    if let Err(faults) = Table::parse(text) {
        assert!(!faults.is_empty());
    }
    let _ = FaultPlan::from_json(text);
});

//! Every fault plan in the manual can be read, and every kind of fault is in it.

use std::collections::BTreeSet;

use ram_facade::sandbox::FaultPlan;

#[test]
fn the_manual_shows_a_plan_for_each_kind_of_fault() {
    let manual = include_str!("../../docs/sandbox.md");
    let plans = manual
        .split("```json\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());

    let mut kinds = BTreeSet::new();
    for text in plans {
        let plan = FaultPlan::from_json(text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
        for rule in serde_json::to_value(plan).unwrap()["rules"].as_array().unwrap() {
            kinds.insert(rule["fault"]["kind"].as_str().unwrap().to_owned());
        }
    }

    let wanted = [
        "answer",
        "delay",
        "drop",
        "drop_after_execution",
        "error",
        "error_after_execution",
        "hold_after_execution",
        "patch",
        "truncate_after_execution",
    ];
    assert_eq!(kinds, wanted.map(str::to_owned).into());
}

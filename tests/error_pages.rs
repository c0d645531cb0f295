//! The pages of `docs/errors` say what the table of reasons says, and no page is left over.

use std::{collections::BTreeSet, fs, path::PathBuf};

use ram_facade::failure::Reason;
use tonic::Code;

fn pages() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/errors")
}

/// The code as it is written in prose: `INVALID_ARGUMENT` for `InvalidArgument`.
fn written(code: Code) -> String {
    let mut text = String::new();
    for (i, letter) in format!("{code:?}").chars().enumerate() {
        if i > 0 && letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[test]
fn each_page_names_the_code_and_the_domain_of_its_reason() {
    for row in Reason::ALL.iter().map(|reason| reason.row()) {
        let page = fs::read_to_string(pages().join(format!("{}.md", row.name))).unwrap();
        for fact in [written(row.code), row.domain.as_str().to_owned()] {
            assert!(
                page.contains(&format!("`{fact}`")),
                "{}.md does not name `{fact}`",
                row.name
            );
        }
    }
}

#[test]
fn the_index_lists_each_reason_under_its_domain_with_its_code() {
    let index = fs::read_to_string(pages().join("README.md")).unwrap();
    for row in Reason::ALL.iter().map(|reason| reason.row()) {
        let section = index
            .split("\n## ")
            .find(|section| section.starts_with(&format!("Domain `{}`", row.domain.as_str())))
            .unwrap();
        let start = format!("| [{0}]({0}.md) | `{1}` |", row.name, written(row.code));
        assert!(
            section.contains(&start),
            "docs/errors/README.md lacks the row {start}"
        );
    }
}

#[test]
fn no_page_is_without_a_reason() {
    let names: BTreeSet<_> = Reason::ALL
        .iter()
        .map(|reason| format!("{}.md", reason.row().name))
        .collect();
    for entry in fs::read_dir(pages()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README.md" || names.contains(&name),
            "docs/errors/{name} belongs to no reason"
        );
    }
}

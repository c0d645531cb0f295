//! The limits that the contract's comments promise are the ones that requests are held to: a client's author reads
//! nothing else.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use ram_facade::{
    operation::Operation,
    operations::{create_resource_share::CreateResourceShare, list_resource_types::ListResourceTypes},
    pb::v1::{CreateResourceShareRequest, ListResourceTypesRequest, Tag},
};

const CONTRACT: &str = include_str!("../proto/ramfacade/v1/resource_share_service.proto");

/// The comment above the line with this declaration, as one line.
fn comment(declaration: &str) -> String {
    let lines: Vec<_> = CONTRACT.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| *line == declaration);
    let above = &lines[..at.unwrap_or_else(|| panic!("the contract has no `{declaration}`"))];
    let begin = above
        .iter()
        .rposition(|line| !line.starts_with("//"))
        .map_or(0, |i| i + 1);
    let text: Vec<_> = above[begin..]
        .iter()
        .map(|line| line.trim_start_matches("//").trim())
        .collect();
    text.join(" ")
}

fn promises(declaration: &str, sentence: &str) {
    let comment = comment(declaration);
    assert!(
        comment.contains(sentence),
        "`{declaration}` does not promise `{sentence}`: {comment}"
    );
}

fn demo() -> CreateResourceShareRequest {
    CreateResourceShareRequest {
        name: "demo".to_owned(),
        ..CreateResourceShareRequest::default()
    }
}

fn arn(length: usize) -> String {
    let start = "arn:aws:ec2:us-east-1:111122223333:subnet/";
    format!("{start}{}", "s".repeat(length - start.len()))
}

fn permission(length: usize) -> String {
    let start = "arn:aws:ram::aws:permission/";
    format!("{start}{}", "p".repeat(length - start.len()))
}

fn tag(key: usize, value: usize) -> Tag {
    Tag {
        key: "k".repeat(key),
        value: "v".repeat(value),
    }
}

fn tags(count: usize) -> Vec<Tag> {
    (0..count)
        .map(|i| Tag {
            key: format!("key-{i}"),
            value: String::new(),
        })
        .collect()
}

/// The fields of `request` that break a rule, with the marker tag on.
fn faults(request: &CreateResourceShareRequest) -> Vec<String> {
    let mut faults = CreateResourceShare::validate(request);
    faults.extend(CreateResourceShare::validate_marker(
        request,
        "ram-facade:request",
    ));
    faults.into_iter().map(|violation| violation.field).collect()
}

#[test]
fn what_a_comment_allows_is_accepted_and_what_is_beyond_it_refused() {
    type Set = fn(&mut CreateResourceShareRequest, usize);
    let limits: &[(&str, &str, usize, &str, Set)] = &[
        (
            "repeated string resource_arns = 2;",
            "at most 100,",
            100,
            "resource_arns",
            |r, n| {
                r.resource_arns = vec![arn(60); n];
            },
        ),
        (
            "repeated string resource_arns = 2;",
            "each of at most 2048 characters",
            2048,
            "resource_arns[0]",
            |r, n| r.resource_arns = vec![arn(n)],
        ),
        (
            "repeated string permission_arns = 7;",
            "At most 2048 characters each",
            2048,
            "permission_arns[0]",
            |r, n| r.permission_arns = vec![permission(n)],
        ),
        ("repeated Tag tags = 4;", "at most 49,", 49, "tags", |r, n| {
            r.tags = tags(n)
        }),
        (
            "string client_token = 6;",
            "1 to 64 printable ASCII",
            64,
            "client_token",
            |r, n| {
                r.client_token = "t".repeat(n);
            },
        ),
        (
            "string key = 1;",
            "1 to 128 characters",
            128,
            "tags[0].key",
            |r, n| r.tags = vec![tag(n, 1)],
        ),
        (
            "string value = 2;",
            "0 to 256 characters",
            256,
            "tags[0].value",
            |r, n| r.tags = vec![tag(1, n)],
        ),
    ];
    for (declaration, sentence, most, field, set) in limits {
        promises(declaration, sentence);
        let (mut allowed, mut beyond) = (demo(), demo());
        set(&mut allowed, *most);
        set(&mut beyond, most + 1);
        assert_eq!(faults(&allowed), Vec::<String>::new(), "{declaration} {sentence}");
        assert_eq!(faults(&beyond), [*field], "{declaration} {sentence}");
    }
}

#[test]
fn without_the_marker_tag_there_is_room_for_one_more() {
    promises(
        "repeated Tag tags = 4;",
        "At most 50 where that tag is switched off",
    );
    for (count, fields) in [(50, Vec::new()), (51, vec!["tags"])] {
        let request = CreateResourceShareRequest {
            tags: tags(count),
            ..demo()
        };
        let faults = CreateResourceShare::validate(&request);
        assert_eq!(
            faults.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(),
            fields,
            "{count}"
        );
    }
}

#[test]
fn a_name_is_required_and_a_tag_has_a_key() {
    promises("string name = 1;", "Required.");
    assert_eq!(faults(&CreateResourceShareRequest::default()), ["name"]);
    let keyless = CreateResourceShareRequest {
        tags: vec![tag(0, 1)],
        ..demo()
    };
    assert_eq!(faults(&keyless), ["tags[0].key"]);
}

#[test]
fn a_page_has_the_size_that_the_comment_allows() {
    promises("optional int32 max_results = 2;", "1 to 500");
    for (size, fine) in [
        (None, true),
        (Some(0), false),
        (Some(1), true),
        (Some(500), true),
        (Some(501), false),
    ] {
        let request = ListResourceTypesRequest {
            max_results: size,
            ..ListResourceTypesRequest::default()
        };
        assert_eq!(ListResourceTypes::validate(&request).is_empty(), fine, "{size:?}");
    }
}

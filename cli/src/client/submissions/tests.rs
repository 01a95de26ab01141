//! The words of a list and of a report.

use serde_json::{Value, json};

use super::answer::parse;
use super::*;

fn head() -> Value {
    json!({
        "submission_id": "s1", "user_id": "alice", "entrypoint": "src/main.py", "config_file": "config.yaml",
        "file_count": 2, "bytes": 1536, "digest": "d0", "created_at": "2026-01-31T12:00:01Z",
    })
}

#[test]
fn a_list_has_a_line_for_each() {
    let text = list::rows(&[parse(&head()).unwrap()]);
    assert!(text.starts_with("SUBMISSION  USER   ENTRYPOINT   FILES     SIZE  CREATED\n"), "{text}");
    assert!(text.contains("s1          alice  src/main.py      2  1.5 KiB  "), "{text}");
}

#[test]
fn a_report_names_each_file_and_what_its_author_said() {
    let mut document = head();
    document["metadata"] = json!({
        "entrypoint": "src/main.py", "note": "lr \u{1b}halved", "user_id": "alice",
        "files": [{"name": "code.zip", "size": 1024, "sha256": "ab"}, {"name": "config.yaml", "size": 512, "sha256": "cd"}],
    });
    let text = show::report(&document).unwrap();
    assert!(text.contains("created:      2026-01-31 12:00:01 UTC ("), "{text}");
    assert!(text.contains("\n\nFILE            SIZE  SHA-256\ncode.zip     1.0 KiB  ab\n"), "{text}");
    assert!(text.ends_with("\n\nMETADATA  VALUE\nnote      lr halved"), "{text}");
}

#[test]
fn what_is_not_understood_is_said() {
    let sentence = show::report(&json!({"submission_id": "s1"})).unwrap_err().sentence().unwrap();
    assert!(sentence.contains("does not know"), "{sentence}");
}

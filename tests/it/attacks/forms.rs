//! Forms that are malformed, endless in number, or read in two ways.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::wait::scaled;
use reqwest::Method;
use serde_json::Value;

use super::{BOUNDARY, file, form, good, part, resident_bytes, send_form, text, uploads};

const MIB: usize = 1 << 20;

/// Within which a form is answered.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much memory the board may have taken for all of these forms.
const MEMORY: u64 = 96 << 20;

fn many(part: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    form(&(0..10_000).map(part).collect::<Vec<_>>())
}

fn with(parts: &[Vec<u8>]) -> Vec<u8> {
    form(&[&[good()], parts].concat())
}

/// A part with further header lines.
fn headed(headers: &str) -> Vec<u8> {
    let disposition = "form-data; name=\"files\"; filename=\"x.py\"";
    part(&format!("{disposition}\r\n{headers}"), b"1")
}

#[tokio::test]
async fn a_form_that_is_malformed_or_too_much_is_refused_in_bounded_time_and_memory_and_leaves_nothing() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    // What an upload takes anyway.
    assert_eq!(send_form(&alice, form(&[good()])).await.status, 201);
    let (before, memory_before) = (uploads(&board), resident_bytes(board.pid()));
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("10,000 files", many(|n| file(format!("f{n}.py").as_bytes(), b"")), 413, "at most 200 files"),
        ("10,000 files of one name", many(|_| file(b"main.py", b"")), 400, "two files"),
        ("10,000 unknown fields", many(|n| text(&format!("x{n}"), "")), 400, "no form field"),
        ("10,000 times one field", many(|_| text("entrypoint", "main.py")), 400, "given twice"),
        ("10,000 parts without a name", many(|_| part("form-data", b"")), 400, "no form field"),
        ("10,000 boundaries", format!("--{BOUNDARY}\r\n").repeat(10_000).into_bytes(), 400, "malformed"),
        ("a part without a name", with(&[part("form-data", b"1")]), 400, "no form field \"\""),
        ("a part with an empty name", with(&[text("", "1")]), 400, "no form field \"\""),
        ("a name in another case", with(&[text("Metadata", "{}")]), 400, "no form field"),
        ("a name of a list", with(&[text("files[]", "1")]), 400, "no form field"),
        ("a name with a control character", with(&[text("meta\u{1}data", "{}")]), 400, "form"),
        ("a file without a file name", with(&[text("files", "1")]), 400, "-F files=@main.py"),
        ("an empty file name", with(&[file(b"", b"1")]), 400, "1 to 255 bytes"),
        ("a name that is no UTF-8", with(&[file(b"\xff\xfe.py", b"1")]), 400, "UTF-8"),
        ("no disposition", with(&[format!("--{BOUNDARY}\r\nX: y\r\n\r\n1\r\n").into_bytes()]), 400, "form"),
        ("no headers at all", with(&[format!("--{BOUNDARY}\r\n\r\n1\r\n").into_bytes()]), 400, "form"),
        ("a header of 1 MiB", with(&[headed(&format!("X: {}", "a".repeat(MIB)))]), 400, "form"),
        ("1,000 headers", with(&[headed(&"X: y\r\n".repeat(1_000))]), 400, "form"),
        ("a preamble of 5 MiB", [vec![b'x'; 5 * MIB], form(&[good()])].concat(), 400, "form"),
        ("no last boundary", good(), 400, "cut off"),
        ("a last boundary that is cut", [good(), format!("--{BOUNDARY}-").into_bytes()].concat(), 400, "cut off"),
        (
            "another boundary",
            b"--c\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{}\r\n--c--".to_vec(),
            400,
            "form",
        ),
        ("nothing", vec![], 400, "form"),
        ("nothing but an end", form(&[]), 400, "no files"),
        (
            "metadata of 65 KiB",
            with(&[text("metadata", &format!("{{\"a\": \"{}\"}}", "x".repeat(65 << 10)))]),
            413,
            "metadata",
        ),
        ("an entrypoint of 2 KiB", with(&[text("entrypoint", &"x".repeat(2 << 10))]), 413, "entrypoint"),
        (
            "an entrypoint that is no UTF-8",
            with(&[part("form-data; name=\"entrypoint\"", b"\xff.py")]),
            400,
            "not UTF-8",
        ),
    ];
    for (what, body, status, culprit) in cases {
        let answer = tokio::time::timeout(scaled(PATIENCE), send_form(&alice, body)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{what}: no answer"));
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        let detail = answer.detail();
        assert!(
            detail.contains(culprit) && detail.starts_with("nothing of this upload was kept: "),
            "{what}: {detail}"
        );
        assert!(detail.len() < 1_000, "{what}: a sentence of {} bytes", detail.len());
        assert_eq!(uploads(&board), before, "{what} left something behind");
    }
    let grown = resident_bytes(board.pid()).saturating_sub(memory_before);
    assert!(grown < MEMORY, "the board has grown by {grown} bytes");
}

#[tokio::test]
async fn a_boundary_that_plays_games_is_refused_or_read_as_every_reader_does() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let before = uploads(&board);
    let long = "b".repeat(10_000);
    for kind in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=c",
        "multipart/form-data; boundary=\"b",
        "multipart/form-data; bondary=b",
        &format!("multipart/form-data; boundary={long}"),
    ] {
        let request = alice.request(Method::POST, "/submissions").header("content-type", kind);
        let answer = alice.send(request.body(form(&[good()]))).await;
        assert_eq!(answer.status, 400, "{:?}: {answer:?}", &kind[..kind.len().min(60)]);
        assert_eq!(uploads(&board), before);
    }
    for kind in [
        "multipart/mixed; boundary=b",
        "application/x-www-form-urlencoded",
        "text/plain",
        "",
        "multipart/form-data2; boundary=b",
    ] {
        let request = alice.request(Method::POST, "/submissions").header("content-type", kind);
        assert_eq!(alice.send(request.body(form(&[good()]))).await.status, 415, "{kind:?}");
    }

    // What looks like a boundary inside of a line is content, and what follows the last boundary is nothing.
    let program = b"print(1) # --b\r\n --b\r\n";
    let smuggled = [form(&[file(b"main.py", program), file(b"config.yaml", b"")]), file(b"evil.py", b"1")].concat();
    let answer = send_form(&alice, smuggled).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.body["submission_id"].as_str().expect("an id");
    let folder = board.data().join("uploads").join(id);
    assert_eq!(std::fs::read(folder.join("main.py")).expect("the program"), program);
    let files: Vec<Value> =
        alice.get(&format!("/submissions/{id}")).await.body["metadata"]["files"].as_array().expect("files").clone();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(!folder.join("evil.py").exists());

    // Two names of one file: whichever is taken, it obeys the rules.
    for disposition in [
        "form-data; name=\"files\"; filename=\"a.py\"; filename=\"../b.py\"",
        "form-data; name=\"files\"; filename=\"../b.py\"; filename=\"a.py\"",
        "form-data; name=\"files\"; filename=\"a.py\"; filename*=UTF-8''..%2Fb.py",
        "form-data; name=\"files\"; filename*=UTF-8''..%2Fb.py",
        "form-data; name=\"files\"; filename=\"a\\\"b.py\"",
        "form-data; name=\"files\"; name=\"metadata\"; filename=\"a.py\"",
        "attachment; name=\"files\"; filename=\"a.py\"",
    ] {
        let answer = send_form(&alice, with(&[part(disposition, b"1")])).await;
        assert!([201, 400].contains(&answer.status), "{disposition}: {answer:?}");
        if let Some(id) = answer.body["submission_id"].as_str() {
            let names = std::fs::read_dir(board.data().join("uploads").join(id)).expect("its folder").flatten();
            let names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            assert!(names.iter().all(|name| !name.contains("..")), "{disposition}: {names:?}");
        }
    }
    assert!(!board.data().join("uploads/b.py").exists() && !board.data().join("uploads/.staging/b.py").exists());
}

//! Every bad input: its status, a sentence that names the culprit, and nothing left behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, BOB, Board};
use leadersboard_tests::client::{Client, files, with_file};
use leadersboard_tests::wait::until_equal;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::INSTANT;

/// All that a board keeps: its keys and the files of its uploads.
async fn kept(board: &Board) -> BTreeSet<String> {
    let mut redis = board.redis().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.expect("the keys");
    // The worker makes its work streams when it begins; what counts is what is in them. Live state comes and goes.
    let (streams, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.contains("}:queue:"));
    let is_live = |key: &String| {
        key.contains("}:worker:") || ["}:workers", "}:reconciler"].iter().any(|name| key.ends_with(name))
    };
    let mut kept: BTreeSet<String> = others.into_iter().filter(|key| !is_live(key)).collect();
    for stream in streams {
        let tickets: u64 = redis::cmd("XLEN").arg(&stream).query_async(&mut redis).await.expect("a length");
        kept.extend((tickets > 0).then(|| format!("{tickets} tickets in {stream}")));
    }
    walk(&board.data().join("uploads"), &mut kept);
    kept
}

fn walk(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        found.insert(entry.path().display().to_string());
        if entry.path().is_dir() {
            walk(&entry.path(), found);
        }
    }
}

fn program(name: &'static str) -> Form {
    files(&[(name, "print(1)\n"), ("config.yaml", "a: 1\n")])
}

fn good() -> Form {
    program("main.py")
}

#[tokio::test]
async fn every_bad_upload_is_refused_by_name_and_leaves_nothing() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let before = kept(&board).await;
    let cases: Vec<(&str, Form, u16, &str)> = vec![
        ("wrong extension", program("main.exe"), 400, "main.exe"),
        ("a path in a name", program("../main.py"), 400, "../main.py"),
        ("an absolute name", program("/etc/main.py"), 400, "/etc/main.py"),
        ("a backslash", program("a\\main.py"), 400, "main.py"),
        ("two files of one name", files(&[("main.py", "1"), ("main.py", "2"), ("config.yaml", "")]), 400, "main.py"),
        ("no files", Form::new().text("entrypoint", "main.py"), 400, "file"),
        ("no entrypoint", files(&[("train.py", "1"), ("config.yaml", "")]), 400, "train.py"),
        ("no config", files(&[("main.py", "1")]), 400, "config.yaml"),
        ("an entrypoint above", good().text("entrypoint", "../main.py"), 400, "../main.py"),
        ("an absolute entrypoint", good().text("entrypoint", "/main.py"), 400, "/main.py"),
        ("an entrypoint with NUL", good().text("entrypoint", "main\0.py"), 400, "entrypoint"),
        ("an entrypoint with a backslash", good().text("entrypoint", "a\\main.py"), 400, "entrypoint"),
        ("an entrypoint that is no program", good().text("entrypoint", "main.sh"), 400, "main.sh"),
        ("a config that is no yaml", good().text("config_file", "config.json"), 400, "config.json"),
        ("metadata that is a list", good().text("metadata", "[1]"), 400, "metadata"),
        ("metadata that is no JSON", good().text("metadata", "{"), 400, "metadata"),
        ("metadata with a library's own name", good().text("metadata", smuggled("{}")), 400, "reserved name"),
        ("metadata that nests", good().text("metadata", nested(65)), 400, "nests deeper than 64 levels"),
        ("metadata with what is no number", good().text("metadata", r#"{"a": NaN}"#), 400, "NaN"),
        ("an entrypoint that is an option", good().text("entrypoint", "-c.py"), 400, "-c.py"),
        ("a config that is an option", good().text("config_file", "--x/config.yaml"), 400, "--x/config.yaml"),
        ("an unknown field", good().text("entrypiont", "main.py"), 400, "entrypiont"),
        ("a zip that is none", with_file("code.zip", b"not a zip".to_vec()), 400, "code.zip"),
        ("a tar that is none", with_file("code.tar.gz", b"not a tar".to_vec()), 400, "code.tar.gz"),
        ("a table beside the program", with_file("data.csv", b"1".to_vec()), 400, "put it into a .zip"),
        ("a config of the other suffix", with_file("more.yml", b"{}".to_vec()), 400, "rename it to \"more.yaml\""),
        ("a link in an archive", with_file("code.tar.gz", linked_archive()), 400, "symbolic link"),
    ];
    for (what, form, status, culprit) in cases {
        let answer = alice.upload(form).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(answer.detail().contains(culprit), "{what}: {}", answer.detail());
        assert_eq!(kept(&board).await, before, "{what} left something behind");
    }
}

/// A document that a reader with `raw_value` takes for the text in it.
fn smuggled(text: &str) -> String {
    json!({ "a": [{ "$serde_json::private::RawValue": text }] }).to_string()
}

/// An object that nests as deep as told.
fn nested(depth: usize) -> String {
    format!("{{\"a\": {}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

fn linked_archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(vec![], flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "main.py", "/etc/passwd").expect("an entry");
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive")
}

#[tokio::test]
async fn a_file_of_101_mib_is_too_large_and_nothing_of_it_is_kept() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let before = kept(&board).await;
    let large = Part::bytes(vec![b'#'; 101 << 20]).file_name("main.py");
    let answer = alice.upload(files(&[("config.yaml", "")]).part("files", large)).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.detail().contains("main.py"), "{}", answer.detail());
    assert_eq!(kept(&board).await, before);
    let many = (0..201)
        .map(|n| format!("f{n}.py"))
        .fold(Form::new(), |form, name| form.part("files", Part::text("1").file_name(name)));
    let answer = alice.upload(many).await;
    assert_eq!((answer.status, kept(&board).await), (413, before), "{answer:?}");
}

#[tokio::test]
async fn an_upload_cut_at_half_leaves_nothing() {
    let board = Board::start(&[]).await;
    let before = kept(&board).await;
    let address = board.server().trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(&address).await.expect("a connection");
    let head = format!(
        "POST /submissions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: 1000000\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"files\"; \
         filename=\"main.py\"\r\n\r\n{}",
        "#".repeat(200_000)
    );
    connection.write_all(head.as_bytes()).await.expect("half an upload");
    let staging = board.data().join("uploads/.staging");
    let staged = async || std::fs::read_dir(&staging).expect("staging").count();
    until_equal("the upload is under way", Duration::from_secs(10), 1, staged).await;
    drop(connection);
    until_equal("the staging is gone", Duration::from_secs(10), 0, staged).await;
    assert_eq!(kept(&board).await, before);
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused_by_its_type() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let before = kept(&board).await;
    let json = alice.post("/submissions", &json!({})).await;
    assert_eq!(json.status, 415, "{json:?}");
    let torn = alice.request(Method::POST, "/submissions").header("content-type", "multipart/form-data; boundary=x");
    let torn = alice.send(torn.body("no boundary here")).await;
    assert_eq!(torn.status, 400, "{torn:?}");
    let text = alice.request(Method::POST, "/jobs").header("content-type", "text/plain").body("{}");
    assert_eq!(alice.send(text).await.status, 415);
    assert_eq!(kept(&board).await, before);
}

#[tokio::test]
async fn every_bad_job_is_refused_by_name_and_leaves_nothing() {
    let board = Board::start(&[]).await;
    let [alice, bob] = [ALICE, BOB].map(|token| Client::new(board.server(), token));
    let submission = alice.submit(INSTANT).await;
    let before = kept(&board).await;
    let unknown = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5";
    let cases = [
        ("an unknown submission", json!({ "submission_id": unknown }), 404, "submission"),
        ("an id that is none", json!({ "submission_id": "../../etc" }), 404, "submission"),
        ("no submission", json!({}), 400, "submission_id"),
        (
            "an unknown class",
            json!({ "submission_id": submission, "config": { "resource_class": "huge" } }),
            400,
            "huge",
        ),
        ("an unknown field", json!({ "submission_id": submission, "configuration": {} }), 400, "configuration"),
        ("a config that is a list", json!({ "submission_id": submission, "config": [] }), 400, "config"),
        (
            "a class that is a number",
            json!({ "submission_id": submission, "config": { "resource_class": 3 } }),
            400,
            "resource_class",
        ),
    ];
    for (what, body, status, culprit) in cases {
        let answer = alice.post("/jobs", &body).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(answer.detail().contains(culprit), "{what}: {}", answer.detail());
    }
    let theirs = bob.post("/jobs", &json!({ "submission_id": submission })).await;
    assert_eq!(theirs.status, 404, "{theirs:?}");
    let raw = [
        ("{\"a\"".to_owned(), "the body is not JSON"),
        (json!([submission, {}]).to_string(), "must be a JSON object, not a list"),
        (format!(r#"{{"submission_id": "{submission}", "config": {}}}"#, smuggled("1")), "reserved name"),
        (format!(r#"{{"submission_id": "{submission}", "config": {}}}"#, nested(64)), "nests deeper"),
        (format!(r#"{{"submission_id": "{submission}", "submission_id": "{submission}"}}"#), "twice"),
        (json!({ "submission_id": 7 }).to_string(), "submission_id must be a string, not a number"),
    ];
    for (body, wanted) in raw {
        let request = alice.request(Method::POST, "/jobs").header("content-type", "application/json");
        let answer = alice.send(request.body(body.clone())).await;
        assert!(answer.status == 400 && answer.detail().contains(wanted), "{body}: {answer:?}");
    }
    for path in [format!("/jobs/{unknown}"), format!("/jobs/{unknown}/logs"), "/jobs/x/status".to_owned()] {
        assert_eq!(alice.get(&path).await.status, 404, "{path}");
    }
    for (path, culprit) in [
        ("/jobs?limit=0", "limit"),
        ("/jobs?limit=x", "limit must be 1 to 200"),
        ("/jobs?cursor=x", "cursor"),
        ("/jobs?status=lost", "lost"),
        ("/jobs?stauts=running", "\"stauts\"; known: status, user"),
        ("/jobs?limit=1&limit=2", "limit is given twice"),
        ("/submissions?usr=bob", "usr"),
        ("/me?verbose=1", "verbose"),
    ] {
        let answer = alice.get(path).await;
        assert!(answer.status == 400 && answer.detail().contains(culprit), "{path}: {answer:?}");
    }
    assert_eq!(kept(&board).await, before);
}

#[tokio::test]
async fn without_a_token_there_is_nothing_but_health() {
    let board = Board::start(&[]).await;
    let stranger = Client::new(board.server(), "not-a-token");
    for path in ["/jobs", "/jobs/0192f1c3a4b57c6d8e9fa0b1c2d3e4f5", "/jobs/x/logs"] {
        let answer = stranger.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(!answer.detail().contains("not-a-token"));
    }
    assert_eq!(stranger.upload(good()).await.status, 401);
    let address = board.server().trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(&address).await.expect("a connection");
    let bare = format!("GET /jobs HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(bare.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 401") && answer.to_lowercase().contains("www-authenticate: bearer"),
        "{answer}"
    );
    assert_eq!(stranger.get("/health").await.status, 200);
    assert_eq!(stranger.get("/nowhere").await.status, 404);
}

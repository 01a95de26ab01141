//! What was uploaded, as its owner sees it afterwards.

use std::io::Write;

use leadersboard_tests::board::{ALICE, BOB, Board, ROOT};
use leadersboard_tests::client::{Client, files};
use reqwest::multipart::Part;
use serde_json::{Value, json};

use super::{INSTANT, all_is_well};

fn ids(page: &Value) -> Vec<&str> {
    let listed = page["submissions"].as_array().expect("a list");
    listed.iter().map(|submission| submission["submission_id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn submissions_are_listed_newest_first_and_shown_with_their_files() {
    let board = Board::start(&[]).await;
    let [alice, bob, root] = [ALICE, BOB, ROOT].map(|token| Client::new(board.server(), token));
    let first = alice.submit(INSTANT).await;
    let form = files(&[("main.py", INSTANT), ("config.yaml", "seed: 1\n")]).text("metadata", r#"{"note": 1.10}"#);
    let uploaded = alice.upload(form).await;
    let second = uploaded.body["submission_id"].as_str().expect("an id").to_owned();
    let empty = files(&[("main.py", INSTANT), ("config.yaml", "")]).text("metadata", "");
    let theirs = bob.upload(empty).await.body["submission_id"].as_str().expect("an id").to_owned();

    assert_eq!(ids(&alice.get("/submissions").await.body), [&second, &first]);
    let page = alice.get("/submissions?limit=1").await.body;
    assert_eq!(ids(&page), [&second]);
    let cursor = page["next_cursor"].as_str().expect("there is more");
    assert_eq!(ids(&alice.get(&format!("/submissions?limit=1&cursor={cursor}")).await.body), [&first]);
    assert_eq!(ids(&root.get("/submissions").await.body), [&theirs, &second, &first]);
    assert_eq!(ids(&root.get("/submissions?user=bob").await.body), [&theirs]);
    for (asked, status) in [("user=bob", 403), ("limit=0", 400), ("limit=201", 400), ("cursor=x", 400)] {
        let refused = alice.get(&format!("/submissions?{asked}")).await;
        assert_eq!(refused.status, status, "{asked}: {}", refused.detail());
    }

    let shown = alice.get(&format!("/submissions/{second}")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let of = |key: &str| &shown.body[key];
    assert_eq!((of("submission_id"), of("user_id")), (&json!(second), &json!("alice")));
    assert_eq!((of("entrypoint"), of("config_file")), (&json!("main.py"), &json!("config.yaml")));
    assert_eq!((of("file_count"), of("bytes")), (&json!(2), &json!(INSTANT.len() + "seed: 1\n".len())));
    assert_eq!(of("metadata")["note"], 1.1);
    assert_eq!(of("metadata")["files"][1]["name"], "config.yaml");
    assert_eq!(of("digest").as_str().map(str::len), Some(64));
    let unknown = bob.get(&format!("/submissions/{}", &second.replace(&second[..8], "00000000"))).await;
    let hidden = bob.get(&format!("/submissions/{second}")).await;
    assert_eq!((hidden.status, hidden.detail()), (404, unknown.detail()), "existence is not told");
    assert_eq!(alice.get("/submissions/nonsense").await.status, 404);
    assert_eq!(root.get(&format!("/submissions/{second}")).await.status, 200);

    let listed = board.run(["submissions", "list", "--json", "-n", "1"]).json();
    assert_eq!(ids(&listed), [&second]);
    assert!(board.run(["submissions", "list", "--all"]).stdout.contains(&first));
    let report = board.run(["submissions", "show", &second]).stdout;
    assert!(report.contains("main.py") && report.contains("note"), "{report}");
    assert_eq!(board.run(["submissions", "show", &theirs]).code, Some(2));
    all_is_well(&board).await;
}

/// As some tools of Windows and macOS make it.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for (path, content) in entries {
        zip.start_file(*path, zip::write::SimpleFileOptions::default()).expect("an entry");
        zip.write_all(content).expect("its content");
    }
    zip.finish().expect("an archive").into_inner()
}

#[tokio::test]
async fn an_archive_with_one_top_folder_runs_and_what_was_done_to_it_is_told() {
    let board = Board::start(&[("ALLOWED_SUFFIXES", ".csv")]).await;
    let alice = Client::new(board.server(), ALICE);
    let program = format!("import os\nprint('found', sorted(os.listdir('.')), sorted(os.listdir('data')))\n{INSTANT}");
    let archive = zip(&[
        ("proj/main.py", program.as_bytes()),
        ("proj\\data\\a.csv", b"1"),
        ("proj/.DS_Store", b"x"),
        ("__MACOSX/proj/._main.py", b"x"),
    ]);
    let form = || {
        let form = files(&[("config.yaml", "{}"), ("loose.csv", "1")]);
        form.part("files", Part::bytes(archive.clone()).file_name("code.zip"))
    };
    let taken = alice.upload(form()).await;
    assert_eq!(taken.status, 201, "{taken:?}");
    let warnings = taken.body["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].as_str().expect("text").contains("top folder \"proj\" was taken as the root"), "{warnings:?}");
    assert!(warnings[1].as_str().expect("text").contains("\"proj/data/a.csv\""), "{warnings:?}");
    let submission = taken.body["submission_id"].as_str().expect("an id");
    let job = alice.enqueue(submission, json!({})).await;
    alice.wait_for(&job, "completed").await;
    let log = alice.get(&format!("/jobs/{job}/logs")).await.body;
    let found = "'loose.csv', 'main.py'";
    assert!(log["logs"].as_str().expect("text").contains(found), "{log:#}");
    assert!(log["logs"].as_str().expect("text").contains("['a.csv']"), "{log:#}");

    // Named with its folder, it is found as it is stored.
    let as_it_is = alice.upload(form().text("entrypoint", "proj/main.py")).await;
    assert_eq!((as_it_is.status, as_it_is.body["warnings"].as_array().expect("warnings").len()), (201, 1));
    let missing = alice.upload(form().text("entrypoint", "train.py")).await;
    assert_eq!(missing.status, 400);
    assert!(missing.detail().contains("candidates: proj/main.py"), "{}", missing.detail());
    all_is_well(&board).await;
}

//! What was uploaded, as its owner sees it afterwards.

use leadersboard_tests::board::{ALICE, BOB, Board, ROOT};
use leadersboard_tests::client::{Client, files};
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
    let theirs = bob.submit(INSTANT).await;

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

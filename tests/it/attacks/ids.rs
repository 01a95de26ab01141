//! Ids, user names, filters and cursors that are patterns, hold line ends, or were made up.

use leadersboard_tests::board::{ALICE, Board, ROOT};
use leadersboard_tests::client::Client;
use serde_json::json;

use super::send_path;
use leadersboard_tests::programs::INSTANT;

/// What follows a job's and a submission's id.
const OF_JOBS: [&str; 13] = [
    "",
    "/status",
    "/events",
    "/logs",
    "/logs/stream",
    "/stream",
    "/curves",
    "/results",
    "/artifacts",
    "/artifacts.tar.gz",
    "/artifacts/metrics.json",
    "/visualizations",
    "/visualizations/x.png",
];

#[tokio::test]
async fn an_id_that_is_none_names_nothing() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(INSTANT).await;
    alice.wait_for(&job, "completed").await;
    let (first, rest) = job.split_at(8);
    let ids = [
        "*".to_owned(),
        "%2a".to_owned(),
        "%3f".repeat(32),
        "[0-9a-f]*".to_owned(),
        format!("{}*", &job[..31]),
        format!("{}%3f", &job[..31]),
        "{}".to_owned(),
        format!("%7Bleaderboard:main%7D:job:{job}"),
        format!("{job}%0a"),
        format!("%0d%0a{job}"),
        format!("{job}%00"),
        format!("%20{job}"),
        format!("{job}%20"),
        format!("{job}+"),
        job.to_uppercase(),
        format!("{first}-{}-{}-{}-{}", &rest[..4], &rest[4..8], &rest[8..12], &rest[12..]),
        format!("%7B{job}%7D"),
        format!("urn:uuid:{job}"),
        job[..31].to_owned(),
        format!("{job}0"),
        "%ef%bc%90".repeat(32),
        "0".repeat(10_000),
        "%ff".to_owned(),
        "-1".to_owned(),
        "null".to_owned(),
    ];
    for id in &ids {
        for rest in OF_JOBS {
            let (status, answer) = send_path(&board, "GET", &format!("/jobs/{id}{rest}")).await;
            assert!([400, 404, 414, 431].contains(&status), "{id}{rest}: {answer}");
            assert!(!answer.contains(&job) && !answer.contains("alice"), "{id}{rest}: {answer}");
        }
        for (method, path) in [("GET", format!("/submissions/{id}")), ("POST", format!("/jobs/{id}/cancel"))] {
            let (status, answer) = send_path(&board, method, &path).await;
            assert!([400, 404, 414, 431].contains(&status), "{method} {path}: {answer}");
        }
        let new = alice.post("/jobs", &json!({ "submission_id": id })).await;
        assert_eq!(new.status, 404, "{id}: {new:?}");
    }
    for id in ["*", "a\nb", "\r\n", "\0", " ", "{}", "\u{ff10}"] {
        assert_eq!(alice.post("/jobs", &json!({ "submission_id": id })).await.status, 404, "{id:?}");
    }
    let state = alice.get(&format!("/jobs/{job}")).await.body;
    assert_eq!(
        (&state["status"], alice.get("/jobs").await.body["jobs"].as_array().map(Vec::len)),
        (&json!("completed"), Some(1))
    );
}

#[tokio::test]
async fn a_filter_is_a_name_and_no_pattern_and_a_forged_cursor_is_a_place_or_nothing() {
    let board = Board::start(&[("LEADERBOARD_METRICS", "auc:desc")]).await;
    let [alice, root] = [ALICE, ROOT].map(|token| Client::new(board.server(), token));
    let job = alice.run(INSTANT).await;
    alice.wait_for(&job, "completed").await;
    let names = [
        "*",
        "a*",
        "a%3fice",
        "%7B%7D",
        "%5Ba-z%5Dlice",
        "alice%0a",
        "%0d%0aalice",
        "alice%00",
        "ALICE",
        "%20alice",
        "al%EF%BD%89ce",
        "%ff",
        "..%2f",
    ];
    let filters =
        ["/jobs?user=", "/submissions?user=", "/leaderboard?metric=auc&user=", "/leaderboard/history?metric=auc&user="];
    for name in names {
        for filter in filters {
            let found = root.get(&format!("{filter}{name}")).await;
            assert!([200, 400].contains(&found.status), "{filter}{name}: {found:?}");
            assert!(!found.body.to_string().contains(&job), "{filter}{name}: {found:?}");
        }
        for path in [
            "/jobs?status=",
            "/leaderboard?metric=",
            "/leaderboard.csv?metric=",
            "/leaderboard/history?metric=",
            "/leaderboard?metric=auc&order=",
        ] {
            let found = root.get(&format!("{path}{name}")).await;
            assert!([200, 400, 404].contains(&found.status), "{path}{name}: {found:?}");
            assert!(!found.body.to_string().contains(&job), "{path}{name}: {found:?}");
        }
    }
    let cursors = [
        "0-".to_owned() + &job,
        "7fffffffffffffff-".to_owned() + &job,
        "ffffffffffffffff-".to_owned() + &job,
        "-1-".to_owned() + &job,
        "+1-".to_owned() + &job,
        "1-*".to_owned(),
        "1-%0a".to_owned(),
        "%00".to_owned(),
        "(0".to_owned(),
        "inf".to_owned(),
        "1".repeat(5_000),
        "null".to_owned(),
    ];
    for list in ["/jobs", "/submissions"] {
        for cursor in &cursors {
            for client in [&alice, &root] {
                let found = client.get(&format!("{list}?cursor={cursor}")).await;
                assert!([200, 400].contains(&found.status), "{list} {cursor}: {found:?}");
            }
        }
    }
    assert_eq!(root.get("/jobs?user=alice").await.body["jobs"].as_array().map(Vec::len), Some(1));
}

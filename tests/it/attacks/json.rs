//! JSON that nests, repeats, overflows or shadows.

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::{Answer, Client};
use reqwest::Method;
use serde_json::{Value, json};

use super::{form, good, send_form, text, uploads};
use leadersboard_tests::programs::INSTANT;

const DEEP: usize = 100_000;

async fn post(client: &Client, path: &str, body: String) -> Answer {
    client.send(client.request(Method::POST, path).header("content-type", "application/json").body(body)).await
}

#[tokio::test]
async fn json_that_nests_or_repeats_is_refused_wherever_it_is_taken() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit(INSTANT).await;
    let before = uploads(&board);
    let nested = [
        "[".repeat(DEEP),
        "{\"a\":".repeat(DEEP),
        format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        format!("{}1{}", "{\"a\":".repeat(DEEP), "}".repeat(DEEP)),
        "[{\"a\":".repeat(DEEP),
    ];
    for nested in &nested {
        for body in [
            nested.clone(),
            format!("{{\"submission_id\": \"{submission}\", \"config\": {nested}}}"),
            format!("{{\"{nested}\": 1}}"),
        ] {
            let answer = post(&alice, "/jobs", body).await;
            assert!([400, 413].contains(&answer.status), "{answer:?}");
            assert!(answer.detail().len() < 1_000, "{answer:?}");
        }
        let cancel = post(&alice, &format!("/jobs/{submission}/cancel"), nested.clone()).await;
        assert!([400, 404, 413].contains(&cancel.status), "{cancel:?}");
        let metadata = send_form(&alice, form(&[good(), text("metadata", nested)])).await;
        assert!([400, 413].contains(&metadata.status), "{metadata:?}");
    }
    for body in [
        format!(r#"{{"submission_id": "{submission}", "submission_id": "{submission}"}}"#),
        format!(r#"{{"submission_id": "{submission}", "submission\u005fid": "{submission}"}}"#),
        format!(r#"{{"submission_id": "{submission}", "config": {{"a": 1, "a": 2}}}}"#),
        format!(r#"{{"submission_id": "{submission}", "config": [{{"a": 1, "a": 1}}]}}"#),
    ] {
        let answer = post(&alice, "/jobs", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    for metadata in [r#"{"a": 1, "a": 2}"#, r#"{"a": 1, "\u0061": 2}"#] {
        let answer = send_form(&alice, form(&[good(), text("metadata", metadata)])).await;
        assert_eq!(answer.status, 400, "{metadata}: {answer:?}");
    }
    assert_eq!(uploads(&board), before);
    assert_eq!(alice.get("/jobs").await.body["jobs"], json!([]));
}

#[tokio::test]
async fn numbers_out_of_range_are_kept_as_they_are_or_refused() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit(INSTANT).await;
    let numbers = [
        "1e999",
        "-1e999",
        "1e-999",
        "99999999999999999999999999",
        "-9223372036854775809",
        "18446744073709551616",
        "-0",
        "0.1e308",
        "4.9e-324",
    ];
    for number in numbers {
        let body = format!(r#"{{"submission_id": "{submission}", "config": {{"lr": {number}, "many": [{number}]}}}}"#);
        let job = post(&alice, "/jobs", body).await;
        assert!([202, 400].contains(&job.status), "{number}: {job:?}");
        if let Some(id) = job.body["job_id"].as_str() {
            for path in ["", "/events", "/status"] {
                assert_eq!(alice.get(&format!("/jobs/{id}{path}")).await.status, 200, "{number}{path}");
            }
        }
        let uploaded = send_form(&alice, form(&[good(), text("metadata", &format!("{{\"n\": {number}}}"))])).await;
        assert!([201, 400].contains(&uploaded.status), "{number}: {uploaded:?}");
        if let Some(id) = uploaded.body["submission_id"].as_str() {
            let shown = alice.request(Method::GET, &format!("/submissions/{id}")).send().await.expect("an answer");
            let text = shown.text().await.expect("a body");
            assert!(text.contains(number), "{number} is as it was written: {text}");
        }
        for body in [
            format!(r#"{{"submission_id": {number}}}"#),
            format!(r#"{{"submission_id": "{submission}", "config": {{"resource_class": {number}}}}}"#),
            format!(r#"{{"submission_id": "{submission}", "config": {number}}}"#),
        ] {
            let answer = post(&alice, "/jobs", body.clone()).await;
            assert_eq!(answer.status, 400, "{body}: {answer:?}");
        }
    }
    let job = alice.enqueue(&submission, json!({})).await;
    let numbers = [
        "-1",
        "1e3",
        "0x10",
        "1.5",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999",
        "NaN",
        "%2b1",
        "%ef%bc%91",
        "1%00",
        "%201",
        "",
    ];
    let parameters = [
        "/jobs?limit=".to_owned(),
        "/submissions?limit=".to_owned(),
        "/leaderboard?metric=auc&limit=".to_owned(),
        format!("/jobs/{job}/logs?tail_lines="),
        format!("/jobs/{job}/logs?attempt=1&offset="),
        format!("/jobs/{job}/logs?offset=0&attempt="),
        format!("/jobs/{job}/events?since="),
        format!("/jobs/{job}/logs/stream?tail_lines="),
    ];
    for parameter in &parameters {
        for number in numbers {
            let path = format!("{parameter}{number}");
            let answer = alice.request(Method::GET, &path).send().await.expect("an answer");
            let status = answer.status().as_u16();
            let is_large = number.starts_with('9') || number.starts_with("18");
            // A number that no file and no list reaches may be one.
            assert!(status == 400 || (is_large && [200, 404].contains(&status)), "{path}: {status}");
        }
    }
}

#[tokio::test]
async fn metadata_never_shadows_what_the_platform_says() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    for metadata in [
        r#"{"user_id": "root", "entrypoint": "evil.py", "config_file": "evil.yaml", "files": []}"#,
        r#"{"\u0075ser_id": "root", "entry\u0070oint": "evil.py", "f\u0069les": null}"#,
        r#"{"USER_ID": "root", "User_Id": "root", "user_id ": "root", "user_id\u0000": "root", "ｕser_id": "root"}"#,
        r#"{"user_id": {"user_id": "root"}, "__proto__": {"user_id": "root"}, "constructor": 1}"#,
    ] {
        let uploaded = send_form(&alice, form(&[good(), text("metadata", metadata)])).await;
        assert_eq!(uploaded.status, 201, "{metadata}: {uploaded:?}");
        assert_eq!(uploaded.body["user_id"], "alice");
        let id = uploaded.body["submission_id"].as_str().expect("an id");
        let kept =
            std::fs::read_to_string(board.data().join("uploads").join(id).join("metadata.json")).expect("metadata");
        let read: Value = serde_json::from_str(&kept).expect("JSON");
        let of = |key: &str| read[key].clone();
        assert_eq!(
            (of("user_id"), of("entrypoint"), of("config_file")),
            (json!("alice"), json!("main.py"), json!("config.yaml"))
        );
        assert_eq!(of("files").as_array().map(Vec::len), Some(2), "{kept}");
        // One key each, also for a reader that takes the first.
        for key in ["user_id", "entrypoint", "config_file", "files"] {
            let own = kept.lines().filter(|line| line.starts_with(&format!("\"{key}\":"))).count();
            assert_eq!(own, 1, "{key}: {kept}");
        }
        assert!(!kept.contains(r"\u0075ser_id") && !kept.contains(r"f\u0069les"), "{kept}");
        let shown = alice.get(&format!("/submissions/{id}")).await;
        assert_eq!((shown.status, &shown.body["user_id"]), (200, &json!("alice")), "{shown:?}");
    }
}

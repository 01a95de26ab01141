//! What chance makes of requests: never a 5xx, never a panic, and the server goes on.

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::{Client, http_client};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use reqwest::Method;
use reqwest::header::HeaderValue;

use super::{file, form, good, send_form, text, uploads};
use leadersboard_tests::programs::INSTANT;

/// The same cases in every run.
fn runner(cases: u32) -> TestRunner {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// A board with a job of Alice's that has completed.
fn bench() -> (tokio::runtime::Runtime, Board, Client, String) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let board = runtime.block_on(Board::start(&[]));
    let alice = Client::new(board.server(), ALICE);
    let job = runtime.block_on(async {
        let job = alice.run(INSTANT).await;
        alice.wait_for(&job, "completed").await;
        job
    });
    (runtime, board, alice, job)
}

/// A change of a form: bytes that are cut out, and bytes that come in their place.
#[derive(Debug, Clone)]
struct Change {
    at: prop::sample::Index,
    cut: usize,
    put: Vec<u8>,
}

fn change() -> impl Strategy<Value = Change> {
    let token = prop::sample::select(vec![
        "\r\n",
        "--b",
        "--b--",
        "\r\n--b\r\n",
        "\r\n\r\n",
        "\"",
        ";",
        "=",
        "name=\"files\"",
        "filename*=UTF-8''",
        "%2e%2e",
        "\0",
        "Content-Disposition: form-data",
        "Content-Type: multipart/mixed; boundary=c",
        ":",
        "{",
        "../",
        "\u{ff0e}",
    ]);
    let put = prop_oneof![
        token.prop_map(|token| token.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
        Just(vec![]),
    ];
    (any::<prop::sample::Index>(), 0..12_usize, put).prop_map(|(at, cut, put)| Change { at, cut, put })
}

/// JSON that may be broken.
fn document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1e999".to_owned()),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        ".{0,6}".prop_map(|text| serde_json::Value::from(text).to_string()),
        Just("\"\\ud800\"".to_owned()),
    ];
    let json = leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![Just("user_id".to_owned()), Just("resource_class".to_owned()), "\\PC{0,4}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key, inner), 0..4).prop_map(|members| {
                let members =
                    members.into_iter().map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    });
    (json, any::<prop::sample::Index>(), prop::option::weighted(0.2, "[\\{\\}\\[\\],:\"\\\\a]")).prop_map(
        |(json, at, put)| {
            let at = json.char_indices().nth(at.index(json.chars().count().max(1))).map_or(0, |(at, _)| at);
            put.map_or(json.clone(), |put| format!("{}{put}{}", &json[..at], &json[at..]))
        },
    )
}

#[test]
fn no_form_breaks_the_server() {
    let (runtime, board, alice, _) = bench();
    let whole =
        form(&[good(), text("metadata", "{\"a\": [1]}"), text("entrypoint", "main.py"), file(b"x.zip", b"PK\x05\x06")]);
    let done = runner(200).run(&prop::collection::vec(change(), 1..5), |changes| {
        let mut body = whole.clone();
        for Change { at, cut, put } in changes {
            let at = at.index(body.len() + 1);
            let end = (at + cut).min(body.len());
            body.splice(at..end, put);
        }
        let before = uploads(&board);
        let answer = runtime.block_on(send_form(&alice, body));
        prop_assert!([201, 400, 413].contains(&answer.status), "{answer:?}");
        prop_assert_eq!(
            answer.status == 201,
            uploads(&board) != before,
            "what is refused leaves nothing: {:?}",
            answer
        );
        Ok(())
    });
    done.unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(runtime.block_on(alice.get("/health/ready")).status, 200);
}

#[test]
fn no_metadata_no_config_and_no_name_break_the_server() {
    let (runtime, _board, alice, job) = bench();
    let submission = runtime.block_on(alice.get(&format!("/jobs/{job}/status"))).body["submission_id"].clone();
    let submission = submission.as_str().expect("an id").to_owned();
    let names = prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"./\\%\0\n\"".to_vec())], 0..12);
    let done = runner(80).run(&(document(), names), |(document, name)| {
        runtime.block_on(async {
            let metadata = send_form(&alice, form(&[good(), text("metadata", &document)])).await;
            prop_assert!([201, 400, 413].contains(&metadata.status), "{metadata:?}");
            if let Some(id) = metadata.body["submission_id"].as_str() {
                // As text: it has the client's numbers as they were written, which not every reader takes.
                let shown = alice.request(Method::GET, &format!("/submissions/{id}")).send().await.expect("an answer");
                prop_assert_eq!(shown.status().as_u16(), 200, "{:?}", document);
                let shown = shown.text().await.expect("a body");
                prop_assert!(shown.contains("\"user_id\":\"alice\"") && !shown.contains("\"unreadable\""), "{shown}");
            }
            let body = format!("{{\"submission_id\":\"{submission}\",\"config\":{document}}}");
            let request = alice.request(Method::POST, "/jobs").header("content-type", "application/json");
            // A dry word at its end: none of these starts a job.
            let job = alice.send(request.body(body.replace("resource_class", "resource_klass") + "x")).await;
            prop_assert_eq!(job.status, 400, "{:?}", job);
            let request = alice.request(Method::POST, "/jobs").header("content-type", "application/json");
            let whole = alice.send(request.body(document.clone())).await;
            prop_assert_eq!(whole.status, 400, "{:?}", whole);
            let uploaded = send_form(&alice, form(&[good(), file(&[&name[..], b".py"].concat(), b"1")])).await;
            prop_assert!([201, 400].contains(&uploaded.status), "{uploaded:?}");
            Ok(())
        })
    });
    done.unwrap_or_else(|broken| panic!("{broken}"));
}

#[test]
fn no_header_and_no_query_break_the_server() {
    let (runtime, _board, alice, job) = bench();
    let stranger = http_client();
    let bytes = || prop::collection::vec(prop_oneof![32..127_u8, 128..=255_u8, Just(b'\t')], 0..24);
    let range = prop_oneof![
        "bytes=[0-9]{0,22}-[0-9]{0,22}".prop_map(String::into_bytes),
        "[a-zA-Z]{0,6}= ?[0-9,\\- ]{0,20}".prop_map(String::into_bytes),
        bytes(),
    ];
    let event = prop_oneof!["[0-9]{0,22}:?-?[0-9]{0,22}".prop_map(String::into_bytes), bytes()];
    let accept =
        prop_oneof!["(text/html|application/json|\\*/\\*|q=|;|,| ){0,8}".prop_map(String::into_bytes), bytes()];
    let query = "[a-z]{0,6}=?[%0-9a-fA-F&=+*]{0,16}";
    let done = runner(100).run(&(range, event, accept, bytes(), query), |(range, event, accept, token, query)| {
        runtime.block_on(async {
            let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).ok();
            for (path, name, bytes) in [
                (format!("/jobs/{job}/artifacts/metrics.json"), "range", &range),
                (format!("/jobs/{job}/artifacts/metrics.json"), "if-none-match", &token),
                (format!("/jobs/{job}/stream"), "last-event-id", &event),
                (format!("/jobs/{job}/logs/stream"), "last-event-id", &event),
                ("/".to_owned(), "accept", &accept),
                ("/me".to_owned(), "traceparent", &token),
                (format!("/jobs?{query}"), "idempotency-key", &token),
                (format!("/leaderboard?{query}"), "accept", &accept),
            ] {
                let Some(value) = value(bytes) else { continue };
                let answer = alice.request(Method::GET, &path).header(name, value).send().await.expect("an answer");
                prop_assert!(answer.status().as_u16() < 500, "{path} {name} {bytes:?}: {}", answer.status());
            }
            if let Some(token) = value(&[b"Bearer ", &token[..]].concat()) {
                let answer = stranger
                    .get(format!("{}/me", alice.server()))
                    .header("authorization", token)
                    .send()
                    .await
                    .expect("an answer");
                prop_assert_eq!(answer.status().as_u16(), 401);
            }
            Ok(())
        })
    });
    done.unwrap_or_else(|broken| panic!("{broken}"));
}

//! A request that is sent again, by whoever, wherever and however often, has done what one request does.

use std::collections::BTreeSet;

use leadersboard_tests::client::{Answer, Client, files};
use leadersboard_tests::invariants::{Expect, check};
use projections::Keyspace;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::INSTANT;
use super::limits::{Pair, uploads};

const CROWD: usize = 50;

async fn post(client: &Client, key: &str, body: &Value) -> Answer {
    client.send(client.request(Method::POST, "/jobs").header("Idempotency-Key", key).json(body)).await
}

async fn upload(client: &Client, key: &str, form: Form) -> Answer {
    client.send(client.request(Method::POST, "/submissions").header("Idempotency-Key", key).multipart(form)).await
}

fn form() -> Form {
    files(&[("main.py", INSTANT), ("config.yaml", "seed: 1\n")])
}

/// The one answer that all of these are.
fn one(answers: Vec<Answer>) -> Answer {
    let first = answers.first().expect("some").clone();
    for answer in answers {
        assert_eq!(answer, first);
    }
    first
}

#[tokio::test]
async fn one_key_makes_one_job_and_one_submission_however_many_ask_at_once() {
    // Room for one alone: neither may the others' tries be counted.
    let pair = Pair::start(&[("MAX_SUBMISSIONS_PER_HOUR", "1"), ("MAX_UPLOADS_PER_HOUR", "1")]).await;
    let uploaded = (0..CROWD).map(async |number| upload(&pair.alice[number % 2], "k", form()).await);
    let uploaded = one(futures::future::join_all(uploaded).await);
    assert_eq!((uploaded.status, &uploaded.body["user_id"]), (201, &json!("alice")), "{uploaded:?}");
    let submission = uploaded.body["submission_id"].as_str().expect("an id").to_owned();
    assert_eq!(uploads(&pair.roles), [submission.as_str()], "the folders that are there");

    let body = json!({ "submission_id": submission });
    let accepted = (0..CROWD).map(async |number| post(&pair.alice[number % 2], "k2", &body).await);
    let accepted = one(futures::future::join_all(accepted).await);
    assert_eq!((accepted.status, &accepted.body["status"]), (202, &json!("pending")), "{accepted:?}");
    // The limits are reached by now; other keys find that out.
    for client in &pair.alice {
        assert_eq!(post(client, "k2", &body).await, accepted);
        assert_eq!(upload(client, "k", form()).await, uploaded);
        assert_eq!(post(client, "k3", &body).await.status, 429);
        assert_eq!(upload(client, "k3", form()).await.status, 429);
    }
    let folded = check(&pair.roles.redis.url(), &Keyspace::default(), Expect::SomeOpen).await;
    assert_eq!((folded.jobs.len(), folded.submissions.len()), (1, 1));
    assert_eq!(uploads(&pair.roles), [submission]);
}

#[tokio::test]
async fn a_key_stands_for_what_it_was_first_used_for() {
    let pair = Pair::start(&[]).await;
    let [alice, other] = &pair.alice;
    let [first, second] = [alice.submit(INSTANT).await, alice.submit(INSTANT).await];
    let job =
        post(alice, "k", &json!({ "submission_id": first, "config": { "a": 1, "b": { "c": 2, "d": [3] } } })).await;
    assert_eq!(job.status, 202, "{job:?}");
    // The same, written in another way.
    let text = format!(r#"{{"config" : {{ "b":{{"d":[3],"c":2}},"a":1 }}, "submission_id":"{first}"}}"#);
    let again = other.request(Method::POST, "/jobs").header("idempotency-key", "k");
    let again = other.send(again.header("content-type", "application/json").body(text)).await;
    assert_eq!(again, job);
    for body in [
        json!({ "submission_id": second, "config": { "a": 1, "b": { "c": 2, "d": [3] } } }),
        json!({ "submission_id": first, "config": { "a": 2, "b": { "c": 2, "d": [3] } } }),
        json!({ "submission_id": first }),
    ] {
        let conflict = post(other, "k", &body).await;
        assert_eq!((conflict.status, &conflict.body["code"]), (409, &json!("conflict")), "{conflict:?}");
    }
    // No config and an empty one are one thing.
    let bare = post(alice, "bare", &json!({ "submission_id": first })).await;
    assert_eq!(post(other, "bare", &json!({ "submission_id": first, "config": {} })).await, bare);

    let part = |content: &str, name: &str| Part::text(content.to_owned()).file_name(name.to_owned());
    let sent = form().text("metadata", r#"{"a": 1, "b": 2}"#).text("entrypoint", "main.py");
    let sent = upload(alice, "u", sent).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    let turned = Form::new().text("metadata", r#"{"b":2,"a":1}"#).part("files", part("seed: 1\n", "config.yaml"));
    assert_eq!(upload(other, "u", turned.part("files", part(INSTANT, "main.py"))).await, sent);
    let before = uploads(&pair.roles);
    for changed in [
        form(),
        form().text("metadata", r#"{"a": 1, "b": 3}"#),
        files(&[("main.py", INSTANT), ("config.yaml", "seed: 2\n")]).text("metadata", r#"{"a": 1, "b": 2}"#),
    ] {
        let conflict = upload(other, "u", changed).await;
        assert_eq!((conflict.status, &conflict.body["code"]), (409, &json!("conflict")), "{conflict:?}");
    }
    // A key is of one call alone, too.
    assert_eq!(upload(alice, "k", form()).await.status, 409);
    assert_eq!(uploads(&pair.roles), before, "what was refused is gone");

    // Everybody's keys are their own.
    let bob = pair.bob();
    let theirs = upload(&bob, "u", form()).await;
    assert_eq!(theirs.status, 201, "{theirs:?}");
    let theirs = post(&bob, "k", &json!({ "submission_id": theirs.body["submission_id"] })).await;
    assert!(theirs.status == 202 && theirs.body["job_id"] != job.body["job_id"], "{theirs:?}");
    check(&pair.roles.redis.url(), &Keyspace::default(), Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_refused_request_has_not_used_its_key() {
    let pair = Pair::start(&[("MAX_QUEUED_PER_USER", "1"), ("MAX_UPLOADS_PER_HOUR", "2")]).await;
    let [alice, other] = &pair.alice;
    let bad = upload(alice, "u", files(&[("main.py", INSTANT)])).await;
    assert_eq!(bad.status, 400, "{bad:?}");
    let uploaded = upload(other, "u", form()).await;
    assert_eq!(uploaded.status, 201, "{uploaded:?}");
    let submission = uploaded.body["submission_id"].clone();

    let unknown = post(alice, "k", &json!({ "submission_id": "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5" })).await;
    let class = post(alice, "k", &json!({ "submission_id": submission, "config": { "resource_class": "huge" } })).await;
    assert_eq!((unknown.status, class.status), (404, 400), "{unknown:?} {class:?}");
    let body = json!({ "submission_id": submission });
    let first = post(other, "k", &body).await;
    assert_eq!(first.status, 202, "{first:?}");
    let medium = json!({ "submission_id": submission, "config": { "resource_class": "medium" } });
    let limited = post(alice, "k2", &medium).await;
    assert_eq!((limited.status, &limited.body["code"]), (429, &json!("queued")), "{limited:?}");
    let path = format!("/jobs/{}/cancel", first.body["job_id"].as_str().expect("an id"));
    assert_eq!(alice.post(&path, &json!({})).await.status, 202);
    let second = post(other, "k2", &medium).await;
    assert_eq!(second.status, 202, "{second:?}");
    // The first answer again, whatever became of the job since, and whatever would be answered to another.
    assert_eq!(post(alice, "k", &body).await, first);
    let set =
        pair.roles.command(&["policy", "set", "--resource-classes", "tiny=5s", "--force"]).env("USER", "root").output();
    assert!(set.as_ref().is_ok_and(|set| set.status.success()), "{set:?}");
    let (_api, late) = pair.roles.api_with("late", &[]);
    assert_eq!(post(&late, "k3", &medium).await.status, 400);
    assert_eq!(post(&late, "k2", &medium).await, second);
    assert_eq!(BTreeSet::from([&first, &second].map(|job| job.body["job_id"].to_string())).len(), 2);
    check(&pair.roles.redis.url(), &Keyspace::default(), Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let pair = Pair::start(&[]).await;
    let [alice, _] = &pair.alice;
    let submission = alice.submit(INSTANT).await;
    let body = json!({ "submission_id": submission });
    for bad in ["", "ä", &"x".repeat(256)] {
        for answer in [post(alice, bad, &body).await, upload(alice, bad, form()).await] {
            assert_eq!(answer.status, 400, "{bad:?}: {answer:?}");
            assert!(answer.detail().contains("Idempotency-Key"), "{answer:?}");
        }
    }
    let twice = alice.request(Method::POST, "/jobs").header("Idempotency-Key", "a").header("Idempotency-Key", "b");
    assert_eq!(alice.send(twice.json(&body)).await.status, 400);
    assert_eq!(post(alice, &"x".repeat(255), &body).await.status, 202);
}

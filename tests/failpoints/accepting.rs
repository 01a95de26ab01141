//! The steps of an API that takes work in.

use std::time::Duration;

use leadersboard_tests::client::{Client, files};
use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use serde_json::{Value, json};

use crate::{Fault, flawless, met, steps, wake};

/// What a client does, over an API that may answer nothing or an error. Whatever it is told to be accepted is.
async fn client(alice: &Client) -> Option<()> {
    let form = files(&[("main.py", INSTANT), ("config.yaml", "seed: 1\n")]);
    let uploaded = answered(alice.request(reqwest::Method::POST, "/submissions").multipart(form)).await?;
    let wish = json!({ "submission_id": uploaded["submission_id"] });
    let accepted = answered(alice.request(reqwest::Method::POST, "/jobs").json(&wish)).await?;
    let id = accepted["job_id"].as_str()?.to_owned();
    answered(alice.request(reqwest::Method::POST, &format!("/jobs/{id}/cancel"))).await.map(drop)
}

/// The body of an answer that says yes.
async fn answered(request: reqwest::RequestBuilder) -> Option<Value> {
    let answer = request.timeout(Duration::from_secs(5)).send().await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

async fn world(step: &str, fault: Fault) {
    let roles = Roles::new().await;
    let (api, well) = roles.api();
    drop(api);
    let (sick, alice) = roles.api_with("faulty", &[("FAILPOINTS", &fault.at(step))]);
    let (_, ()) = tokio::join!(client(&alice), met(&roles, "faulty", step));
    wake(&sick);
    drop(well);
    // The same client goes on with an API that is well.
    let (_api, alice) = roles.api_with("well", &[]);
    client(&alice).await.expect("everything is accepted");
    let _worker = roles.worker("one", roles.lease);
    flawless(&roles).await;
}

steps! {
    world:
    before_a_submission_is_taken_in = "commit.submission.created.before",
    after_a_submission_is_taken_in = "commit.submission.created.after",
    before_a_job_is_accepted = "commit.job.enqueued.before",
    after_a_job_is_accepted = "commit.job.enqueued.after",
    before_a_cancel_is_taken_in = "commit.job.cancel_requested.before",
    after_a_cancel_is_taken_in = "commit.job.cancel_requested.after",
}

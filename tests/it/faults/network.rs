//! A network between the roles and Redis that is cut, silent, or slow.

use std::time::Duration;

use leadersboard_tests::proxy::Proxy;
use leadersboard_tests::roles::Roles;
use serde_json::json;

use super::{INSTANT, all_ended, assert_undisturbed, begun, crew, load};

#[tokio::test]
async fn connections_cut_again_and_again_under_load_cost_nothing() {
    let mut roles = Roles::behind_a_network().await;
    roles.lease = "30s";
    let (_api, alice) = roles.api();
    let _crew = crew(&roles);
    let submission = alice.submit(INSTANT).await;
    let (accepted, ()) = tokio::join!(load(&alice, &submission), async {
        for runs in [1, 4, 7, 10, 13, 16] {
            begun(&roles, runs).await;
            roles.network().cut();
        }
    });
    assert_undisturbed(&roles, &all_ended(&roles).await, &accepted);
}

#[tokio::test]
async fn connections_that_fall_silent_are_given_up_and_opened_anew() {
    let mut roles = Roles::behind_a_network().await;
    roles.lease = "30s";
    let (_api, alice) = roles.api();
    let _crew = crew(&roles);
    let submission = alice.submit(INSTANT).await;
    let (accepted, ()) = tokio::join!(load(&alice, &submission), async {
        begun(&roles, 4).await;
        roles.network().silence();
    });
    assert_undisturbed(&roles, &all_ended(&roles).await, &accepted);
}

#[tokio::test]
async fn over_a_line_of_four_seconds_there_and_back_workers_run_jobs_once() {
    let mut roles = Roles::new().await;
    roles.lease = "20s";
    let (_api, alice) = roles.api();
    roles.network = Some(Proxy::before(&roles.redis.socket()));
    let _crew = crew(&roles);
    let submission = alice.submit(INSTANT).await;
    let first = alice.enqueue(&submission, json!({})).await;
    alice.wait_for(&first, "completed").await;
    roles.network().delay(Duration::from_secs(2));
    // What was open is opened anew over the slow line.
    roles.network().cut();
    let mut jobs = vec![first];
    for _ in 0..3 {
        jobs.push(alice.enqueue(&submission, json!({})).await);
    }
    let jobs: Vec<_> = jobs.iter().map(|job| job.parse().expect("an id")).collect();
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}

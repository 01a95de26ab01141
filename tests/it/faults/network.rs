//! A network between the roles and Redis that is cut, silent, or slow.

use std::time::Duration;

use leadersboard_tests::roles::Roles;

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
async fn over_a_line_of_four_seconds_there_and_back_jobs_end_once() {
    let mut roles = Roles::behind_a_network().await;
    roles.lease = "20s";
    let (_api, alice) = roles.api();
    let _crew = crew(&roles);
    let submission = alice.submit(INSTANT).await;
    roles.network().delay(Duration::from_secs(2));
    let jobs = [(); 4].map(|()| alice.enqueue(&submission, serde_json::json!({})));
    let jobs = futures::future::join_all(jobs).await;
    let jobs: Vec<_> = jobs.iter().map(|job| job.parse().expect("an id")).collect();
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}

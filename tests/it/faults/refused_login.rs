//! A Redis that is there and can't be used: it refuses the login, or something else answers in its place.

use leadersboard_tests::board::Process;
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::gated;
use leadersboard_tests::redis_server::cut_all_others;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{until, until_equal};
use redis::aio::MultiplexedConnection;
use serde_json::json;

use super::{INSTANT, RECOVERY, all_ended, assert_undisturbed};

/// Waits until the API says that it is not ready, for a reason with these words.
async fn unready(api: &Client, words: &str) {
    until(&format!("not ready: {words}"), RECOVERY, async || {
        let answer = api.get("/health/ready").await;
        (answer.status == 503 && answer.detail().contains(words)).then_some(())
    })
    .await;
    assert_eq!(api.get("/health/live").await.status, 200);
}

async fn ready(api: &Client) {
    until_equal("ready", RECOVERY, 200, async || api.get("/health/ready").await.status).await;
}

#[tokio::test]
async fn whatever_answers_in_the_place_of_redis_is_waited_out_and_named() {
    const IMPOSTORS: [(&[u8], &str); 8] = [
        (b"HTTP/1.1 400 Bad Request\r\nserver: unknown\r\n\r\n", "what answers is not a Redis"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "what answers is not a Redis"),
        (b"", "Redis is away"),
        (b"-NOAUTH Authentication required.\r\n", "Redis refuses the login"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "Redis is still loading"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "a replica without its primary"),
        (b"-READONLY You can't write against a read only replica.\r\n", "a read-only replica"),
        (b"*2\r\n$5\r\nslave\r\n$1\r\n0\r\n", "a read-only replica"),
    ];
    let mut roles = Roles::behind_a_network().await;
    roles.lease = "2m";
    let (_api, alice) = roles.api();
    let mut worker = roles.worker_command("one", roles.lease);
    worker.env("WORKER_SLOTS", "2");
    let _worker = Process::spawn(worker);
    let gate = roles.gate("gate");
    let mut jobs = vec![alice.run(&gated(&gate)).await];
    alice.wait_for(&jobs[0], "running").await;
    let submission = alice.submit(INSTANT).await;
    for (impostor, words) in IMPOSTORS {
        roles.network().put_in_its_place(impostor);
        unready(&alice, words).await;
        let tries = roles.network().accepted();
        until("it is tried again", RECOVERY, async || (roles.network().accepted() > tries + 2).then_some(())).await;
        roles.network().put_back();
        ready(&alice).await;
    }
    jobs.push(alice.enqueue(&submission, json!({})).await);
    alice.wait_for(&jobs[1], "completed").await;
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&jobs[0], "completed").await;
    let jobs: Vec<_> = jobs.iter().map(|job| job.parse().expect("an id")).collect();
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}

#[tokio::test]
async fn a_password_that_is_changed_and_changed_back_costs_nothing() {
    let mut roles = Roles::new().await;
    roles.lease = "2m";
    roles.migrate(&[]);
    let mut redis = roles.redis.connection().await;
    set_password(&mut redis, "hunter2").await;
    let url = format!("{}?pass=hunter2", roles.redis.url());
    let (_api, alice) = roles.api_with("api", &[("REDIS_URL", &url)]);
    let mut worker = roles.worker_command("one", roles.lease);
    worker.env("REDIS_URL", &url);
    let _worker = Process::spawn(worker);
    let mut jobs = vec![alice.run(INSTANT).await];
    alice.wait_for(&jobs[0], "completed").await;
    for (password, words) in [("another", "WRONGPASS"), ("", "Redis has no password, and one was given")] {
        set_password(&mut redis, password).await;
        cut_all_others(&mut redis).await;
        unready(&alice, words).await;
        let told = async || roles.words("one").contains(words).then_some(());
        until("the worker tells why", RECOVERY, told).await;
        set_password(&mut redis, "hunter2").await;
        ready(&alice).await;
        jobs.push(alice.run(INSTANT).await);
        alice.wait_for(&jobs[jobs.len() - 1], "completed").await;
    }
    for role in ["api", "one"] {
        assert!(roles.words(role).contains("WRONGPASS") && !roles.words(role).contains("hunter2"), "the log of {role}");
    }
    set_password(&mut redis, "").await;
    let jobs: Vec<_> = jobs.iter().map(|job| job.parse().expect("an id")).collect();
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}

async fn set_password(redis: &mut MultiplexedConnection, password: &str) {
    let mut set = redis::cmd("CONFIG");
    let _: () = set.arg(&["SET", "requirepass", password]).query_async(redis).await.expect("it is set");
}

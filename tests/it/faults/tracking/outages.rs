//! An `MLflow` that is away, broken, slow, or forgets what it answered for.

use std::time::Duration;

use leadersboard_tests::board::Process;
use leadersboard_tests::http_faults::{Call, Fault};
use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::tracked::{PATIENCE, recorded, settled};
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Site, UNDISTURBED, all_ended};

/// A job completes during a fault, and is recorded when that is over.
async fn outlives(fault: Fault) {
    let site = Site::new().await;
    let network = site.network();
    network.set(fault.clone()).await;
    let _worker = site.worker("worker", &network);
    let job = site.run().await;
    let shown = site.alice.wait_for(&job, "completed").await;
    // Where what the lost answer was about is there, and no further one is lost, it may be recorded by now.
    if !matches!(fault, Fault::LoseAnswer(Call::Create | Call::LogBatch)) {
        assert_eq!(shown["tracking"], "waiting", "{shown}");
    }
    // Where nobody listens there is nothing to be seen.
    if fault != Fault::Down {
        until(&format!("{fault:?} was met"), PATIENCE, async || (network.struck() > 0).then_some(())).await;
    }
    network.heal().await;
    recorded(&site.alice, &job).await;
    site.assert_one_each(&[&network], std::slice::from_ref(&job)).await;
    let folded = all_ended(&site.roles).await;
    let story = &folded.stories[&job.parse().expect("an id")];
    assert_eq!(story[..3], UNDISTURBED);
    assert_eq!(story[3..], ["job.tracked"], "once");
}

/// One test a fault.
macro_rules! outlived {
    ($($test:ident = $fault:expr),+ $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            outlives($fault).await;
        })+
    };
}

outlived! {
    an_mlflow_that_is_down = Fault::Down,
    an_mlflow_that_answers_500 = Fault::Broken,
    an_mlflow_that_refuses_our_host = Fault::HostCheck,
    an_mlflow_that_is_locked = Fault::Locked("Bearer nobodys".to_owned()),
    an_mlflow_that_takes_half_a_minute = Fault::Slow(Duration::from_secs(30)),
    a_creation_that_comes_through_long_after = Fault::Late(Call::Create, Duration::from_secs(15)),
    an_end_that_comes_through_long_after = Fault::Late(Call::Update, Duration::from_secs(15)),
    files_that_are_cut_off = Fault::CutFiles(100_000),
    data_dropped_behind_a_good_answer = Fault::Swallow(Call::LogBatch),
    files_dropped_behind_a_good_answer = Fault::Swallow(Call::PutFile),
    a_run_left_open_behind_a_good_answer = Fault::Swallow(Call::Update),
    a_creation_whose_answer_is_lost = Fault::LoseAnswer(Call::Create),
    data_whose_answer_is_lost = Fault::LoseAnswer(Call::LogBatch),
    a_file_whose_answer_is_lost = Fault::LoseAnswer(Call::PutFile),
    an_end_whose_answer_is_lost = Fault::LoseAnswer(Call::Update),
}

#[tokio::test]
async fn while_it_is_down_jobs_end_and_say_so_and_all_are_recorded_afterwards() {
    const JOBS: usize = 50;
    let site = Site::new().await;
    let network = site.network();
    network.set(Fault::Down).await;
    let mut worker = site.worker_command("worker", &network);
    let _worker = Process::spawn({
        worker.env("WORKER_SLOTS", "4");
        worker
    });
    let submission = site.alice.submit(INSTANT).await;
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(site.alice.enqueue(&submission, json!({})).await);
    }
    for job in &jobs {
        let shown = site.alice.wait_for(job, "completed").await;
        assert_eq!(shown["tracking"], "waiting");
        let results = site.alice.get(&format!("/jobs/{job}/results")).await;
        assert_eq!((results.status, &results.body["run_id"]), (200, &Value::Null));
    }
    network.heal().await;
    for job in &jobs {
        recorded(&site.alice, job).await;
    }
    settled(&site.mlflow, JOBS, "FINISHED").await;
    let read = site.mlflow.read_back().await;
    for job in &jobs {
        read.only_of(job).assert_holds(&json!({ "params": { "lr": 0.1 }, "metrics": { "auc": 0.5 } }));
    }
    all_ended(&site.roles).await;
}

#[tokio::test]
async fn files_that_take_longer_than_a_job_may_wait_go_on_afterwards() {
    let site = Site::new().await;
    let network = site.network();
    // Time enough for the run on a busy machine, and none for its files.
    network.set(Fault::Late(Call::PutFile, Duration::from_secs(10))).await;
    let mut worker = site.worker_command("worker", &network);
    worker.env("TRACKING_BUDGET", "8s");
    let _worker = Process::spawn(worker);
    let job = site.run().await;
    let shown = site.alice.wait_for(&job, "completed").await;
    assert_eq!(shown["tracking"], "waiting", "{shown}");
    let results = site.alice.get(&format!("/jobs/{job}/results")).await.body;
    assert_eq!(results["run_id"], shown["run_id"]);
    assert!(shown["run_id"].is_string(), "its link is there already: {shown}");
    network.heal().await;
    recorded(&site.alice, &job).await;
    site.assert_one_each(&[&network], std::slice::from_ref(&job)).await;
    all_ended(&site.roles).await;
}

#[tokio::test]
async fn what_waits_outlives_every_worker() {
    let site = Site::new().await;
    let network = site.network();
    network.set(Fault::Down).await;
    let mut first = site.worker("first", &network);
    let job = site.run().await;
    site.alice.wait_for(&job, "completed").await;
    first.signal(Signal::SIGTERM);
    first.wait();
    let second = site.worker("second", &network);
    let another = site.run().await;
    site.alice.wait_for(&another, "completed").await;
    drop(second);
    network.heal().await;
    let _third = site.worker("third", &network);
    for job in [&job, &another] {
        recorded(&site.alice, job).await;
    }
    site.assert_one_each(&[&network], &[job, another]).await;
    all_ended(&site.roles).await;
}

#[tokio::test]
async fn a_run_whose_files_are_out_of_sight_says_why_and_keeps_no_other() {
    let site = Site::new().await;
    let network = site.network();
    network.set(Fault::Down).await;
    let _worker = site.worker("worker", &network);
    let job = site.run().await;
    site.alice.wait_for(&job, "completed").await;
    until("why it waits", PATIENCE, async || {
        let shown = site.alice.get(&format!("/jobs/{job}")).await.body;
        shown["tracking_error"].as_str().is_some_and(|why| why.contains("did not answer")).then_some(())
    })
    .await;

    let kept = site.roles.data.path().join("artifacts").join(&job);
    let aside = site.roles.data.path().join("aside");
    std::fs::rename(&kept, &aside).expect("its files are moved away");
    network.heal().await;
    until("its own reason", PATIENCE, async || {
        let why = site.alice.get(&format!("/jobs/{job}")).await.body["tracking_error"].clone();
        why.as_str().is_some_and(|why| why.contains("ARTIFACT_ROOT")).then_some(())
    })
    .await;
    let other = site.run().await;
    recorded(&site.alice, &other).await;
    std::fs::rename(&aside, &kept).expect("they are back");
    recorded(&site.alice, &job).await;
    site.assert_one_each(&[&network], &[job, other]).await;
    all_ended(&site.roles).await;
}

//! Workers that die, sleep, or lose their job while they speak to `MLflow`.

use std::time::Duration;

use events::JobState;
use leadersboard_tests::board::Process;
use leadersboard_tests::http_faults::Fault;
use leadersboard_tests::programs::gated;
use leadersboard_tests::tracked::{PATIENCE, assert_complete, little, recorded, reporting, settled};
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{BYTES, FILES, Site, all_ended};

#[tokio::test]
async fn a_job_that_took_three_workers_with_it_has_one_run_that_failed() {
    let site = Site::new().await;
    let network = site.network();
    let job = site.alice.run(&gated(&site.roles.gate("never"))).await;
    for name in ["one", "two", "three"] {
        let worker = site.worker(name, &network);
        site.alice.wait_for(&job, "running").await;
        worker.signal(Signal::SIGKILL);
        let _reaper = site.worker("reaper", &network);
        until("it is given up", PATIENCE, async || {
            let shown = site.alice.get(&format!("/jobs/{job}")).await.body;
            (shown["status"] != "running").then_some(())
        })
        .await;
    }
    let _well = site.worker("well", &network);
    site.alice.wait_for(&job, "failed").await;
    recorded(&site.alice, &job).await;
    settled(&site.mlflow, 1, "FAILED").await;
    let read = site.mlflow.read_back().await;
    assert_eq!(read.only().tags["leadersboard.failure_kind"], "worker_lost");
    assert_eq!(read.only().tags["leadersboard.attempt"], "3");
    all_ended(&site.roles).await;
}

#[tokio::test]
async fn a_worker_killed_at_any_moment_of_it_leaves_one_run() {
    // How many requests a worker has sent when it is killed: recording a run takes some fifteen.
    const MOMENTS: [u64; 10] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15];
    let site = Site::new().await;
    let mut victims = MOMENTS.map(|moment| {
        let network = site.network();
        let worker = site.worker(&format!("victim-{moment}"), &network);
        (moment, network, worker)
    });
    let submission = site.alice.submit(&reporting(&little(), FILES, BYTES)).await;
    let mut jobs = Vec::new();
    for _ in MOMENTS {
        jobs.push(site.alice.enqueue(&submission, json!({})).await);
    }
    until("all are killed", PATIENCE, async || {
        let is_idle =
            async |status: &str| site.alice.get(&format!("/jobs?status={status}")).await.body["jobs"] == json!([]);
        // One may have taken the job of another, who waits for one then.
        if is_idle("pending").await && is_idle("running").await {
            jobs.push(site.alice.enqueue(&submission, json!({})).await);
        }
        for (moment, network, worker) in &victims {
            if network.total() >= *moment {
                worker.signal(Signal::SIGKILL);
            }
        }
        victims.iter_mut().all(|(_, _, worker)| worker.has_ended()).then_some(())
    })
    .await;
    let network = site.network();
    let _well = site.worker("well", &network);
    for job in &jobs {
        recorded(&site.alice, job).await;
    }
    for (_, network, _) in &victims {
        until_equal("requests under way", PATIENCE, 0, async || network.under_way()).await;
    }
    let folded = all_ended(&site.roles).await;
    until_equal("open runs", PATIENCE, 0, async || {
        let runs = site.mlflow.runs().await;
        let active = runs.iter().filter(|run| run["info"]["lifecycle_stage"] == "active");
        active.filter(|run| run["info"]["status"] == "RUNNING").count()
    })
    .await;
    let read = site.mlflow.read_back().await;
    for job in &jobs {
        // One that met three victims was given up.
        match folded.jobs[&job.parse().expect("an id")].state {
            JobState::Completed(_) => drop(assert_complete(&read, &site.alice, job, &little()).await),
            _ => assert_eq!(read.only_of(job).tags["leadersboard.failure_kind"], "worker_lost"),
        }
    }
    assert_eq!(read.active().count(), jobs.len());
}

#[tokio::test]
async fn a_worker_that_slept_past_its_lease_leaves_no_run() {
    let site = Site::new().await;
    let [sleepers, others] = [(); 2].map(|()| site.network());
    // So slowly that there is time to fall asleep with the run open.
    sleepers.set(Fault::Slow(Duration::from_millis(300))).await;
    let sleeper = site.worker("sleeper", &sleepers);
    let job = site.run().await;
    until("its run is open", PATIENCE, async || (site.mlflow.runs().await.len() == 1).then_some(())).await;
    sleeper.signal(Signal::SIGSTOP);
    let _other = site.worker("other", &others);
    site.alice.wait_for(&job, "completed").await;
    sleeper.signal(Signal::SIGCONT);
    recorded(&site.alice, &job).await;
    site.assert_one_each(&[&sleepers, &others], std::slice::from_ref(&job)).await;
    let folded = all_ended(&site.roles).await;
    let story = &folded.stories[&job.parse().expect("an id")];
    assert_eq!(story.iter().filter(|kind| **kind == "job.completed").count(), 1, "{story:?}");
}

#[tokio::test]
async fn a_job_that_is_cancelled_by_force_while_its_run_is_recorded_has_the_run_of_that_end() {
    let site = Site::new().await;
    let network = site.network();
    network.set(Fault::Slow(Duration::from_millis(300))).await;
    let mut worker = site.worker_command("worker", &network);
    let _worker = Process::spawn({
        worker.env("TRACKING_BUDGET", "20s");
        worker
    });
    let job = site.run().await;
    until("its run is open", PATIENCE, async || (site.mlflow.runs().await.len() == 1).then_some(())).await;
    let cancelled = site.alice.post(&format!("/jobs/{job}/cancel"), &json!({ "force": true })).await;
    assert_eq!(cancelled.status, 202);
    site.alice.wait_for(&job, "cancelled").await;
    network.heal().await;
    recorded(&site.alice, &job).await;
    until_equal("requests under way", PATIENCE, 0, async || network.under_way()).await;
    settled(&site.mlflow, 1, "KILLED").await;
    let read = site.mlflow.read_back().await;
    read.only_of(&job).assert_holds(&json!({ "params": {}, "metrics": {} }));
    all_ended(&site.roles).await;
}

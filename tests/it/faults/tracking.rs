//! An `MLflow` that is away, broken, slow, or forgets what it answered for, and workers that die while they speak to
//! it. A job's end never waits long, and in the end there is exactly one complete run of it.

use std::process::Command;
use std::time::Duration;

use events::JobState;
use leadersboard_tests::board::Process;
use leadersboard_tests::client::Client;
use leadersboard_tests::http_faults::{Call, Fault, HttpFaults};
use leadersboard_tests::mlflow::Mlflow;
use leadersboard_tests::programs::{INSTANT, gated};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::tracked::{PATIENCE, assert_complete, environment, little, recorded, reporting, settled};
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{UNDISTURBED, all_ended};

/// The files of a job, and their size.
const FILES: usize = 3;
const BYTES: usize = 300_000;

/// Roles apart whose runs are recorded.
struct Site {
    mlflow: Mlflow,
    roles: Roles,
    _api: Process,
    alice: Client,
}

impl Site {
    async fn new() -> Self {
        let mlflow = Mlflow::shared().await;
        let roles = Roles::new().await;
        roles.migrate(&[]);
        let (api, alice) = roles.api_with("api", &[("MLFLOW_TRACKING_URI", mlflow.address())]);
        Self { mlflow, roles, _api: api, alice }
    }

    /// A network between workers and `MLflow`.
    fn network(&self) -> HttpFaults {
        HttpFaults::before(self.mlflow.address())
    }

    fn worker_command(&self, name: &str, network: &HttpFaults) -> Command {
        let mut worker = self.roles.worker_command(name, self.roles.lease);
        worker.envs(environment(&self.mlflow, &network.address())).env("TRACKING_BUDGET", "2s");
        worker
    }

    fn worker(&self, name: &str, network: &HttpFaults) -> Process {
        Process::spawn(self.worker_command(name, network))
    }

    async fn run(&self) -> String {
        self.alice.run(&reporting(&little(), FILES, BYTES)).await
    }

    /// There is exactly one complete run of each of these jobs and no other, once what was late has come and gone.
    async fn assert_one_each(&self, networks: &[&HttpFaults], jobs: &[String]) {
        for network in networks {
            until_equal("requests under way", PATIENCE, 0, async || network.under_way()).await;
        }
        settled(&self.mlflow, jobs.len(), "FINISHED").await;
        let read = self.mlflow.read_back().await;
        for job in jobs {
            assert_complete(&read, &self.alice, job, &little()).await;
        }
        assert_eq!(read.active().count(), jobs.len());
    }
}

/// A job completes during a fault, and is recorded when that is over.
async fn outlives(fault: Fault) {
    let site = Site::new().await;
    let network = site.network();
    network.set(fault.clone()).await;
    let _worker = site.worker("worker", &network);
    let job = site.run().await;
    let shown = site.alice.wait_for(&job, "completed").await;
    assert_eq!(shown["tracking"], "waiting", "{shown}");
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

#[tokio::test]
async fn a_run_whose_files_are_out_of_sight_says_why_and_keeps_no_other() {
    let site = Site::new().await;
    let network = site.network();
    network.set(Fault::Down).await;
    let _worker = site.worker("worker", &network);
    let job = site.run().await;
    site.alice.wait_for(&job, "completed").await;
    let shown = until("why it waits", PATIENCE, async || {
        let shown = site.alice.get(&format!("/jobs/{job}")).await.body;
        shown["tracking_error"].is_string().then_some(shown)
    })
    .await;
    assert!(shown["tracking_error"].as_str().is_some_and(|why| why.contains("did not answer")), "{shown}");

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

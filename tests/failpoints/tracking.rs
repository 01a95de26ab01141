//! The steps of recording a run: of each end there is one, complete, whatever becomes of whoever records it.

use leadersboard_tests::board::Process;
use leadersboard_tests::mlflow::Mlflow;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::tracked::{environment, recorded, reporting, settled};
use serde_json::{Value, json};

use crate::{Fault, flawless, met, steps, wake};

const FILES: usize = 2;
const BYTES: usize = 1_000;

/// Who meets the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum While {
    /// The worker of the job, before its end is recorded, and whoever goes through the ends that wait.
    InTime,
    /// Only whoever goes through the ends that wait.
    Afterwards,
}

async fn in_time(step: &str, fault: Fault) {
    world(step, fault, While::InTime).await;
}

async fn afterwards(step: &str, fault: Fault) {
    world(step, fault, While::Afterwards).await;
}

async fn world(step: &str, fault: Fault, when: While) {
    let mlflow = Mlflow::shared().await;
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let worker = |name: &str, failpoints: &str| {
        let mut worker = roles.worker_command(name, roles.lease);
        worker.envs(environment(&mlflow, mlflow.address())).env("FAILPOINTS", failpoints);
        if when == While::Afterwards {
            worker.env("TRACKING_BUDGET", "0s");
        }
        Process::spawn(worker)
    };
    let faulty = worker("faulty", &fault.at(step));
    let report = json!({ "params": { "lr": 0.5 }, "metrics": { "auc": 0.25, "f1": 0.75 } });
    let job = alice.run(&reporting(&report, FILES, BYTES)).await;
    met(&roles, "faulty", step).await;
    let well = (!fault.is_lived_through()).then(|| worker("well", ""));
    alice.wait_for(&job, "completed").await;
    if when == While::Afterwards {
        // By another, whose turn comes when the sleeper has slept for long. When that wakes it goes on where it was.
        recorded(&alice, &job).await;
    }
    wake(&faulty);
    recorded(&alice, &job).await;
    // What the sleeper went on with is over when it has recorded another job.
    if fault == Fault::Stop {
        drop(well);
    }
    let another = alice.run(&reporting(&report, FILES, BYTES)).await;
    alice.wait_for(&another, "completed").await;
    recorded(&alice, &another).await;
    settled(&mlflow, 2, "FINISHED").await;
    let folded = flawless(&roles).await;
    let story = &folded.stories[&job.parse().expect("an id")];
    assert_eq!(story.iter().filter(|kind| **kind == "job.tracked").count(), 1, "{step}, {fault:?}: {story:?}");

    let runs = mlflow.runs().await;
    let of_job = |run: &&Value| run["info"]["run_name"] == job.as_str() && run["info"]["lifecycle_stage"] == "active";
    let run = runs.iter().find(of_job).expect("a run");
    let pairs = |key: &str| {
        let pairs = run["data"][key].as_array().cloned().unwrap_or_default();
        pairs.into_iter().map(|pair| (pair["key"].clone(), pair["value"].clone())).collect::<Vec<_>>()
    };
    let sorted = |key: &str| {
        let mut pairs = pairs(key);
        pairs.sort_by_key(|(key, _)| key.to_string());
        pairs
    };
    assert_eq!(sorted("params"), [(json!("lr"), json!("0.5"))], "{step}, {fault:?}");
    let metrics = [(json!("auc"), json!(0.25)), (json!("f1"), json!(0.75))];
    assert_eq!(sorted("metrics"), metrics, "{step}, {fault:?}");
    let shown = alice.get(&format!("/jobs/{job}")).await.body;
    assert_eq!(shown["run_id"], run["info"]["run_id"], "{step}, {fault:?}");
    let files = mlflow.files(run["info"]["run_id"].as_str().expect("an id")).await;
    assert_eq!(files.len(), FILES + 2, "{step}, {fault:?}: {files:?}");
    assert_eq!(files["plots/0.bin"], BYTES as u64);
}

steps! {
    in_time:
    after_runs_are_searched = "mlflow.search.after",
    before_a_run_is_created = "mlflow.create.before",
    after_a_run_is_created = "mlflow.create.after",
    after_its_numbers_are_sent = "mlflow.batch.after",
    before_it_is_read_back = "mlflow.read_back.before",
    before_its_files_are_sent = "mlflow.upload.before",
    after_a_file_is_sent = "mlflow.put.after",
    before_the_end_of_its_job_is_recorded = "commit.job.completed.before",
    after_the_end_of_its_job_is_recorded = "commit.job.completed.after",
    before_it_is_closed = "mlflow.close.before",
    after_it_is_closed = "mlflow.close.after",
    before_it_is_noted = "commit.job.tracked.before",
    after_it_is_noted = "commit.job.tracked.after",
}

mod late {
    use super::{afterwards, steps};

    steps! {
        afterwards:
        after_runs_are_searched = "mlflow.search.after",
        before_a_run_is_created = "mlflow.create.before",
        after_a_run_is_created = "mlflow.create.after",
        after_its_numbers_are_sent = "mlflow.batch.after",
        before_it_is_read_back = "mlflow.read_back.before",
        before_its_files_are_sent = "mlflow.upload.before",
        after_a_file_is_sent = "mlflow.put.after",
        before_it_is_closed = "mlflow.close.before",
        after_it_is_closed = "mlflow.close.after",
        before_it_is_noted = "commit.job.tracked.before",
    }
}

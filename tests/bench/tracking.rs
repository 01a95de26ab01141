//! What `MLflow` costs a job: the time that a run adds while it is well and while it is away, and what is left to do
//! after an outage.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use leadersboard_tests::board::Process;
use leadersboard_tests::client::Client;
use leadersboard_tests::http_faults::{Fault, HttpFaults};
use leadersboard_tests::mlflow::{Mlflow, python, script};
use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::tracked::{environment, recorded, reporting};
use leadersboard_tests::wait::until_equal;
use projections::Keyspace;
use serde_json::{Map, Value, json};

use crate::statistics::median;

/// How many jobs each median is of.
const JOBS: usize = 10;
/// How many runs wait after the outage.
const UNTRACKED: usize = 1_000;
/// The budget while `MLflow` is away.
const BUDGET: &str = "10s";

const FILES: usize = 5;
const FILE_BYTES: usize = 1024 * 1024;

pub(crate) async fn print() {
    println!("\n## Tracking");
    added().await;
    while_away().await;
    drained().await;
}

/// Ten params and twenty metrics.
fn report() -> Value {
    let params: Map<String, Value> = (0..10).map(|number| (format!("param_{number}"), json!(number))).collect();
    let metrics: Map<String, Value> =
        (0..20).map(|number| (format!("metric_{number}"), json!(f64::from(number) / 7.0))).collect();
    json!({ "params": params, "metrics": metrics })
}

/// Workers whose runs go through this network.
struct Site {
    roles: Roles,
    _api: Process,
    alice: Client,
}

impl Site {
    async fn new() -> Self {
        let roles = Roles::new().await;
        roles.migrate(&[("LEASE", "30s")]);
        let (api, alice) = roles.api_with("api", &[]);
        Self { roles, _api: api, alice }
    }

    fn worker(&self, tracking: &[(&str, String)], slots: &str) -> Process {
        let mut worker = self.roles.worker_command("worker", "30s");
        worker.envs(tracking.iter().map(|(name, value)| (*name, value))).env("WORKER_SLOTS", slots);
        Process::spawn(worker)
    }

    /// The seconds of each of some jobs from its start to its end, and of those that are recorded to that.
    async fn seconds(&self, is_recorded: bool) -> (Vec<f64>, Vec<f64>) {
        let submission = self.alice.submit(&reporting(&report(), FILES, FILE_BYTES)).await;
        let (mut to_end, mut to_record) = (Vec::new(), Vec::new());
        for _ in 0..JOBS {
            let job = self.alice.enqueue(&submission, json!({})).await;
            let shown = self.alice.wait_for(&job, "completed").await;
            to_end.push(shown["run_seconds"].as_f64().expect("a number"));
            if is_recorded {
                let ended = Instant::now();
                recorded(&self.alice, &job).await;
                to_record.push(ended.elapsed().as_secs_f64());
            }
        }
        (to_end, to_record)
    }
}

async fn added() {
    let mlflow = Mlflow::shared().await;
    let without = {
        let site = Site::new().await;
        let _worker = site.worker(&[], "1");
        median(&site.seconds(false).await.0)
    };
    let site = Site::new().await;
    let _worker = site.worker(&environment(&mlflow, mlflow.address()), "1");
    let (with, to_record) = site.seconds(true).await;
    println!("a run of 10 params, 20 metrics and 5 files of 1 MiB, medians of {JOBS}");
    println!("  job without MLflow            {without:.3} s from start to end");
    println!("  job with MLflow               {:.3} s, so a run adds {:.3} s", median(&with), median(&with) - without);
    println!("  until its run is closed       {:.3} s more, for which nobody waits", median(&to_record));
    python_client(&mlflow);
}

/// The same run by `MLflow`'s own client.
fn python_client(mlflow: &Mlflow) {
    let folder = tempfile::tempdir().expect("a directory");
    let files = folder.path().join("files");
    std::fs::create_dir(&files).expect("a directory");
    for number in 0..FILES {
        let byte = u8::try_from(number).unwrap_or_default();
        std::fs::write(files.join(format!("{number}.bin")), vec![byte; FILE_BYTES]).expect("a file");
    }
    let metrics = folder.path().join("metrics.json");
    std::fs::write(&metrics, report().to_string()).expect("a file");
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..5 {
        let began = Instant::now();
        let mut record = std::process::Command::new(python());
        record.arg(script("record.py")).arg(mlflow.address()).arg(format!("{} by Python", mlflow.experiment()));
        let output = record.arg(&metrics).arg(&files).env("MLFLOW_DISABLE_TELEMETRY", "true").output();
        let output = output.expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let whole = began.elapsed().as_secs_f64();
        // The client prints a line or two of its own.
        let text = String::from_utf8_lossy(&output.stdout);
        let told: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).expect("JSON");
        let seconds = |key: &str| told[key].as_f64().expect("a number");
        for (figure, value) in figures.iter_mut().zip([seconds("import_seconds"), seconds("record_seconds"), whole]) {
            figure.push(value);
        }
    }
    let [import, record, whole] = figures.map(|figure| median(&figure));
    println!(
        "  the `mlflow` Python client    {record:.3} s, and {import:.3} s to import it ({whole:.3} s in all, median of 5)"
    );
}

async fn while_away() {
    println!("a job while MLflow is away, TRACKING_BUDGET={BUDGET}, from start to end");
    let mlflow = Mlflow::shared().await;
    for (what, fault) in [("nobody listens", Fault::Down), ("it is silent", Fault::Slow(Duration::from_mins(10)))] {
        let site = Site::new().await;
        let network = HttpFaults::before(mlflow.address());
        network.set(fault).await;
        let mut tracking = environment(&mlflow, &network.address());
        tracking.push(("TRACKING_BUDGET", BUDGET.to_owned()));
        let _worker = site.worker(&tracking, "1");
        let submission = site.alice.submit(INSTANT).await;
        let mut seconds = Vec::new();
        for _ in 0..2 {
            let job = site.alice.enqueue(&submission, json!({})).await;
            let shown = site.alice.wait_for(&job, "completed").await;
            seconds.push(shown["run_seconds"].as_f64().expect("a number"));
        }
        println!("  {what:<28}  {:.3} s the first, {:.3} s the next", seconds[0], seconds[1]);
    }
}

async fn drained() {
    let mlflow = Mlflow::shared().await;
    let site = Site::new().await;
    let network = HttpFaults::before(mlflow.address());
    network.set(Fault::Down).await;
    let _worker = site.worker(&environment(&mlflow, &network.address()), "4");
    let submission = site.alice.submit(INSTANT).await;
    for _ in 0..UNTRACKED {
        site.alice.enqueue(&submission, json!({})).await;
    }
    let (mut redis, keys) = (site.roles.redis.connection().await, Keyspace::default());
    let patience = Duration::from_mins(30);
    until_equal("open jobs", patience, 0, async || {
        redis::cmd("SCARD").arg(keys.open()).query_async::<u64>(&mut redis).await.expect("a count")
    })
    .await;
    network.heal().await;
    let healed = Instant::now();
    until_equal("untracked jobs", patience, 0, async || {
        redis::cmd("ZCARD").arg(keys.untracked()).query_async::<u64>(&mut redis).await.expect("a count")
    })
    .await;
    let seconds = healed.elapsed().as_secs_f64();
    let runs = mlflow.runs().await;
    let job = |run: &Value| {
        let tags = run["data"]["tags"].as_array().expect("tags").iter();
        let tag = tags.clone().find(|tag| tag["key"] == "leadersboard.job_id").expect("a tag");
        tag["value"].as_str().expect("a text").to_owned()
    };
    let active = runs.iter().filter(|run| run["info"]["lifecycle_stage"] == "active");
    let (count, jobs) = (active.clone().count(), active.map(job).collect::<BTreeSet<_>>().len());
    println!(
        "after an outage                 {UNTRACKED} runs in {seconds:.1} s ({:.1}/s), {} missing, {} duplicates, {} deleted",
        UNTRACKED as f64 / seconds,
        UNTRACKED - jobs,
        count - jobs,
        runs.len() - count
    );
}

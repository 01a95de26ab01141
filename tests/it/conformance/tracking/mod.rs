//! What a tracker is told is there, exactly and once, whatever it is asked again and whatever it does meanwhile.

mod exact;
mod files;
mod once;
mod refusals;

use std::sync::Arc;

use adapters::artifact_files::ArtifactFiles;
use adapters::ids::SystemIds;
use adapters::log_files::LogFiles;
use adapters::mlflow::{self, Auth, MlflowOptions};
use events::artifacts::{Artifact, ArtifactList};
use events::ports::{ArtifactPort, Ids, LogPort, RunEnd, RunRecord, RunStatus, TrackingPort};
use events::{Fence, JobId, Results, Timestamp};
use leadersboard_tests::client::http_client;
use leadersboard_tests::http_faults::HttpFaults;
use leadersboard_tests::mlflow::Mlflow;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An experiment of a test's own behind a network that can be bad, and what jobs left.
struct Site {
    mlflow: Mlflow,
    network: HttpFaults,
    artifacts: Arc<dyn ArtifactPort>,
    logs: Arc<dyn LogPort>,
    data: TempDir,
}

impl Site {
    async fn new() -> Self {
        // The client of the adapter is made by whoever has installed this.
        let _ = http_client();
        let mlflow = Mlflow::shared().await;
        let network = HttpFaults::before(mlflow.address());
        let data = tempfile::tempdir().expect("a directory");
        let artifacts = Arc::new(ArtifactFiles::open(data.path().join("artifacts")).expect("the root is made"));
        let logs = Arc::new(LogFiles::open(data.path().join("logs")).expect("the root is made"));
        Self { mlflow, network, artifacts, logs, data }
    }

    /// The adapter under test.
    fn port(&self) -> Arc<dyn TrackingPort> {
        self.port_with(|_| {})
    }

    /// The same with other options.
    fn port_with(&self, change: impl FnOnce(&mut MlflowOptions)) -> Arc<dyn TrackingPort> {
        let mut options = MlflowOptions {
            uri: self.network.address(),
            experiment: self.mlflow.experiment().to_owned(),
            board: "main".to_owned(),
            auth: Auth::None,
            ca: None,
            insecure_tls: false,
        };
        change(&mut options);
        let made = mlflow::Mlflow::new(options, Arc::clone(&self.artifacts), Arc::clone(&self.logs));
        Arc::new(made.expect("valid options"))
    }

    /// Publishes what a run left, and gives it a log.
    async fn leave(&self, job: JobId, fence: &Fence, files: &[(&str, &[u8])], log: &str) {
        let mut staged = self.artifacts.stage(job, fence).await.expect("staged");
        let mut list = ArtifactList::default();
        for (path, content) in files {
            let path = path.parse().expect("a path");
            staged.begin(&path).expect("begun");
            staged.write(content).expect("written");
            let stored = staged.finish().expect("finished");
            list.files.push(Artifact { path, bytes: stored.bytes, sha256: stored.sha256 });
        }
        staged.publish(list.to_json().into()).await.expect("published");
        let mut writer = self.logs.create(job, fence).await.expect("a log");
        writer.append(log.as_bytes()).await.expect("written");
    }

    /// The runs that are not deleted: id and status, in no order.
    async fn active(&self) -> Vec<(String, String)> {
        let runs = self.mlflow.runs().await;
        let active = runs.iter().filter(|run| run["info"]["lifecycle_stage"] == "active");
        let text = |run: &Value, key: &str| run["info"][key].as_str().expect("a text").to_owned();
        active.map(|run| (text(run, "run_id"), text(run, "status"))).collect()
    }

    /// A run as another process would have begun it.
    async fn begun_elsewhere(&self, record: &RunRecord, board: &str) -> String {
        let experiment = match self.mlflow.find_experiment().await {
            Some((experiment, _)) => experiment,
            None => self.mlflow.create_experiment().await,
        };
        let tag = |key: &str, value: String| json!({ "key": format!("leadersboard.{key}"), "value": value });
        let tags = [
            tag("job_id", record.job.to_string()),
            tag("fence", record.fence.to_string()),
            tag("board", board.to_owned()),
            tag("outcome", "completed".to_owned()),
        ];
        let run = json!({
            "experiment_id": experiment,
            "start_time": record.started_at.timestamp_millis(),
            "run_name": record.job.to_string(),
            "tags": tags,
        });
        let (status, made) = self.mlflow.post("runs/create", &run).await;
        assert_eq!(status, StatusCode::OK, "{made}");
        made["run"]["info"]["run_id"].as_str().expect("an id").to_owned()
    }

    /// Closes a run as its job's end would.
    async fn close_elsewhere(&self, run: &str) {
        let end = json!({ "run_id": run, "status": "FINISHED", "end_time": 2_000_000 });
        let (status, made) = self.mlflow.post("runs/update", &end).await;
        assert_eq!(status, StatusCode::OK, "{made}");
    }
}

/// A run that reported this.
fn record(metrics_json: &Value) -> RunRecord {
    let results = Results::from_metrics_json(metrics_json.to_string().as_bytes()).expect("valid results");
    RunRecord {
        job: SystemIds.job(),
        fence: SystemIds.fence(),
        attempt: 1,
        submission: SystemIds.submission(),
        user: "alice".parse().expect("a name"),
        entrypoint: "main.py".to_owned(),
        started_at: Timestamp::from_timestamp_millis(1_790_000_000_123).expect("a time"),
        worker: "w-1".parse().expect("a name"),
        gpus: vec!["GPU-1".to_owned(), "GPU-2".to_owned()],
        sandbox: "standard".to_owned(),
        outcome: RunStatus::Finished,
        results,
        artifacts: None,
        known: None,
    }
}

/// A run that reported little.
fn small() -> RunRecord {
    record(&json!({ "params": { "lr": 0.1 }, "metrics": { "auc": 0.5, "loss": 2 } }))
}

/// The end of a run.
fn end(status: RunStatus) -> RunEnd {
    let at = Timestamp::from_timestamp_millis(1_790_000_100_456).expect("a time");
    match status {
        RunStatus::Finished => RunEnd { status, at, kind: None, error: None },
        RunStatus::Failed => RunEnd {
            status,
            at,
            kind: Some("nonzero_exit"),
            error: Some("the program ended with exit code 3".to_owned()),
        },
        RunStatus::Killed => RunEnd { status, at, kind: None, error: Some("alice cancelled it".to_owned()) },
    }
}

//! Jobs whose runs `MLflow` is to have.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::mlflow::Mlflow;
use crate::read_back::{ReadBack, Run, sha256};
use crate::wait::{until, until_equal};

/// How long it may take until a run is recorded: a pause of the backlog, a request of half a minute, and a busy
/// machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What has workers record their runs in this test's experiment, on the server at this address.
#[must_use]
pub fn environment(mlflow: &Mlflow, address: &str) -> Vec<(&'static str, String)> {
    vec![
        ("MLFLOW_TRACKING_URI", address.to_owned()),
        ("MLFLOW_EXPERIMENT", mlflow.experiment().to_owned()),
        ("TRACKING_SWEEP_INTERVAL", "500ms".to_owned()),
    ]
}

/// A program that prints a line, leaves so many files of so many bytes, and reports this.
#[must_use]
pub fn reporting(metrics_json: &Value, files: usize, bytes: usize) -> String {
    let report = hex::encode(metrics_json.to_string());
    format!(
        "import os, sys\noutput = sys.argv[sys.argv.index('--output') + 1]\nprint('hello from the job')\n\
         os.makedirs(output + '/plots')\nfor number in range({files}):\n    \
         open(f'{{output}}/plots/{{number}}.bin', 'wb').write(bytes([number]) * {bytes})\n\
         open(output + '/metrics.json', 'wb').write(bytes.fromhex('{report}'))\n"
    )
}

/// Little to report.
#[must_use]
pub fn little() -> Value {
    json!({ "params": { "lr": 0.1, "top@1": "x" }, "metrics": { "auc": 0.1 + 0.2, "top@1": -0.0 }, "performance": { "energy_j": 3 } })
}

/// Waits until all runs of the experiment that are not deleted are these many, and all closed in this way.
///
/// # Panics
/// If they are not in time.
pub async fn settled(mlflow: &Mlflow, count: usize, status: &str) {
    let wanted = vec![status.to_owned(); count];
    until_equal("runs of the experiment", PATIENCE, wanted, async || {
        let runs = mlflow.runs().await;
        let active = runs.iter().filter(|run| run["info"]["lifecycle_stage"] == "active");
        active.map(|run| run["info"]["status"].as_str().expect("a status").to_owned()).collect::<Vec<_>>()
    })
    .await;
}

/// Waits until a job tells that the tracker has its run, and gives all of the job.
pub async fn recorded(client: &Client, job: &str) -> Value {
    until(&format!("the run of job {job} is recorded"), PATIENCE, async || {
        let shown = client.get(&format!("/jobs/{job}")).await.body;
        (shown["tracking"] == "recorded").then_some(shown)
    })
    .await
}

/// There is one run of this job, complete and closed as finished, with what it reported, its files and its log.
///
/// # Panics
/// If it is not so.
pub async fn assert_complete<'a>(read: &'a ReadBack, client: &Client, job: &str, metrics_json: &Value) -> &'a Run {
    let run = read.only_of(job);
    assert_eq!(run.status, "FINISHED");
    run.assert_holds(metrics_json);
    let listed = client.get(&format!("/jobs/{job}/artifacts")).await.body;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let files = listed["artifacts"].as_array().expect("a list").iter();
    let mut files: std::collections::BTreeMap<String, String> =
        files.map(|file| (text(&file["path"]), text(&file["sha256"]))).collect();
    let log = client.get(&format!("/jobs/{job}/logs")).await.body;
    files.insert("leadersboard/log.txt".to_owned(), sha256(log["logs"].as_str().expect("a text").as_bytes()));
    assert_eq!(run.files, files);
    let shown = client.get(&format!("/jobs/{job}")).await.body;
    assert_eq!((&shown["run_id"], &shown["tracking"]), (&json!(run.id), &json!("recorded")), "{shown}");
    run
}

/// Results at the limits of what `MLflow` takes, and beyond.
#[must_use]
pub fn limits() -> Value {
    let mut metrics: Map<String, Value> =
        (0..1_500).map(|number| (format!("m/{number:04}"), json!(f64::from(number) / 7.0))).collect();
    let odd = [
        ("top@1", 0.25),
        ("top_1", 0.75),
        ("top#1", 0.125),
        ("tiny", 1e-308),
        ("tiniest", 5e-324),
        ("largest", f64::MAX),
        ("minus zero", -0.0),
        ("-0@", -0.0),
        ("sum", 0.1 + 0.2),
        ("日本 é", 1.5),
        ("हिन्दी", 2.5),
        ("../up", 1.0),
        ("/root", 2.0),
        ("a//b", 3.0),
        ("a/b", 4.0),
        (".", 5.0),
        (" spaces ", 6.0),
        ("emoji 😀", 7.0),
        // A letter of Unicode 15, which the Python of this server does not know.
        ("\u{1e4d0}", 8.0),
    ];
    metrics.extend(odd.map(|(name, value)| (name.to_owned(), json!(value))));
    metrics.insert("n".repeat(250), json!(1));
    let params = json!({
        "long": "x".repeat(7_000),
        "exactly": "y".repeat(6_000),
        "one more": "z".repeat(6_001),
        "very long": "🦀é".repeat(12_000),
        "top@1": "a",
        "top_1": "b",
        "empty": "",
        "nul": "a\u{0}b",
        "lines": "a\nb\tc",
        "text": "日本 😀",
        "number": 0.1,
        "list": [1, "two", null, { "three": 3 }],
        "nothing": null,
        "true": true,
    });
    let performance = json!({ "energy j": 12.5, "gpu@peak": 3, "device": "H200", "minus": -0.0, "large": u64::MAX });
    json!({ "params": params, "metrics": metrics, "performance": performance })
}

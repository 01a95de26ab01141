//! `MLflow`'s requests and answers as strict types: what is of another type than it expects it answers with 200, and
//! drops the rest of the request.

use std::collections::BTreeMap;

use events::job::TrackedRun;
use serde::{Deserialize, Deserializer, Serialize};

use super::error::CallError;

/// The longest id of a run or an experiment, in bytes; MLflow's own have 32 at most.
const MAX_ID_BYTES: usize = 64;

/// A name and a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Pair<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

/// A name and a number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Metric<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: f64,
    pub(crate) timestamp: i64,
    pub(crate) step: i64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct LogBatch<'a> {
    pub(crate) run_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) metrics: Vec<Metric<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) params: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<Pair<'a>>,
}

#[derive(Serialize)]
pub(crate) struct CreateRun<'a> {
    pub(crate) experiment_id: &'a str,
    pub(crate) run_name: &'a str,
    pub(crate) start_time: i64,
    pub(crate) tags: Vec<Pair<'a>>,
}

#[derive(Serialize)]
pub(crate) struct UpdateRun<'a> {
    pub(crate) run_id: &'a str,
    pub(crate) status: &'a str,
    pub(crate) end_time: i64,
}

#[derive(Serialize)]
pub(crate) struct RunId<'a> {
    pub(crate) run_id: &'a str,
}

#[derive(Serialize)]
pub(crate) struct ExperimentName<'a> {
    pub(crate) name: &'a str,
}

#[derive(Serialize)]
pub(crate) struct ExperimentId<'a> {
    pub(crate) experiment_id: &'a str,
}

#[derive(Serialize)]
pub(crate) struct SearchExperiments {
    pub(crate) max_results: u32,
}

#[derive(Serialize)]
pub(crate) struct SearchRuns<'a> {
    pub(crate) experiment_ids: &'a [&'a str],
    pub(crate) filter: &'a str,
    pub(crate) run_view_type: &'static str,
    pub(crate) max_results: u32,
    pub(crate) order_by: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page_token: Option<&'a str>,
}

/// An answer of which nothing is of interest.
#[derive(Deserialize)]
pub(crate) struct Done {}

#[derive(Deserialize)]
pub(crate) struct ExperimentAnswer {
    pub(crate) experiment: Experiment,
}

#[derive(Deserialize)]
pub(crate) struct Experiment {
    pub(crate) experiment_id: String,
    pub(crate) lifecycle_stage: String,
}

#[derive(Deserialize)]
pub(crate) struct CreatedExperiment {
    pub(crate) experiment_id: String,
}

#[derive(Deserialize)]
pub(crate) struct RunAnswer {
    pub(crate) run: Run,
}

#[derive(Deserialize)]
pub(crate) struct UpdatedRun {
    pub(crate) run_info: RunInfo,
}

#[derive(Deserialize)]
pub(crate) struct RunsPage {
    #[serde(default)]
    pub(crate) runs: Vec<Run>,
    #[serde(default)]
    pub(crate) next_page_token: Option<String>,
}

/// A run as it is kept.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Run {
    pub(crate) info: RunInfo,
    #[serde(default)]
    pub(crate) data: RunData,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct RunInfo {
    pub(crate) run_id: String,
    #[serde(default)]
    pub(crate) experiment_id: String,
    #[serde(default)]
    pub(crate) run_name: String,
    pub(crate) status: String,
    #[serde(default, deserialize_with = "maybe_integer")]
    pub(crate) start_time: Option<i64>,
    #[serde(default, deserialize_with = "maybe_integer")]
    pub(crate) end_time: Option<i64>,
    #[serde(default)]
    pub(crate) artifact_uri: String,
    #[serde(default)]
    pub(crate) lifecycle_stage: String,
}

impl Run {
    /// As its job knows it. Its ids go into an event, so they have a bound.
    pub(crate) fn tracked(self) -> Result<TrackedRun, CallError> {
        let RunInfo { run_id, experiment_id, .. } = self.info;
        if run_id.len().max(experiment_id.len()) > MAX_ID_BYTES {
            return Err(CallError::refused(format!("MLflow gave a run an id of more than {MAX_ID_BYTES} bytes.")));
        }
        Ok(TrackedRun { run_id, experiment_id })
    }
}

impl RunInfo {
    /// Whether nobody deleted it.
    pub(crate) fn is_active(&self) -> bool {
        self.lifecycle_stage != "deleted"
    }

    /// Whether it has had no end so far. One that somebody took up again, to add to it, keeps the time of its end.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.status.as_str(), "FINISHED" | "FAILED" | "KILLED") && self.end_time.is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub(crate) struct RunData {
    /// The newest value of each.
    #[serde(default, deserialize_with = "metrics")]
    pub(crate) metrics: BTreeMap<String, f64>,
    #[serde(default, deserialize_with = "pairs")]
    pub(crate) params: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "pairs")]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(crate) struct FilesPage {
    #[serde(default)]
    pub(crate) files: Vec<FileInfo>,
    #[serde(default)]
    pub(crate) next_page_token: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct FileInfo {
    /// From the root of the run's files on.
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) is_dir: bool,
    #[serde(default, deserialize_with = "maybe_integer")]
    pub(crate) file_size: Option<i64>,
}

/// JSON has no integers of 64 bits for all who read it, so some servers write them as texts.
fn maybe_integer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Integer {
        Number(i64),
        Text(String),
    }
    Ok(match Option::<Integer>::deserialize(from)? {
        Some(Integer::Number(number)) => Some(number),
        Some(Integer::Text(text)) => text.parse().ok(),
        None => None,
    })
}

fn metrics<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
    #[derive(Deserialize)]
    struct Kept {
        key: String,
        value: Value,
    }
    /// Others may log a NaN to a run, for which JSON has no number.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Number(f64),
        Text(String),
    }
    let number = |value| match value {
        Value::Number(number) => number,
        Value::Text(text) => text.parse().unwrap_or(f64::NAN),
    };
    Ok(Vec::<Kept>::deserialize(from)?.into_iter().map(|kept| (kept.key, number(kept.value))).collect())
}

fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    struct Kept {
        key: String,
        #[serde(default)]
        value: String,
    }
    Ok(Vec::<Kept>::deserialize(from)?.into_iter().map(|kept| (kept.key, kept.value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_in_all_the_ways_in_which_servers_write_it() {
        let text = r#"{"info": {"run_id": "r", "status": "FINISHED", "start_time": "12", "end_time": 13, "new": 1},
            "data": {"metrics": [{"key": "a", "value": 5e-324}, {"key": "b", "value": 3}, {"key": "c", "value": "NaN"},
                                 {"key": "d", "value": 1.7976931348623157e+308}, {"key": "e", "value": 0.30000000000000004}],
                     "params": [{"key": "p", "value": "x"}, {"key": "empty"}]}}"#;
        let run: Run = serde_json::from_str(text).unwrap();
        assert_eq!((run.info.start_time, run.info.end_time), (Some(12), Some(13)));
        assert!(!run.info.is_open() && run.info.is_active());
        let bits = |name: &str| run.data.metrics[name].to_bits();
        assert_eq!([bits("a"), bits("b"), bits("d")], [5e-324, 3.0, f64::MAX].map(f64::to_bits));
        assert_eq!(bits("e"), 0.300_000_000_000_000_04_f64.to_bits());
        assert!(run.data.metrics["c"].is_nan());
        assert_eq!((run.data.params["p"].as_str(), run.data.params["empty"].as_str()), ("x", ""));
        let bare: Run = serde_json::from_str(r#"{"info": {"run_id": "r", "status": "FAILED"}}"#).unwrap();
        assert!(!bare.info.is_open() && bare.data.tags.is_empty());
        let is_open = |info: &str| serde_json::from_str::<RunInfo>(info).unwrap().is_open();
        assert!(is_open(r#"{"run_id": "r", "status": "RUNNING"}"#));
        assert!(!is_open(r#"{"run_id": "r", "status": "RUNNING", "end_time": 7}"#), "somebody adds to it");
    }

    #[test]
    fn no_number_goes_out_where_a_text_belongs() {
        let batch = LogBatch {
            run_id: "r",
            metrics: vec![Metric { key: "m", value: -0.0, timestamp: 1, step: 0 }],
            params: vec![Pair { key: "p", value: "3" }],
            tags: Vec::new(),
        };
        let text = r#"{"run_id":"r","metrics":[{"key":"m","value":-0.0,"timestamp":1,"step":0}],"params":[{"key":"p","value":"3"}]}"#;
        assert_eq!(serde_json::to_string(&batch).unwrap(), text);
    }
}

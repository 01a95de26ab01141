//! Runs as `MLflow`'s own Python client reads them, compared with what a job reported.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// An experiment.
#[derive(Debug)]
pub struct ReadBack {
    /// Its id; nothing if there is none.
    pub experiment_id: Option<String>,
    /// All its runs, deleted ones too.
    pub runs: Vec<Run>,
}

/// A run. Names are what its job called them, also where `MLflow` would not take them.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// `MLflow`'s id.
    pub id: String,
    /// The name people see.
    pub name: String,
    /// `RUNNING`, `FINISHED`, `FAILED` or `KILLED`.
    pub status: String,
    /// `active` or `deleted`.
    pub lifecycle: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// When it ended, likewise.
    pub end_ms: Option<i64>,
    /// The params.
    pub params: BTreeMap<String, String>,
    /// The metrics, by their bits, so that a zero has a sign.
    pub metrics: BTreeMap<String, u64>,
    /// How many points each metric of some of them has: one, if nothing was told twice.
    pub points: BTreeMap<String, u64>,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// The SHA-256 of each file.
    pub files: BTreeMap<String, String>,
}

impl ReadBack {
    /// What `read_back.py` printed.
    ///
    /// # Panics
    /// If something is missing.
    #[must_use]
    pub fn of(document: Value) -> Self {
        let runs = document["runs"].as_array().expect("runs").iter().map(Run::of).collect();
        Self { experiment_id: document["experiment_id"].as_str().map(str::to_owned), runs }
    }

    /// The runs that were not deleted.
    pub fn active(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.lifecycle == "active")
    }

    /// The only run of a job that was not deleted.
    ///
    /// # Panics
    /// If there is another number of them.
    #[must_use]
    pub fn only_of(&self, job: &str) -> &Run {
        let of_job: Vec<_> = self.active().filter(|run| run.tags["leadersboard.job_id"] == job).collect();
        let [run] = of_job[..] else { panic!("{} runs of {job} instead of one: {of_job:#?}", of_job.len()) };
        run
    }

    /// The only run that was not deleted.
    ///
    /// # Panics
    /// If there is another number of them.
    #[must_use]
    pub fn only(&self) -> &Run {
        let active: Vec<_> = self.active().collect();
        let [run] = active[..] else { panic!("{} runs instead of one: {active:#?}", active.len()) };
        run
    }
}

impl Run {
    fn of(run: &Value) -> Self {
        let text = |key: &str| run[key].as_str().unwrap_or_else(|| panic!("{key} of {run}")).to_owned();
        let bits = |metric: &Value| u64::from_str_radix(metric["bits"].as_str().expect("bits"), 16).expect("bits");
        let string = |value: &Value| value.as_str().expect("a text").to_owned();
        Self {
            id: text("run_id"),
            name: text("name"),
            status: text("status"),
            lifecycle: text("lifecycle"),
            start_ms: run["start_time"].as_i64().expect("a time"),
            end_ms: run["end_time"].as_i64(),
            params: map(&run["params"], string),
            metrics: map(&run["metrics"], bits),
            points: map(&run["points"], |count| count.as_u64().expect("a count")),
            tags: map(&run["tags"], string),
            files: map(&run["artifacts"], |file| string(&file["sha256"])),
        }
    }

    /// It has the params, metrics and figures of this `metrics.json`, exactly, no others, and each metric once.
    ///
    /// # Panics
    /// If it is not so.
    pub fn assert_holds(&self, metrics_json: &Value) {
        let section = |key: &str| metrics_json[key].as_object().cloned().unwrap_or_default();
        let mut params: BTreeMap<String, String> = texts(&section("params"), "");
        let mut metrics: BTreeMap<String, u64> = numbers(&section("metrics"), "");
        let (figures, words): (Map<_, _>, Map<_, _>) =
            section("performance").into_iter().partition(|(_, value)| value.is_number());
        metrics.extend(numbers(&figures, "system/"));
        params.extend(texts(&words, "system/"));
        assert_same("params", &self.params, &params);
        assert_same("metrics", &self.metrics, &metrics);
        for (name, count) in &self.points {
            assert_eq!(*count, 1, "points of {name}");
        }
    }
}

/// The digest by which files are told.
#[must_use]
pub fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn assert_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &BTreeMap<String, T>, wanted: &BTreeMap<String, T>) {
    let missing: Vec<_> = wanted.iter().filter(|(name, value)| found.get(*name) != Some(value)).take(5).collect();
    let extra: Vec<_> = found.iter().filter(|(name, value)| wanted.get(*name) != Some(value)).take(5).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{what}: {missing:?} missing, {extra:?} instead");
}

fn texts(section: &Map<String, Value>, prefix: &str) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    section.iter().map(|(name, value)| (format!("{prefix}{name}"), text(value))).collect()
}

fn numbers(section: &Map<String, Value>, prefix: &str) -> BTreeMap<String, u64> {
    let bits = |value: &Value| value.as_f64().expect("a number").to_bits();
    section.iter().map(|(name, value)| (format!("{prefix}{name}"), bits(value))).collect()
}

fn map<T>(object: &Value, value: impl Fn(&Value) -> T) -> BTreeMap<String, T> {
    let object = object.as_object().expect("an object");
    object.iter().map(|(name, found)| (name.clone(), value(found))).collect()
}

//! What `MLflow` is to hold of a run, by the names and in the sizes that it takes, and what it holds instead.

use std::collections::BTreeMap;

use events::ports::{RunRecord, RunStatus};
use events::results::is_non_finite;
use serde_json::Value;

use super::batches::Missing;
use super::names::{KEYS, assign};
use super::originals::{MAX_PARAM_CHARS, Original, cut, pieces, tags};
use crate::mlflow::http::wire::Run;

/// What `MLflow` is to hold of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// What the run is called.
    pub(super) name: String,
    /// When it began, in milliseconds; also the time of its metrics.
    pub(super) started_ms: i64,
    /// By which it is found: they are there from its first moment on.
    pub(super) marks: BTreeMap<String, String>,
    /// All its tags.
    pub(super) tags: BTreeMap<String, String>,
    pub(super) params: BTreeMap<String, String>,
    pub(super) metrics: BTreeMap<String, f64>,
}

impl Wanted {
    /// A run of this board.
    pub(super) fn of(record: &RunRecord, board: &str) -> Self {
        let marks = marks(record, board);
        let mut wanted = Self {
            name: record.job.to_string(),
            started_ms: record.started_at.timestamp_millis().max(0),
            tags: marks.clone(),
            marks,
            params: BTreeMap::new(),
            metrics: BTreeMap::new(),
        };
        wanted.add_metrics(record);
        wanted.add_params(record);
        wanted
    }

    fn add_metrics(&mut self, record: &RunRecord) {
        let mut found: Vec<(String, f64, Option<String>)> = Vec::new();
        for (name, value) in &record.results.metrics {
            found.push((name.clone(), *value, (value.to_bits() == (-0.0_f64).to_bits()).then(|| "-0.0".to_owned())));
        }
        for (name, value) in &record.results.performance {
            if let Some(number) = number(value) {
                found.push((system(name), number, (!is_exact(value, number)).then(|| value.to_string())));
            }
        }
        let mut originals = BTreeMap::new();
        let given: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        let names = assign(&given, &KEYS);
        for (name, (given, number, value)) in names.into_iter().zip(found) {
            let original = Original { name: (given != name).then_some(given), value, ..Original::default() };
            if !original.is_none() {
                originals.insert(name.clone(), original);
            }
            self.metrics.insert(name, number);
        }
        self.tags.extend(tags("metrics", &originals));
    }

    fn add_params(&mut self, record: &RunRecord) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let params = record.results.params.iter().map(|(name, value)| (name.clone(), text(value)));
        // What is no number and no text either is not for a tracker.
        let is_text = |value: &Value| number(value).is_none() && !is_non_finite(value);
        let others = record.results.performance.iter().filter(|(_, value)| is_text(value));
        let found: Vec<(String, String)> =
            params.chain(others.map(|(name, value)| (system(name), text(value)))).collect();
        let mut originals = BTreeMap::new();
        let given: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let names = assign(&given, &KEYS);
        let mut texts = 0;
        for (name, (given, text)) in names.into_iter().zip(found) {
            let mut original = Original { name: (given != name).then_some(given), ..Original::default() };
            let value = self.shorten(text, &mut original, &mut texts);
            if !original.is_none() {
                originals.insert(name.clone(), original);
            }
            self.params.insert(name, value);
        }
        self.tags.extend(tags("params", &originals));
    }

    /// A param's value as far as `MLflow` keeps it; what it doesn't goes to tags.
    fn shorten(&mut self, text: String, original: &mut Original, texts: &mut usize) -> String {
        let (head, tail) = cut(&text, MAX_PARAM_CHARS);
        let has_nul = text.contains('\0');
        if tail.is_empty() && !has_nul {
            return text;
        }
        *texts += 1;
        let place = format!("leadersboard.rest.{texts}");
        if has_nul {
            // Not every database that MLflow may have takes it.
            self.tags.extend(pieces(&place, &Value::from(text.as_str()).to_string()));
            original.json = Some(place);
            return head.replace('\0', "\u{fffd}");
        }
        self.tags.extend(pieces(&place, tail));
        original.rest = Some(place);
        head.to_owned()
    }

    /// What a run lacks.
    pub(super) fn missing(&self, run: &Run) -> Missing<'_> {
        fn lacking<'a, T>(
            wanted: &'a BTreeMap<String, T>,
            kept: &BTreeMap<String, T>,
            same: fn(&T, &T) -> bool,
        ) -> Vec<(&'a str, &'a T)> {
            let lacks = |(name, value): &(&String, &T)| !kept.get(*name).is_some_and(|kept| same(value, kept));
            wanted.iter().filter(lacks).map(|(name, value)| (name.as_str(), value)).collect()
        }
        Missing {
            timestamp: self.started_ms,
            tags: lacking(&self.tags, &run.data.tags, String::eq),
            params: lacking(&self.params, &run.data.params, String::eq),
            metrics: lacking(&self.metrics, &run.data.metrics, |wanted, kept| is_same(*wanted, *kept)),
        }
    }

    /// The first thing that an open run holds otherwise, in a few words.
    pub(super) fn difference(&self, run: &Run) -> Option<String> {
        let missing = self.missing(run);
        if let Some((name, value)) = missing.metrics.first() {
            return Some(format!("metric {name:?} is {:?} and not {value:?}", run.data.metrics.get(*name)));
        }
        if let Some((name, value)) = missing.params.first() {
            return Some(format!(
                "param {name:?} is {} and not {:?}",
                shown(run.data.params.get(*name)),
                cut(value, 40).0
            ));
        }
        if let Some((name, value)) = missing.tags.first() {
            return Some(format!("tag {name:?} is {} and not {:?}", shown(run.data.tags.get(*name)), cut(value, 40).0));
        }
        if !run.info.is_active() {
            return Some("it was deleted".to_owned());
        }
        if run.info.start_time != Some(self.started_ms) {
            return Some(format!("its start is {:?} and not {}", run.info.start_time, self.started_ms));
        }
        if run.info.run_name != self.name {
            return Some(format!("its name is {:?}", cut(&run.info.run_name, 40).0));
        }
        None
    }

    /// Whether a run holds what can't be changed any more: no params, no second value of a metric at the same time.
    pub(super) fn is_beyond_repair(&self, run: &Run) -> bool {
        let missing = self.missing(run);
        missing.metrics.iter().any(|(name, _)| run.data.metrics.contains_key(*name))
            || missing.params.iter().any(|(name, _)| run.data.params.contains_key(*name))
            || run.info.start_time != Some(self.started_ms)
            || run.info.run_name != self.name
    }
}

fn marks(record: &RunRecord, board: &str) -> BTreeMap<String, String> {
    let mut marks = BTreeMap::from([
        ("leadersboard.job_id", record.job.to_string()),
        ("leadersboard.submission_id", record.submission.to_string()),
        ("leadersboard.user", record.user.to_string()),
        ("leadersboard.fence", record.fence.to_string()),
        ("leadersboard.board", board.to_owned()),
        ("leadersboard.entrypoint", record.entrypoint.clone()),
        ("leadersboard.attempt", record.attempt.to_string()),
        ("leadersboard.worker", record.worker.to_string()),
        ("leadersboard.sandbox", record.sandbox.clone()),
        ("leadersboard.outcome", outcome(record.outcome).to_owned()),
        ("mlflow.user", record.user.to_string()),
        ("mlflow.source.name", record.entrypoint.clone()),
        ("mlflow.source.type", "JOB".to_owned()),
    ]);
    if !record.gpus.is_empty() {
        marks.insert("leadersboard.gpus", record.gpus.join(","));
    }
    let cut =
        |(name, value): (&str, String)| (name.to_owned(), cut(&value, super::originals::MAX_TAG_CHARS).0.to_owned());
    marks.into_iter().map(cut).collect()
}

/// The end that a run tells of, from its first moment on.
pub(super) const fn outcome(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Finished => "completed",
        RunStatus::Failed => "failed",
        RunStatus::Killed => "cancelled",
    }
}

fn system(name: &str) -> String {
    format!("system/{name}")
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

/// Whether a metric tells the number as it was: integers above 2^53 and the sign of nothing it does not.
fn is_exact(value: &Value, number: f64) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "an i128 holds what was an integer of 64 bits")]
    let same = |integer: i128| number as i128 == integer;
    match (value.as_u64(), value.as_i64()) {
        (Some(integer), _) => same(integer.into()),
        (None, Some(integer)) => same(integer.into()),
        (None, None) => number.to_bits() != (-0.0_f64).to_bits(),
    }
}

/// To the last bit, but for a sign of zero, which not every database keeps.
fn is_same(wanted: f64, kept: f64) -> bool {
    wanted.to_bits() == kept.to_bits() || (wanted == 0.0 && kept == 0.0)
}

fn shown(kept: Option<&String>) -> String {
    kept.map_or_else(|| "missing".to_owned(), |kept| format!("{:?}", cut(kept, 40).0))
}

#[cfg(test)]
mod tests;

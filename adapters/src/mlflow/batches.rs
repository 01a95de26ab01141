//! What a run lacks, in requests that are within all of `MLflow`'s limits.

use crate::mlflow::http::wire::{LogBatch, Metric, Pair};

/// The most metrics, and the most of everything, in one request.
const MAX_METRICS: usize = 1000;
/// The most params, and the most tags.
const MAX_PAIRS: usize = 100;
/// The most bytes: a tenth below what `MLflow` takes.
const MAX_BYTES: usize = 900_000;

/// What a run lacks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Missing<'a> {
    /// The time of all metrics: the same at every try, so that none is there twice.
    pub(super) timestamp: i64,
    pub(super) tags: Vec<(&'a str, &'a String)>,
    pub(super) params: Vec<(&'a str, &'a String)>,
    pub(super) metrics: Vec<(&'a str, &'a f64)>,
}

impl<'a> Missing<'a> {
    /// In requests.
    pub(super) fn batches<'b>(&self, run_id: &'b str) -> Vec<LogBatch<'b>>
    where
        'a: 'b,
    {
        let mut packer =
            Packer { run_id, full: Vec::new(), batch: LogBatch { run_id, ..LogBatch::default() }, bytes: 0 };
        for &(key, value) in &self.tags {
            packer.room(json_bytes(key) + json_bytes(value), |batch| batch.tags.len() < MAX_PAIRS);
            packer.batch.tags.push(Pair { key, value });
        }
        for &(key, value) in &self.params {
            packer.room(json_bytes(key) + json_bytes(value), |batch| batch.params.len() < MAX_PAIRS);
            packer.batch.params.push(Pair { key, value });
        }
        for &(key, &value) in &self.metrics {
            packer.room(json_bytes(key), |_| true);
            packer.batch.metrics.push(Metric { key, value, timestamp: self.timestamp, step: 0 });
        }
        packer.flush();
        packer.full
    }
}

struct Packer<'b> {
    run_id: &'b str,
    full: Vec<LogBatch<'b>>,
    batch: LogBatch<'b>,
    bytes: usize,
}

impl<'b> Packer<'b> {
    /// Makes room for one more of so many bytes beside its field names and numbers.
    fn room(&mut self, bytes: usize, fits: impl Fn(&LogBatch<'b>) -> bool) {
        /// `{"key":,"value":,"timestamp":,"step":0},` and the longest numbers.
        const FRAME: usize = 96;
        let count = self.batch.tags.len() + self.batch.params.len() + self.batch.metrics.len();
        if count >= MAX_METRICS || self.bytes + bytes + FRAME > MAX_BYTES || !fits(&self.batch) {
            self.flush();
        }
        self.bytes += bytes + FRAME;
    }

    fn flush(&mut self) {
        let empty = LogBatch { run_id: self.run_id, ..LogBatch::default() };
        let batch = std::mem::replace(&mut self.batch, empty);
        self.bytes = 0;
        if batch != (LogBatch { run_id: self.run_id, ..LogBatch::default() }) {
            self.full.push(batch);
        }
    }
}

/// How long a text is as JSON, at most: a control character takes six bytes.
fn json_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            0..=31 => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        })
        .sum::<usize>()
        + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_sent_once_and_no_request_is_too_large() {
        let names: Vec<String> = (0..2500).map(|number| format!("name {number}")).collect();
        let long = "\u{1}\"é😀".repeat(1500);
        let missing = Missing {
            timestamp: i64::MAX,
            tags: names[..250].iter().map(|name| (name.as_str(), &long)).collect(),
            params: names[..250].iter().map(|name| (name.as_str(), &long)).collect(),
            metrics: names.iter().map(|name| (name.as_str(), &f64::MIN_POSITIVE)).collect(),
        };
        let batches = missing.batches("r");
        for batch in &batches {
            assert!(batch.tags.len() <= 100 && batch.params.len() <= 100);
            assert!(batch.tags.len() + batch.params.len() + batch.metrics.len() <= 1000);
            assert!(serde_json::to_string(batch).unwrap().len() < 1_000_000);
        }
        let sent: Vec<&str> = batches.iter().flat_map(|batch| batch.metrics.iter().map(|metric| metric.key)).collect();
        assert_eq!(sent, names);
        assert_eq!(batches.iter().map(|batch| batch.params.len()).sum::<usize>(), 250);
        assert_eq!(batches.iter().map(|batch| batch.tags.len()).sum::<usize>(), 250);
    }

    #[test]
    fn a_small_run_is_one_request_and_a_complete_one_none() {
        let value = "v".to_owned();
        let mut missing = Missing {
            timestamp: 1,
            tags: vec![("t", &value)],
            params: vec![("p", &value)],
            metrics: vec![("m", &0.5)],
        };
        assert_eq!(missing.batches("r").len(), 1);
        missing.tags.clear();
        missing.params.clear();
        missing.metrics.clear();
        assert!(missing.batches("r").is_empty());
    }
}

//! The read model of results, kept apart from the status that every poll reads.

use std::collections::{BTreeMap, HashMap};

use events::ports::FoundResults;
use events::{JobId, Results, json};
use serde::de::DeserializeOwned;

use crate::Keyspace;
use crate::fields::Fields;
use crate::patch::Patch;

/// The patch that records the results of a completed job.
///
/// # Panics
/// Never: string keys and finite numbers always serialise.
#[must_use]
pub fn record(keys: &Keyspace, id: JobId, results: &Results) -> Patch {
    let json = |value: serde_json::Result<String>| value.expect("string keys and finite numbers always serialise");
    Patch::SetFields {
        key: keys.result(id),
        fields: vec![
            ("params", json(serde_json::to_string(&results.params))),
            ("metrics", json(serde_json::to_string(&results.metrics))),
            ("performance", json(serde_json::to_string(&results.performance))),
        ],
    }
}

/// Reads results back from their hash, each part by itself; none from an empty one.
#[must_use]
pub fn read(key: &str, hash: &HashMap<String, String>) -> Option<FoundResults> {
    if hash.is_empty() {
        return None;
    }
    let fields = Fields::new(key, hash);
    let mut unreadable = BTreeMap::new();
    Some(FoundResults {
        params: part(&fields, "params", &mut unreadable),
        metrics: part(&fields, "metrics", &mut unreadable),
        performance: part(&fields, "performance", &mut unreadable),
        unreadable,
    })
}

/// Results of which nothing can be read.
#[must_use]
pub fn unreadable(why: &str) -> FoundResults {
    let all = ["params", "metrics", "performance"].map(|name| (name, why.to_owned()));
    FoundResults { unreadable: all.into(), ..FoundResults::default() }
}

fn part<T: DeserializeOwned>(
    fields: &Fields<'_>,
    name: &'static str,
    unreadable: &mut BTreeMap<&'static str, String>,
) -> Option<T> {
    let read = fields.text(name).and_then(|text| {
        serde_json::from_str(text)
            .map_err(|error| fields.unreadable(format!("{name} is not as it must be: {}", json::problem(&error))))
    });
    read.map_err(|error| unreadable.insert(name, error.problem)).ok()
}

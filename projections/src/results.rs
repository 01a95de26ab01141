//! The read model of results, kept apart from the status that every poll reads.

use std::collections::HashMap;

use events::{JobId, Results};

use crate::Keyspace;
use crate::fields::{Fields, Unreadable};
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

/// Reads results back from their hash; none from an empty one.
///
/// # Errors
/// Which field does not hold what [`record`] writes.
pub fn read(key: &str, hash: &HashMap<String, String>) -> Result<Option<Results>, Unreadable> {
    if hash.is_empty() {
        return Ok(None);
    }
    let fields = Fields::new(key, hash);
    let bad = |error: serde_json::Error| fields.unreadable(error.to_string());
    Ok(Some(Results {
        params: serde_json::from_str(fields.text("params")?).map_err(bad)?,
        metrics: serde_json::from_str(fields.text("metrics")?).map_err(bad)?,
        performance: serde_json::from_str(fields.text("performance")?).map_err(bad)?,
    }))
}

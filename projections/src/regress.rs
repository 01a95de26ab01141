//! The read model of what happened to the log itself.

use std::collections::{BTreeMap, HashMap};

use events::Envelope;
use events::log::regress::{LogEvent, LogRecord, evolve};

use crate::Keyspace;
use crate::fields::{Fields, Unreadable, VERSION};
use crate::patch::{Patch, View, diff};

/// The run id of the Redis process that came back without a part of the log.
const RUN_ID: &str = "run_id";

/// The record as a Redis key.
#[must_use]
pub fn view(keys: &Keyspace, record: &LogRecord) -> View {
    let fields = BTreeMap::from([(VERSION, record.version.to_string()), (RUN_ID, record.run_id.clone())]);
    View { key: keys.regress(), fields, ..View::default() }
}

/// Reads the record back from its hash; none from an empty one.
///
/// # Errors
/// Which field does not hold what [`view`] writes.
pub fn read(key: &str, hash: &HashMap<String, String>) -> Result<Option<LogRecord>, Unreadable> {
    if hash.is_empty() {
        return Ok(None);
    }
    let fields = Fields::new(key, hash);
    Ok(Some(LogRecord { version: fields.get(VERSION)?, run_id: fields.get(RUN_ID)? }))
}

/// What a new event of the log itself does to its read model.
#[must_use]
pub fn project(keys: &Keyspace, before: Option<&LogRecord>, event: &Envelope<LogEvent>) -> Vec<Patch> {
    let before = before.map(|record| view(keys, record));
    diff(before.as_ref(), Some(&view(keys, &evolve(event))))
}

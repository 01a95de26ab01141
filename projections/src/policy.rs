//! The read model of the policy.

use std::collections::{BTreeMap, HashMap};

use events::Envelope;
use events::policy::{PolicyEvent, PolicyRecord, evolve};

use crate::Keyspace;
use crate::fields::{Fields, Unreadable, VERSION};
use crate::patch::{Patch, View, diff};

/// The settings, as one document.
const SETTINGS: &str = "settings";

/// The policy as a Redis key.
///
/// # Panics
/// Never: settings always serialise.
#[must_use]
pub fn view(keys: &Keyspace, record: &PolicyRecord) -> View {
    let settings = serde_json::to_string(&record.settings).expect("numbers and names always serialise");
    let fields = BTreeMap::from([(VERSION, record.version.to_string()), (SETTINGS, settings)]);
    View { key: keys.policy(), fields, ..View::default() }
}

/// Reads the policy back from its hash; none from an empty one.
///
/// # Errors
/// Which field does not hold what [`view`] writes.
pub fn read(key: &str, hash: &HashMap<String, String>) -> Result<Option<PolicyRecord>, Unreadable> {
    if hash.is_empty() {
        return Ok(None);
    }
    let fields = Fields::new(key, hash);
    let settings = serde_json::from_str(fields.text(SETTINGS)?);
    let settings = settings
        .map_err(|error| fields.unreadable(format!("field {SETTINGS:?}: {}", events::json::problem(&error))))?;
    Ok(Some(PolicyRecord { version: fields.get(VERSION)?, settings }))
}

/// What a new event of the policy does to its read model.
#[must_use]
pub fn project(keys: &Keyspace, before: Option<&PolicyRecord>, event: &Envelope<PolicyEvent>) -> Vec<Patch> {
    let before = before.map(|record| view(keys, record));
    diff(before.as_ref(), Some(&view(keys, &evolve(event))))
}

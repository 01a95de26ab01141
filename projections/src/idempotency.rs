//! The record of what a request with an idempotency key led to.

use std::collections::HashMap;

use events::idempotency::KEPT;
use events::{AggregateId, Answered, Idempotency, Timestamp, UserId};

use crate::Keyspace;
use crate::fields::{Fields, Unreadable};
use crate::patch::Record;

/// The record that `made` was made at a time by a request of a user's.
#[must_use]
pub fn record(
    keys: &Keyspace,
    user: &UserId,
    idempotency: &Idempotency,
    made: AggregateId,
    at: Timestamp,
) -> (String, Record) {
    let fields = vec![("made", made.to_string()), ("body", idempotency.body_sha256.clone())];
    let expires_at_ms = (at + KEPT).timestamp_millis();
    (keys.idempotency(user, &idempotency.key_sha256), Record { fields, expires_at_ms })
}

/// Reads a record back from its hash; none from an empty one.
///
/// # Errors
/// Which field does not hold what [`record`] writes.
pub fn read(key: &str, hash: &HashMap<String, String>) -> Result<Option<Answered>, Unreadable> {
    if hash.is_empty() {
        return Ok(None);
    }
    let fields = Fields::new(key, hash);
    Ok(Some(Answered { made: fields.get("made")?, body_sha256: fields.get("body")? }))
}

/// An idempotency as one field of its aggregate's hash.
pub(crate) fn store(idempotency: &Idempotency) -> String {
    format!("{} {}", idempotency.key_sha256, idempotency.body_sha256)
}

/// Reads what [`store`] gave.
pub(crate) fn restore(fields: &Fields<'_>, field: &str) -> Result<Option<Idempotency>, Unreadable> {
    let Some(text) = fields.optional::<String>(field)? else {
        return Ok(None);
    };
    let parts =
        text.split_once(' ').ok_or_else(|| fields.unreadable(format!("field {field:?} holds something else")))?;
    Ok(Some(Idempotency { key_sha256: parts.0.to_owned(), body_sha256: parts.1.to_owned() }))
}

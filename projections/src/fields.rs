//! The names of the fields of the read models, and how their values are read back.

use std::collections::HashMap;
use std::str::FromStr;

use events::Timestamp;
use events::time::from_unix_micros;

/// The version of the aggregate. Every commit is guarded by it.
pub const VERSION: &str = "v";
/// The places of the aggregate's own events in the log, separated by spaces.
pub const EVENT_IDS: &str = "events";
/// The fence of the current run; there only while a job runs.
pub const FENCE: &str = "fence";
/// Whose it is.
pub const USER: &str = "user";
/// A total, in bytes.
pub const BYTES: &str = "bytes";
/// By what a repeated request is known.
pub(crate) const IDEMPOTENCY: &str = "idempotency";
/// Who asked for the job's end; there once somebody did.
pub const CANCEL_REQUESTED_BY: &str = "cancel_by";

/// A hash that does not hold what its projection writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the read model {key} can't be read: {problem}")]
pub struct Unreadable {
    /// The hash.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The fields of a hash as they were read.
#[derive(Debug)]
pub struct Fields<'a> {
    key: &'a str,
    map: &'a HashMap<String, String>,
}

impl<'a> Fields<'a> {
    /// The fields of the hash at `key`.
    #[must_use]
    pub const fn new(key: &'a str, map: &'a HashMap<String, String>) -> Self {
        Self { key, map }
    }

    /// An error about this hash.
    #[must_use]
    pub fn unreadable(&self, problem: impl Into<String>) -> Unreadable {
        Unreadable { key: self.key.to_owned(), problem: problem.into() }
    }

    /// A field that must be there, as text.
    pub fn text(&self, field: &str) -> Result<&'a str, Unreadable> {
        self.map.get(field).map(String::as_str).ok_or_else(|| self.unreadable(format!("field {field:?} is missing")))
    }

    /// A field that must be there, parsed.
    pub fn get<T: FromStr>(&self, field: &str) -> Result<T, Unreadable> {
        self.text(field)?.parse().map_err(|_| self.unreadable(format!("field {field:?} holds something else")))
    }

    /// A field that may be absent, parsed.
    pub fn optional<T: FromStr>(&self, field: &str) -> Result<Option<T>, Unreadable> {
        if self.map.contains_key(field) { self.get(field).map(Some) } else { Ok(None) }
    }

    /// A time that may be absent.
    pub fn optional_time(&self, field: &str) -> Result<Option<Timestamp>, Unreadable> {
        Ok(self.optional(field)?.map(from_unix_micros))
    }

    /// A time that must be there.
    pub fn time(&self, field: &str) -> Result<Timestamp, Unreadable> {
        self.get(field).map(from_unix_micros)
    }
}

/// A time as it is stored: microseconds since the Unix epoch.
#[must_use]
pub fn store_time(at: Timestamp) -> String {
    at.timestamp_micros().to_string()
}

//! Points in time, to the microsecond, in UTC.

use chrono::{DateTime, SecondsFormat, Utc};

/// A point in time as Redis's `TIME` gives it.
pub type Timestamp = DateTime<Utc>;

/// RFC 3339 in UTC with microseconds, the one form in which a time is stored or shown to a program.
#[must_use]
pub fn to_rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Reads a time back from RFC 3339.
///
/// # Errors
/// Whatever chrono finds wrong with the text.
pub fn from_rfc3339(text: &str) -> Result<Timestamp, chrono::ParseError> {
    DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Utc))
}

/// The time `micros` microseconds after the Unix epoch; the epoch itself where that can't be represented.
#[must_use]
pub fn from_unix_micros(micros: i64) -> Timestamp {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

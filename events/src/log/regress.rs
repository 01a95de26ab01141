//! What happens to the event log itself: that Redis came back without its newest part.

use serde::{Deserialize, Serialize};

use crate::log::envelope::Envelope;

/// The last time the log came back without its newest part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// How many times it did.
    pub version: u64,
    /// The run id of the Redis process that came back so.
    pub run_id: String,
}

/// What can happen to the log itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum LogEvent {
    /// An entry that a process had seen is gone, and whatever came after it.
    #[serde(rename = "log.regressed")]
    Regressed {
        /// The newest entry that the process had seen.
        lost_from: String,
        /// The run id of the Redis process that came back without it.
        run_id: String,
    },
}

impl LogEvent {
    /// The name under which it is stored.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Regressed { .. } => "log.regressed",
        }
    }
}

/// Folds one event into the record.
#[must_use]
pub fn evolve(envelope: &Envelope<LogEvent>) -> LogRecord {
    let LogEvent::Regressed { run_id, .. } = &envelope.event;
    LogRecord { version: envelope.seq, run_id: run_id.clone() }
}

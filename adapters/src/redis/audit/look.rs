//! Reading keys and the log at one moment, and writing only what the log has not overtaken.

use events::ports::{HistoryEntry, PortError};
use events::{AggregateId, StreamId};
use redis::{FromRedisValue, Script, Value};

use crate::redis::Redis;
use crate::redis::commit::wire::Words;
use crate::redis::connection::trouble::{WRONG_TYPE, away, unreadable};
use crate::redis::reads::entries::read_entries;

/// How many newer entries of the log one look may read.
const NEWER: usize = 2_000;

/// What was seen at one moment.
pub(super) struct Look {
    /// Redis's time in milliseconds since the Unix epoch, to the second.
    pub(super) now_ms: i64,
    /// What the log had had since it was read.
    pub(super) newer: Vec<HistoryEntry>,
    /// Whether that is all of it. If not, the log is to be read on before anything is compared.
    pub(super) complete: bool,
    /// One a read: its reply, or the text of its error.
    pub(super) replies: Vec<Result<Value, String>>,
}

impl Redis {
    pub(super) async fn look(&self, after: Option<StreamId>, reads: &[Words]) -> Result<Look, PortError> {
        let (seconds, newer, replies): (i64, Value, Vec<(u8, Value)>) = Script::new(include_str!("look.lua"))
            .key(self.keys().events())
            .arg(start(after))
            .arg(NEWER)
            .arg(pack(reads))
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        let newer = read_entries(&newer)?;
        let reply = |(kind, value): (u8, Value)| match kind {
            1 => Ok(value),
            _ => Err(in_words(read_value(&value).unwrap_or_default())),
        };
        Ok(Look {
            now_ms: seconds.saturating_mul(1_000),
            complete: newer.len() < NEWER,
            newer,
            replies: replies.into_iter().map(reply).collect(),
        })
    }

    /// Makes these writes of one aggregate's read models, unless it has had an event after `after`. Whether it did.
    pub(super) async fn restore(
        &self,
        after: Option<StreamId>,
        aggregate: AggregateId,
        writes: &[Words],
    ) -> Result<bool, PortError> {
        self.restore_unless(after, ("agg", &aggregate.to_string()), writes).await
    }

    /// Makes these writes, unless the log has had an event with this field after `after`. Whether it did.
    pub(super) async fn restore_unless(
        &self,
        after: Option<StreamId>,
        (field, value): (&str, &str),
        writes: &[Words],
    ) -> Result<bool, PortError> {
        Script::new(include_str!("restore.lua"))
            .key(self.keys().events())
            .arg(start(after))
            .arg(field)
            .arg(value)
            .arg(NEWER)
            .arg(pack(writes))
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)
    }
}

pub(super) fn read_value<T: FromRedisValue>(value: &Value) -> Result<T, PortError> {
    redis::from_redis_value_ref(value).map_err(unreadable)
}

/// An error of a read, as a difference shows it.
fn in_words(error: String) -> String {
    if error.starts_with(WRONG_TYPE) { "a value of another type".to_owned() } else { error }
}

/// Texts as they are, and what is no text with its bytes escaped.
pub(super) fn as_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string())
}

fn start(after: Option<StreamId>) -> String {
    after.map_or_else(|| "-".to_owned(), |id| format!("({id}"))
}

fn pack(commands: &[Words]) -> Vec<u8> {
    rmp_serde::to_vec(commands).expect("lists of strings always serialise")
}

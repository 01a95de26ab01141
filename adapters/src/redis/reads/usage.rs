//! What a user has in use, read in one call.

use std::collections::HashMap;

use events::ports::{LoadedUsage, PortError};
use events::quota::{HourUsage, Usage, WINDOW};
use events::time::from_unix_micros;
use events::{Job, Limits, Timestamp, UserId};
use projections::Keyspace;
use projections::job::{DISPATCHED, RUNNING};
use redis::{Script, Value};

use crate::redis::Redis;
use crate::redis::connection::raw::parse;
use crate::redis::connection::trouble::away;

/// The answer of `usage.lua`, in its order.
type Answer = (i64, u64, String, u64, u64, String, u64, u64, u64, i64, Vec<u8>, Value);

/// How far ahead of Redis's clock a time may lie, in microseconds: a week.
const FURTHEST_AHEAD_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;

/// How many unreadable held jobs are passed over. Later ones are dispatched once these are restored.
const PASSED_OVER: usize = 16;

impl Redis {
    pub(crate) async fn usage(&self, user: &UserId, limits: &Limits) -> Result<LoadedUsage, PortError> {
        let mut unreadable = Vec::new();
        loop {
            match self.usage_without(user, limits, &unreadable).await? {
                Ok(usage) => return Ok(usage),
                Err((held, _)) if unreadable.len() < PASSED_OVER && !unreadable.contains(&held) => {
                    unreadable.push(held);
                }
                Err((_, why)) => return Err(PortError::Corrupt(why.into())),
            }
        }
    }

    /// Returns the usage with a next held job that is none of `unreadable`, or the next held job and why it can't be
    /// read.
    async fn usage_without(
        &self,
        user: &UserId,
        limits: &Limits,
        unreadable: &[Vec<u8>],
    ) -> Result<Result<LoadedUsage, (Vec<u8>, String)>, PortError> {
        let keys = self.keys();
        let script = Script::new(include_str!("usage.lua"));
        let mut call = script.prepare_invoke();
        for key in [
            keys.rate(user),
            keys.refunds(user),
            keys.uploads(user),
            keys.user_active(user),
            keys.user_held(user),
            keys.user_delayed(user),
            keys.user_stored(user),
        ] {
            call.key(key);
        }
        call.arg(WINDOW.as_millis().to_string()).arg(keys.job_prefix());
        call.arg(limits.jobs_per_hour).arg(limits.uploads_per_hour).arg(DISPATCHED).arg(RUNNING);
        for held in unreadable {
            call.arg(held);
        }
        let answer: Answer = call.invoke_async(&mut self.connection()).await.map_err(away)?;
        let (micros, jobs, job_fits, refunds, uploads, upload_fits, active, running, pending, stored_bytes, held, hash) =
            answer;
        let (job_fits_at, upload_fits_at) = (leaves_hour(&job_fits, micros), leaves_hour(&upload_fits, micros));
        let next_held = match read_held(keys, &held, &hash) {
            Ok(next_held) => next_held,
            Err(why) => return Ok(Err((held, why))),
        };
        let usage = Usage {
            at: from_unix_micros(micros),
            hour: HourUsage { jobs, job_fits_at, refunds, uploads, upload_fits_at },
            active,
            running,
            pending,
            stored_bytes: u64::try_from(stored_bytes).unwrap_or_default(),
        };
        Ok(Ok(LoadedUsage { usage, next_held }))
    }
}

fn read_held(keys: &Keyspace, id: &[u8], hash: &Value) -> Result<Option<Job>, String> {
    if id.is_empty() {
        return Ok(None);
    }
    let id = parse(id).ok_or_else(|| "a held job has no id".to_owned())?;
    let hash: HashMap<String, String> = redis::from_redis_value_ref(hash).map_err(|error| error.to_string())?;
    projections::job::read(&keys.job(id), id, &hash).map_err(|error| error.to_string())
}

/// Returns when an event of this time, in milliseconds, leaves the hour.
fn leaves_hour(at_ms: &str, now_micros: i64) -> Option<Timestamp> {
    if at_ms.is_empty() {
        return None;
    }
    // A clock that was set back leaves times ahead of it; what is further ahead than any such clock is no time.
    let at_micros = at_ms.parse().unwrap_or(0_i64).saturating_mul(1_000);
    let is_time = at_micros > 0 && at_micros < now_micros.saturating_add(FURTHEST_AHEAD_MICROS);
    Some(from_unix_micros(if is_time { at_micros } else { now_micros }) + WINDOW)
}

//! What a user has in use, read in one call.

use std::collections::HashMap;

use events::ports::PortError;
use events::quota::{HourUsage, Usage, WINDOW};
use events::time::from_unix_micros;
use events::{Job, JobId, Limits, Timestamp, UserId};
use projections::Keyspace;
use projections::job::{DISPATCHED, RUNNING};
use redis::Script;

use super::{Redis, away, corrupt};

/// The answer of `usage.lua`, in its order.
type Answer = (i64, u64, String, u64, u64, String, u64, u64, u64, i64, String, HashMap<String, String>);

impl Redis {
    pub(super) async fn usage(&self, user: &UserId, limits: &Limits) -> Result<Usage, PortError> {
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
        let answer: Answer = call.invoke_async(&mut self.connection()).await.map_err(|error| away(&error))?;
        let (micros, jobs, job_fits, refunds, uploads, upload_fits, active, running, pending, stored_bytes, held, hash) =
            answer;
        let (job_fits_at, upload_fits_at) = (leaves_hour(&job_fits)?, leaves_hour(&upload_fits)?);
        Ok(Usage {
            at: from_unix_micros(micros),
            hour: HourUsage { jobs, job_fits_at, refunds, uploads, upload_fits_at },
            active,
            running,
            pending,
            next_held: read_held(keys, &held, &hash)?,
            stored_bytes: u64::try_from(stored_bytes).unwrap_or_default(),
        })
    }
}

fn read_held(keys: &Keyspace, id: &str, hash: &HashMap<String, String>) -> Result<Option<Box<Job>>, PortError> {
    if id.is_empty() {
        return Ok(None);
    }
    let id: JobId = id.parse().map_err(corrupt)?;
    Ok(projections::job::read(&keys.job(id), id, hash).map_err(corrupt)?.map(Box::new))
}

/// When what happened at these milliseconds leaves the hour.
fn leaves_hour(at_ms: &str) -> Result<Option<Timestamp>, PortError> {
    if at_ms.is_empty() {
        return Ok(None);
    }
    let at_ms: i64 = at_ms.parse().map_err(corrupt)?;
    Ok(Some(from_unix_micros(at_ms.saturating_mul(1_000)) + WINDOW))
}

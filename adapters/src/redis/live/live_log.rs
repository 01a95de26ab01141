//! The newest chunks of what runs print: live state, a short stream a run.

use std::time::Duration;

use async_trait::async_trait;
use events::ports::{LiveLogPort, PortError, Shown};
use events::{Fence, JobId};
use redis::Script;

use crate::redis::Redis;
use crate::redis::connection::trouble::away;

/// How many chunks of a run are kept: at most a MiB.
const KEPT: usize = 64;
/// How long they are kept after the newest. Who looks later reads the log.
const KEPT_FOR: Duration = Duration::from_mins(5);

/// The field of an entry that holds its bytes.
pub(crate) const BYTES: &str = "b";

#[async_trait]
impl LiveLogPort for Redis {
    async fn append(&self, job: JobId, fence: &Fence, offset: u64, bytes: &[u8]) -> Result<Shown, PortError> {
        let shown: bool = Script::new(include_str!("append_log.lua"))
            .key(self.keys().job(job))
            .key(self.keys().log_tail(job, fence))
            .arg(fence.as_str())
            .arg((offset + bytes.len() as u64).to_string())
            .arg(bytes)
            .arg(KEPT)
            .arg(KEPT_FOR.as_millis().to_string())
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        Ok(if shown { Shown::Yes } else { Shown::Refused })
    }
}

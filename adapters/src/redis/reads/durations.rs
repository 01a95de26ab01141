//! How long the newest runs of each class took: live state, a list of seconds, newest first.

use std::time::Duration;

use async_trait::async_trait;
use events::ClassName;
use events::ports::{DurationsPort, PortError};

use crate::redis::Redis;
use crate::redis::connection::raw::parse;
use crate::redis::connection::trouble::away;

/// How many are kept of each class.
const KEPT: isize = 100;
/// How long they are kept after the newest.
const KEPT_FOR: Duration = Duration::from_hours(7 * 24);

#[async_trait]
impl DurationsPort for Redis {
    async fn note(&self, class: &ClassName, took: Duration) -> Result<(), PortError> {
        let key = self.keys().durations(class);
        // In one step, so that the list never stays without an expiry.
        let mut note = redis::pipe();
        note.atomic();
        note.cmd("LPUSH").arg(&key).arg(format!("{:.3}", took.as_secs_f64())).ignore();
        note.cmd("LTRIM").arg(&key).arg(0).arg(KEPT - 1).ignore();
        note.cmd("EXPIRE").arg(&key).arg(KEPT_FOR.as_secs()).ignore();
        note.query_async(&mut self.connection()).await.map_err(away)
    }

    async fn recent(&self, class: &ClassName) -> Result<Vec<Duration>, PortError> {
        let seconds = redis::cmd("LRANGE")
            .arg(self.keys().durations(class))
            .arg(0)
            .arg(KEPT - 1)
            .query_async::<Vec<Vec<u8>>>(&mut self.connection())
            .await;
        let seconds = match seconds.map_err(away) {
            Err(PortError::Corrupt(_)) => vec![],
            seconds => seconds?,
        };
        // What can't be read is no duration that was noted here, and nothing depends on it.
        let duration = |text: &Vec<u8>| Duration::try_from_secs_f64(parse(text)?).ok();
        Ok(seconds.iter().filter_map(duration).collect())
    }
}

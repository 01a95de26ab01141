//! Why the tracker has not got what it is to get: live state, a text a job and one for all.

use std::time::Duration;

use async_trait::async_trait;
use events::JobId;
use events::ports::{NoteOf, PortError, TrackingNotesPort, WhyUntracked};

use crate::redis::Redis;
use crate::redis::connection::trouble::away;

/// How long it is kept after it was told last: what fails is tried again twice a minute at least.
const KEPT_FOR: Duration = Duration::from_mins(2);

#[async_trait]
impl TrackingNotesPort for Redis {
    async fn note(&self, of: NoteOf, why: Option<&str>) -> Result<(), PortError> {
        let key = match of {
            NoteOf::Tracker => self.keys().tracker_note(),
            NoteOf::Job(job) => self.keys().tracking_note(job),
        };
        let note = if let Some(why) = why {
            let mut set = redis::cmd("SET");
            set.arg(key).arg(why).arg("PX").arg(KEPT_FOR.as_millis().to_string());
            set
        } else {
            let mut delete = redis::cmd("DEL");
            delete.arg(key);
            delete
        };
        note.query_async::<()>(&mut self.connection()).await.map_err(away)
    }

    async fn why_untracked(&self, job: JobId) -> Result<WhyUntracked, PortError> {
        let [of_job, of_tracker, turn]: [Option<String>; 3] = redis::cmd("MGET")
            .arg(&[self.keys().tracking_note(job), self.keys().tracker_note(), self.keys().tracker()])
            .query_async(&mut self.connection())
            .await
            .map_err(away)?;
        Ok(match (of_job.or(of_tracker), turn) {
            (Some(why), _) => WhyUntracked::Wrong(why),
            (None, Some(_)) => WhyUntracked::InLine,
            (None, None) => WhyUntracked::Nobody,
        })
    }
}

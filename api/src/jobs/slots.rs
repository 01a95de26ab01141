//! The jobs that use the slots of a user whose new job is refused.

use events::ports::{JobQuery, JobStatusPort};
use events::{JobStatus, LimitReached, UserId};

use crate::answer::error::Error;

/// How many jobs an answer names.
const NAMED: usize = 3;

/// Adds the running jobs to the error of a user without a free slot. If the jobs can't be read, the error names none.
pub(super) async fn with_jobs(status: &dyn JobStatusPort, user: &UserId, error: Error) -> Error {
    let Error::Limited(reached @ LimitReached::Running { .. }, _) = error else { return error };
    let query = JobQuery { user: Some(user.clone()), status: Some(JobStatus::Running), cursor: None, limit: NAMED };
    let running = status.jobs(&query).await.map(|page| page.jobs).unwrap_or_default();
    Error::Limited(reached, running.iter().map(|job| job.id).collect())
}

//! Which jobs have the slots of a user who is refused one more.

use events::ports::JobQuery;
use events::{JobStatus, LimitReached, UserId};

use crate::Api;
use crate::answer::error::Error;

/// How many jobs an answer names.
const NAMED: usize = 3;

/// Names the running jobs of the user who has no slot left. That they can't be read does not change the answer.
pub(super) async fn with_jobs(api: &Api, user: &UserId, error: Error) -> Error {
    let Error::Limited(reached @ LimitReached::Running { .. }, _) = error else { return error };
    let query = JobQuery { user: Some(user.clone()), status: Some(JobStatus::Running), cursor: None, limit: NAMED };
    let running = api.status.jobs(&query).await.map(|page| page.jobs).unwrap_or_default();
    Error::Limited(reached, running.iter().map(|job| job.id).collect())
}

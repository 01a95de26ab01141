//! What a job prints: kept, and shown as it comes.

pub(crate) mod closer;
pub(crate) mod job_log;
pub(crate) mod live_log;

use std::sync::Arc;
use std::time::Duration;

use events::ports::LogPort;
use events::{Fence, JobId};
use tokio::time::timeout;

/// How long the end of a lost worker's log may take. Without it the log has no end, which costs nobody more.
const CUT_LIMIT: Duration = Duration::from_mins(5);

/// Ends the log of a run whose worker was lost, beside what goes on.
pub(crate) fn cut_off(logs: &Arc<dyn LogPort>, job: JobId, fence: &Fence) {
    let (logs, fence) = (Arc::clone(logs), fence.clone());
    tokio::spawn(async move {
        let cut = timeout(CUT_LIMIT, logs.cut_off(job, &fence)).await;
        if !matches!(cut, Ok(Ok(()))) {
            tracing::warn!(%job, ?cut, "the end of a lost worker's log could not be marked");
        }
    });
}

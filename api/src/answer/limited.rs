//! The body of the answer to a user who has reached a limit: the limit, and when it allows a request again.

use events::time::to_rfc3339;
use events::{JobId, LimitReached};
use serde::Serialize;

use crate::request::id::RequestId;

#[derive(Serialize)]
pub(crate) struct LimitedBody {
    detail: String,
    code: &'static str,
    limit: u64,
    remaining: u64,
    /// Null if only the end of a job, or of a stream, makes room.
    reset_at: Option<String>,
    /// The jobs that use the user's slots, as far as they are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    jobs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl LimitedBody {
    pub(crate) fn of(reached: &LimitReached, jobs: &[JobId]) -> Self {
        Self {
            detail: detail(reached, jobs),
            code: reached.code(),
            limit: reached.limit(),
            remaining: reached.remaining(),
            reset_at: reached.resets_at().map(to_rfc3339),
            jobs: jobs.iter().map(JobId::to_string).collect(),
            request_id: RequestId::current_text(),
        }
    }

    /// For a user who follows as many streams as one may.
    pub(crate) fn of_streams(most: usize) -> Self {
        Self {
            detail: format!(
                "you follow {most} streams of this server, which is the limit (MAX_STREAMS_PER_USER); close one of them"
            ),
            code: "streams",
            limit: most as u64,
            remaining: 0,
            reset_at: None,
            jobs: vec![],
            request_id: RequestId::current_text(),
        }
    }
}

fn detail(reached: &LimitReached, jobs: &[JobId]) -> String {
    let jobs: Vec<String> = jobs.iter().map(JobId::to_string).collect();
    match jobs.as_slice() {
        [] => reached.to_string(),
        [job] => format!("{reached}; job {job} is running"),
        _ => format!("{reached}; the jobs {} are running", jobs.join(", ")),
    }
}

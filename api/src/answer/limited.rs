//! The body of the answer to a user who has reached a limit: the limit, and when it allows a request again.

use events::time::to_rfc3339;
use events::{JobId, LimitReached};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::texts::{Id, Time};
use crate::request::id::RequestId;

/// A limit that you have reached. The server keeps nothing of the request.
#[derive(Serialize, ToSchema)]
pub(crate) struct LimitedBody {
    /// What happened, in one sentence for people.
    pub(super) detail: String,
    /// The limit, in one word for programs.
    #[schema(example = "jobs_per_hour")]
    code: &'static str,
    /// Its value.
    limit: u64,
    /// How much of it is left.
    remaining: u64,
    /// When one more fits. Null if only the end of a job, a stream or an upload, or the expiry of a submission makes room.
    #[schema(value_type = Option<Time>, required)]
    reset_at: Option<String>,
    /// Up to three of your jobs that use your slots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Id>)]
    jobs: Vec<String>,
    /// The `x-request-id` of the answer.
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

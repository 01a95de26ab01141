//! Cancelling a job.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use events::JobCommand;
use events::execute::{self, Origin};
use events::job::CancelMode;
use events::policy::LivePolicy;
use events::ports::{EventLogPort, Ids, NudgePort};
use utoipa::ToSchema;

use super::view::StatusView;
use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::http::trace::current_traceparent;
use crate::openapi::errors::ChangeError;
use crate::request::auth::Caller;
use crate::request::extract::{OfJob, VisibleJob};
use crate::request::json_body::{Body, Members, OptionalBody};
use crate::request::query::{NoParams, Params};

/// Cancels jobs.
pub(crate) struct Cancellations {
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) policy: Arc<LivePolicy>,
    pub(crate) nudges: Arc<dyn NudgePort>,
}

/// How to cancel a job.
#[derive(ToSchema)]
pub(crate) struct CancelRequest {
    /// Cancel it at once, and do not wait for its worker.
    #[schema(value_type = Option<bool>)]
    force: bool,
}

impl Body for CancelRequest {
    const MEMBERS: &'static [&'static str] = &["force"];

    fn read(members: Members) -> Result<Self, Error> {
        Ok(Self { force: members.boolean("force")?.unwrap_or_default() })
    }
}

/// Cancels a job.
///
/// A pending job ends at once. A running job ends when its worker hears of the request. Cancelling a job again changes
/// nothing. If the job has ended in another way, the answer is 409.
#[utoipa::path(
    post,
    path = "/jobs/{id}/cancel",
    operation_id = "cancel_job",
    tag = "Jobs",
    params(OfJob),
    request_body(content = Option<CancelRequest>, description = "The body may be left out.", example = json!({ "force": false })),
    responses((status = 202, description = "The job, as it is now.", body = StatusView), ChangeError),
)]
pub(crate) async fn cancel(
    State(cancellations): State<Arc<Cancellations>>,
    caller: Caller,
    VisibleJob(job): VisibleJob,
    _: Params<NoParams>,
    OptionalBody(request): OptionalBody<CancelRequest>,
) -> Result<(StatusCode, Json<StatusView>), Error> {
    let mode = if request.force { CancelMode::Force } else { CancelMode::Graceful };
    let origin = Origin { actor: caller.actor(), trace: current_traceparent() };
    let command = JobCommand::RequestCancel { by: caller.user, force: mode };
    let jitter = cancellations.ids.jitter();
    let after =
        execute::job(&*cancellations.log, &cancellations.policy.get(), &origin, job.id, &command, jitter).await?;
    // The worker looks at its job at its next heartbeat anyway. A lost nudge costs only time.
    if let Err(error) = cancellations.nudges.nudge(job.id).await {
        tracing::debug!(%error, "the worker could not be nudged");
    }
    Ok((StatusCode::ACCEPTED, Json(StatusView::of(after.as_ref().unwrap_or(&job)))))
}

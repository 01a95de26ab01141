//! Creating a job.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use events::execute::{self, Origin};
use events::policy::LivePolicy;
use events::ports::{EventLogPort, Ids, JobStatusPort};
use events::{AggregateId, JobCommand, JobSpec, JobStatus};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::config;
use super::slots::with_jobs;
use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::http::trace::current_traceparent;
use crate::openapi::errors::NewJobError;
use crate::openapi::texts::{Id, Status};
use crate::request::auth::Caller;
use crate::request::extract::visible_submission;
use crate::request::idempotency::{IdempotencyKeys, Key, KeyHeader};
use crate::request::json_body::{Body, JsonBody, Members};

/// Creates jobs.
pub(crate) struct NewJobs {
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) policy: Arc<LivePolicy>,
    pub(crate) keys: Arc<IdempotencyKeys>,
}

/// A job to create.
#[derive(ToSchema)]
pub(crate) struct NewJob {
    /// The submission to run.
    #[schema(value_type = Id)]
    submission_id: String,
    /// Settings of the job, stored exactly as written: at most 16 KiB of JSON, at most 64 levels deep. The platform reads
    /// one key: `resource_class`, the name of the class whose limits the job gets. All others are the job's own.
    #[schema(value_type = Option<Object>, example = json!({ "resource_class": "small", "learning_rate": 0.01 }))]
    config: Option<String>,
}

impl Body for NewJob {
    const MEMBERS: &'static [&'static str] = &["submission_id", "config"];

    fn read(members: Members) -> Result<Self, Error> {
        let config = members.text("config").map(str::to_owned);
        Ok(Self { submission_id: members.string("submission_id")?, config })
    }
}

/// A job that was created.
#[derive(Serialize, ToSchema)]
#[schema(as = AcceptedJob)]
pub(crate) struct Accepted {
    #[schema(value_type = Id)]
    job_id: String,
    #[schema(value_type = Id)]
    submission_id: String,
    #[schema(value_type = Status)]
    status: JobStatus,
    /// One sentence for each key of `config` that looks like a mistyped key of the platform.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Creates a job from a submission.
///
/// `config.resource_class` names the class whose limits the job gets; without it the job gets the first class of the
/// policy. If you have reached a limit of jobs, the answer is 429. If you have no free slot, the job is accepted and
/// held: it is pending until one of your jobs ends.
#[utoipa::path(
    post,
    path = "/jobs",
    operation_id = "create_job",
    tag = "Jobs",
    params(KeyHeader),
    request_body = NewJob,
    responses((status = 202, description = "The job is accepted.", body = Accepted), NewJobError),
)]
pub(crate) async fn create(
    State(jobs): State<Arc<NewJobs>>,
    caller: Caller,
    key: Key,
    JsonBody(new): JsonBody<NewJob>,
) -> Result<(StatusCode, Json<Accepted>), Error> {
    let (text, config) = config::read(new.config.as_deref())?;
    let idempotency = key.with_fingerprint(&content(&new.submission_id, &config));
    let accepted = |id: String| {
        let submission_id = new.submission_id.clone();
        let (status, warnings) = (JobStatus::Pending, config::warnings(&config));
        Ok((StatusCode::ACCEPTED, Json(Accepted { job_id: id, submission_id, status, warnings })))
    };
    let _lock = jobs.keys.lock(&caller, &key).await;
    // Before anything is read that may have changed since the earlier request.
    if let Some(AggregateId::Job(earlier)) = jobs.keys.made_before(&caller, idempotency.as_ref()).await? {
        return accepted(earlier.to_string());
    }
    let policy = jobs.policy.get();
    let class = config::class(&config, &policy)?;
    let submission = visible_submission(&*jobs.status, &caller, &new.submission_id).await?.id;
    let id = jobs.ids.job();
    tracing::Span::current().record("job", tracing::field::display(id));
    let origin = Origin { actor: caller.actor(), trace: current_traceparent() };
    let spec = JobSpec { submission, user: caller.user.clone(), class, config: text, idempotency: idempotency.clone() };
    let jitter = jobs.ids.jitter();
    match execute::job(&*jobs.log, &policy, &origin, id, &JobCommand::Enqueue(spec), jitter).await {
        Ok(_) => accepted(id.to_string()),
        // Another process may have been faster with the same key. Then its job may have used up the limit.
        Err(refusal) => match jobs.keys.made_before(&caller, idempotency.as_ref()).await? {
            Some(AggregateId::Job(earlier)) => accepted(earlier.to_string()),
            _ => Err(with_jobs(&*jobs.status, &caller.user, refusal.into()).await),
        },
    }
}

/// The content of a request, however it is written.
fn content(submission: &str, config: &Map<String, Value>) -> Value {
    json!({ "call": "POST /jobs", "submission_id": submission, "config": config })
}

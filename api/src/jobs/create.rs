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

use super::config;
use super::slots::with_jobs;
use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::http::trace::current_traceparent;
use crate::request::auth::Caller;
use crate::request::extract::visible_submission;
use crate::request::idempotency::{IdempotencyKeys, Key};
use crate::request::json_body::{Body, JsonBody, Members};

/// Creates jobs.
pub(crate) struct NewJobs {
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) policy: Arc<LivePolicy>,
    pub(crate) keys: Arc<IdempotencyKeys>,
}

/// The body of the request.
pub(crate) struct NewJob {
    submission_id: String,
    config: Option<String>,
}

impl Body for NewJob {
    const MEMBERS: &'static [&'static str] = &["submission_id", "config"];

    fn read(members: Members) -> Result<Self, Error> {
        let config = members.text("config").map(str::to_owned);
        Ok(Self { submission_id: members.string("submission_id")?, config })
    }
}

#[derive(Serialize)]
pub(crate) struct Accepted {
    job_id: String,
    submission_id: String,
    status: JobStatus,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// `POST /jobs`
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

//! Jobs: taking them in, listing them, showing one.

mod cancel;
mod config;
mod estimate;
pub(crate) mod history;
mod list;
mod progress;
mod queue;
pub(crate) mod results;
mod slots;
mod story;
mod stream;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use events::execute::{self, Origin};
use events::ports::WhyUntracked;
use events::{AggregateId, JobCommand, JobSpec, JobState, JobStatus};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Api;
use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::answer::spliced::Spliced;
use crate::http::trace::current_traceparent;
use crate::request::auth::Caller;
use crate::request::extract::{VisibleJob, visible_submission};
use crate::request::idempotency::{Key, made_before};
use crate::request::json_body::{Body, JsonBody, Members};
use crate::request::query::{NoParams, Params};

pub(crate) use cancel::cancel;
pub(crate) use list::list;
pub(crate) use progress::curves;
use queue::queues;
use slots::with_jobs;
pub(crate) use story::StatusEvent;
pub(crate) use stream::stream;
use view::{JobView, StatusView, tracking};

/// Why a run is not recorded where no process does that.
const NOBODY_RECORDS: &str =
    "no worker records runs at the moment: none that was started with MLFLOW_TRACKING_URI is there";

/// What a client asks for.
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
    State(api): State<Arc<Api>>,
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
    let _lock = api.in_flight.lock(&caller, &key).await;
    // Before anything is looked at that may have changed since.
    if let Some(AggregateId::Job(earlier)) = made_before(&api, &caller, idempotency.as_ref()).await? {
        return accepted(earlier.to_string());
    }
    let policy = api.policy.get();
    let class = config::class(&config, &policy)?;
    let submission = visible_submission(&api, &caller, &new.submission_id).await?.id;
    let id = api.ids.job();
    tracing::Span::current().record("job", tracing::field::display(id));
    let origin = Origin { actor: caller.actor(), trace: current_traceparent() };
    let spec = JobSpec { submission, user: caller.user.clone(), class, config: text, idempotency: idempotency.clone() };
    let jitter = api.ids.jitter();
    match execute::job(&*api.log, &policy, &origin, id, &JobCommand::Enqueue(spec), jitter).await {
        Ok(_) => accepted(id.to_string()),
        // Another process may have been faster with the same key: then a limit that was reached is that one's doing.
        Err(refusal) => match made_before(&api, &caller, idempotency.as_ref()).await? {
            Some(AggregateId::Job(earlier)) => accepted(earlier.to_string()),
            _ => Err(with_jobs(&api, &caller.user, refusal.into()).await),
        },
    }
}

/// The content of a request, however it is written.
fn content(submission: &str, config: &Map<String, Value>) -> Value {
    json!({ "call": "POST /jobs", "submission_id": submission, "config": config })
}

/// `GET /jobs/{id}/status`
pub(crate) async fn status(VisibleJob(job): VisibleJob) -> Json<StatusView> {
    Json(StatusView::of(&job))
}

/// `GET /jobs/{id}`
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    VisibleJob(job): VisibleJob,
    _: Params<NoParams>,
) -> Result<Spliced<JobView>, Error> {
    let results = match job.state {
        JobState::Completed(_) => api.status.results(job.id).await?,
        JobState::Pending(_)
        | JobState::Running
        | JobState::Failed(_)
        | JobState::Cancelled(_)
        | JobState::DeadLettered(_) => None,
    };
    let queue = queues(&api, std::slice::from_ref(&job)).await?.pop().flatten();
    let stage = progress::stage(&api, &job).await?;
    let progress = progress::of(&api, &job).await?;
    let tracking_error = match tracking(&job) {
        Some("waiting") => match api.tracking_notes.why_untracked(job.id).await? {
            WhyUntracked::Wrong(why) => Some(why),
            WhyUntracked::InLine => None,
            WhyUntracked::Nobody => Some(NOBODY_RECORDS.to_owned()),
        },
        _ => None,
    };
    let (config, unreadable) = match events::json::read(&job.spec.config) {
        Ok(_) => (job.spec.config.clone(), None),
        Err(error) => ("null".to_owned(), Some(("config", error.to_string()))),
    };
    let mut view = JobView::of(&job, results, queue, stage, progress, tracking_error);
    view.unreadable.extend(unreadable);
    Ok(Spliced { object: view, name: "config", text: config })
}

//! Jobs: taking them in, listing them, showing one.

mod cancel;
mod estimate;
mod list;
mod progress;
mod queue;
mod slots;
mod story;
mod stream;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use events::execute::{self, Origin};
use events::ports::WhyUntracked;
use events::{AggregateId, ClassName, JobCommand, JobSpec, JobState, JobStatus, Policy};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::Api;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, VisibleJob, visible_submission};
use crate::idempotency::{Key, made_before};
use crate::trace::current_traceparent;

pub(crate) use cancel::cancel;
pub(crate) use list::list;
pub(crate) use progress::curves;
use queue::queues;
use slots::with_jobs;
pub(crate) use story::StatusEvent;
pub(crate) use stream::stream;
use view::{JobView, StatusView, tracking};

/// The most bytes a job's config may have as JSON text.
const MAX_CONFIG_BYTES: usize = 16 * 1024;
/// Why a run is not recorded where no process does that.
const NOBODY_RECORDS: &str =
    "no worker records runs at the moment: none that was started with MLFLOW_TRACKING_URI is there";

/// What a client asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJob {
    submission_id: String,
    config: Option<Box<RawValue>>,
}

#[derive(Serialize)]
pub(crate) struct Accepted {
    job_id: String,
    submission_id: String,
    status: JobStatus,
}

/// `POST /jobs`
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    key: Key,
    JsonBody(new): JsonBody<NewJob>,
) -> Result<(StatusCode, Json<Accepted>), Error> {
    let (text, config) = read_config(new.config.as_deref())?;
    let idempotency = key.of(&wish(&new.submission_id, &config));
    let accepted = |id: String| {
        let submission_id = new.submission_id.clone();
        Ok((StatusCode::ACCEPTED, Json(Accepted { job_id: id, submission_id, status: JobStatus::Pending })))
    };
    let _turn = api.under_way.turn(&caller, &key).await;
    // Before anything is looked at that may have changed since.
    if let Some(AggregateId::Job(earlier)) = made_before(&api, &caller, idempotency.as_ref()).await? {
        return accepted(earlier.to_string());
    }
    let policy = api.policy.get();
    let class = class(&config, &policy)?;
    let submission = visible_submission(&api, &caller, &new.submission_id).await?.id;
    let id = api.ids.job();
    tracing::Span::current().record("job_id", tracing::field::display(id));
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

/// What is asked for, however it is written.
fn wish(submission: &str, config: &Map<String, Value>) -> Value {
    json!({ "call": "POST /jobs", "submission_id": submission, "config": config })
}

/// A config as the text that is stored, and what that says.
fn read_config(config: Option<&RawValue>) -> Result<(String, Map<String, Value>), Error> {
    let text = config.map_or("{}", RawValue::get);
    if text.len() > MAX_CONFIG_BYTES {
        return Err(Error::Invalid(format!("config is larger than {MAX_CONFIG_BYTES} bytes")));
    }
    match serde_json::from_str(text) {
        Ok(config) => Ok((text.to_owned(), config)),
        Err(error) => Err(Error::Invalid(format!("config must be a JSON object: {error}"))),
    }
}

/// The resource class that a config asks for.
fn class(config: &Map<String, Value>, policy: &Policy) -> Result<ClassName, Error> {
    match config.get("resource_class") {
        None => Ok(policy.default_class.clone()),
        Some(Value::String(name)) => match name.parse::<ClassName>() {
            Ok(class) if policy.class(&class).is_some() => Ok(class),
            _ => {
                let offer: Vec<&str> = policy.classes.keys().map(ClassName::as_str).collect();
                let offer = offer.join(", ");
                Err(Error::Invalid(format!("there is no resource class {name:?}; on offer: {offer}")))
            }
        },
        Some(_) => Err(Error::Invalid("config.resource_class must be a string".to_owned())),
    }
}

/// `GET /jobs/{id}/status`
pub(crate) async fn status(VisibleJob(job): VisibleJob) -> Json<StatusView> {
    Json(StatusView::of(&job))
}

/// `GET /jobs/{id}`
pub(crate) async fn show(State(api): State<Arc<Api>>, VisibleJob(job): VisibleJob) -> Result<Json<JobView>, Error> {
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
    Ok(Json(JobView::of(&job, results, queue, stage, progress, tracking_error)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<(String, String), String> {
        let raw: Box<RawValue> = serde_json::from_str(config).unwrap();
        let read = read_config(Some(&raw));
        match read.and_then(|(text, config)| Ok((class(&config, &Policy::default())?, text))) {
            Ok((class, text)) => Ok((class.to_string(), text)),
            Err(Error::Invalid(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_config_is_stored_as_it_came() {
        let config = r#"{ "resource_class": "medium", "b": 1.10, "a": [1e2] }"#;
        assert_eq!(read(config), Ok(("medium".to_owned(), config.to_owned())));
        assert_eq!(read("{}").unwrap().0, "small");
    }

    #[test]
    fn a_bad_config_is_refused_by_name() {
        let unknown = read(r#"{"resource_class": "huge"}"#).unwrap_err();
        assert_eq!(unknown, "there is no resource class \"huge\"; on offer: medium, small");
        assert!(read(r#"{"resource_class": 3}"#).unwrap_err().contains("must be a string"));
        assert!(read("[1]").unwrap_err().contains("must be a JSON object"));
        assert!(read(&format!("{{\"x\": \"{}\"}}", "y".repeat(MAX_CONFIG_BYTES))).unwrap_err().contains("larger"));
        assert!(read(&format!("{{\"x\": {}1{}}}", "[".repeat(200), "]".repeat(200))).is_err());
    }
}

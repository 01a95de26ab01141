//! Jobs: taking them in, listing them, showing one.

mod cancel;
mod estimate;
mod list;
mod queue;
mod story;
mod stream;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use events::execute::{self, Origin};
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
use queue::queues;
pub(crate) use stream::stream;
use view::{JobView, StatusView};

/// The most bytes a job's config may have as JSON text.
const MAX_CONFIG_BYTES: usize = 16 * 1024;

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
    let policy = api.policy.get();
    let (class, config) = read_config(new.config.as_deref(), &policy)?;
    let submission = visible_submission(&api, &caller, &new.submission_id).await?.id;
    let accepted = |id: String| {
        let accepted = Accepted { job_id: id, submission_id: submission.to_string(), status: JobStatus::Pending };
        Ok((StatusCode::ACCEPTED, Json(accepted)))
    };
    let _turn = api.under_way.turn(&caller, &key).await;
    let idempotency = key.of(&wish(&new, &config)?);
    if let Some(AggregateId::Job(earlier)) = made_before(&api, &caller, idempotency.as_ref()).await? {
        return accepted(earlier.to_string());
    }
    let id = api.ids.job();
    tracing::Span::current().record("job_id", tracing::field::display(id));
    let origin = Origin { actor: caller.actor(), trace: current_traceparent() };
    let spec = JobSpec { submission, user: caller.user.clone(), class, config, idempotency: idempotency.clone() };
    let jitter = api.ids.jitter();
    match execute::job(&*api.log, &policy, &origin, id, &JobCommand::Enqueue(spec), jitter).await {
        Ok(_) => accepted(id.to_string()),
        // Another process may have been faster with the same key: then a limit that was reached is that one's doing.
        Err(refusal) => match made_before(&api, &caller, idempotency.as_ref()).await? {
            Some(AggregateId::Job(earlier)) => accepted(earlier.to_string()),
            _ => Err(refusal.into()),
        },
    }
}

/// What is asked for, however it is written.
fn wish(new: &NewJob, config: &str) -> Result<Value, Error> {
    let config: Value = serde_json::from_str(config).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(json!({ "call": "POST /jobs", "submission_id": new.submission_id, "config": config }))
}

/// The resource class that a config asks for, and the config as the text that is stored.
fn read_config(config: Option<&RawValue>, policy: &Policy) -> Result<(ClassName, String), Error> {
    let refuse = |why: String| Err(Error::Invalid(why));
    let text = config.map_or("{}", RawValue::get);
    if text.len() > MAX_CONFIG_BYTES {
        return refuse(format!("config is larger than {MAX_CONFIG_BYTES} bytes"));
    }
    let config: Map<String, Value> = match serde_json::from_str(text) {
        Ok(config) => config,
        Err(error) => return refuse(format!("config must be a JSON object: {error}")),
    };
    let class = match config.get("resource_class") {
        None => policy.default_class.clone(),
        Some(Value::String(name)) => match name.parse::<ClassName>() {
            Ok(class) if policy.class(&class).is_some() => class,
            _ => {
                let offer: Vec<&str> = policy.classes.keys().map(ClassName::as_str).collect();
                let offer = offer.join(", ");
                return refuse(format!("there is no resource class {name:?}; on offer: {offer}"));
            }
        },
        Some(_) => return refuse("config.resource_class must be a string".to_owned()),
    };
    Ok((class, text.to_owned()))
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
    Ok(Json(JobView::of(&job, results, queue)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<(String, String), String> {
        let raw: Box<RawValue> = serde_json::from_str(config).unwrap();
        match read_config(Some(&raw), &Policy::default()) {
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

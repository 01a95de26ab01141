//! What happened to a job, read from the event log.

use std::sync::Arc;

use axum::extract::State;
use events::log::stored::{Recorded, StoredEvent, Unreadable};
use events::ports::EventLogPort;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::openapi::errors::ObjectError;
use crate::openapi::texts::{Id, Time};
use crate::request::extract::{OfJob, VisibleJob};
use crate::request::query::{Asked, Pairs, Params};

/// Which events to show.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Only events with a greater `seq`.
    #[param(minimum = 0, maximum = 18_446_744_073_709_551_615_u64)]
    since: Option<u64>,
}

impl Asked for HistoryQuery {
    fn read(pairs: Pairs) -> Result<Self, Error> {
        pairs.know_only(&["since"])?;
        Ok(Self { since: pairs.number("since", 0)? })
    }
}

/// The history of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = JobHistory)]
pub(crate) struct HistoryView {
    #[schema(value_type = Id)]
    job_id: String,
    /// Oldest first.
    events: Vec<EventView>,
}

/// Something that happened to a job.
#[derive(Serialize, ToSchema)]
#[schema(as = JobEvent)]
struct EventView {
    /// Counts the events of a job from 1, without gaps.
    seq: u64,
    #[serde(rename = "type")]
    #[schema(example = "job.started")]
    kind: String,
    #[schema(value_type = Time)]
    at: String,
    /// Who caused it.
    #[schema(example = "user:alice")]
    actor: String,
    /// What happened, by type. Empty if it can't be read.
    #[schema(example = json!({ "worker": "gpu1-1", "gpus": [], "sandbox": "full" }))]
    data: Map<String, Value>,
    /// Why it can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// Lists what happened to a job, from the event log.
#[utoipa::path(
    get,
    path = "/jobs/{id}/events",
    operation_id = "job_events",
    tag = "Jobs",
    params(OfJob, HistoryQuery),
    responses((status = 200, description = "The events.", body = HistoryView), ObjectError),
)]
pub(crate) async fn history(
    State(log): State<Arc<dyn EventLogPort>>,
    VisibleJob(job): VisibleJob,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<HistoryView>, Error> {
    let entries = log.history(job.id, query.since.unwrap_or(0)).await?;
    let events = entries.into_iter().map(|entry| view(entry.event)).collect();
    Ok(Json(HistoryView { job_id: job.id.to_string(), events }))
}

/// Converts an event to its current form. An event of a newer program keeps its form, and an unreadable event loses its
/// data.
///
/// The fence stays here: it is the only authority over a run.
fn view(stored: StoredEvent) -> EventView {
    let (stored, unreadable) = match stored.read() {
        Ok(Recorded::Job(id, envelope)) => (StoredEvent::of_job(id, &envelope), None),
        Ok(Recorded::Submission(..) | Recorded::Policy(_) | Recorded::Log(_)) | Err(Unreadable::Newer { .. }) => {
            (stored, None)
        }
        Err(error) => (stored, Some(error.to_string())),
    };
    let mut data = Map::new();
    let unreadable = unreadable.or_else(|| match serde_json::from_str(&stored.data) {
        Ok(read) => {
            data = read;
            None
        }
        Err(error) => Some(events::json::problem(&error)),
    });
    data.remove("fence");
    EventView { seq: stored.seq, kind: stored.kind, at: stored.at, actor: stored.actor, data, unreadable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_not_shown() {
        let stored = StoredEvent {
            kind: "job.started".to_owned(),
            version: 1,
            aggregate: "job:0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".to_owned(),
            seq: 3,
            at: "2026-11-23T10:00:03.000001Z".to_owned(),
            actor: "worker:gpu1".to_owned(),
            trace: String::new(),
            data: r#"{"fence":"00112233445566778899aabb","worker":"gpu1","gpus":[],"sandbox":"off"}"#.to_owned(),
        };
        for version in [1, 99] {
            let shown = view(StoredEvent { version, ..stored.clone() });
            let text = serde_json::to_string(&shown).unwrap();
            assert!(text.contains("gpu1") && !text.contains("fence"), "{text}");
        }
        let deep = format!(r#"{{"fence":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        for data in [deep.as_str(), r#"{"fence":1}"#, "[]", "", "\u{fffd}"] {
            let shown = view(StoredEvent { data: data.to_owned(), ..stored.clone() });
            assert!((shown.seq, shown.data.len()) == (3, 0) && shown.unreadable.is_some(), "{data}");
        }
    }
}

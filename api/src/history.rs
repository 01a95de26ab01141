//! What happened to a job, read from the event log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use events::stored::{Recorded, StoredEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Api;
use crate::error::Error;
use crate::extract::{Params, VisibleJob};

/// Which events to show.
#[derive(Deserialize)]
pub(crate) struct HistoryQuery {
    since: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct HistoryView {
    job_id: String,
    events: Vec<EventView>,
}

#[derive(Serialize)]
struct EventView {
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
    at: String,
    actor: String,
    data: Map<String, Value>,
}

/// `GET /jobs/{id}/events`: those after `since`, oldest first.
pub(crate) async fn history(
    State(api): State<Arc<Api>>,
    VisibleJob(job): VisibleJob,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<HistoryView>, Error> {
    let entries = api.log.history(job.id, query.since.unwrap_or(0)).await?;
    let events: Result<_, Error> = entries.into_iter().map(|entry| view(entry.event)).collect();
    Ok(Json(HistoryView { job_id: job.id.to_string(), events: events? }))
}

/// An event in today's shape. One that a newer program wrote is shown as it stands.
///
/// The fence stays here: it is the only authority over a run.
fn view(stored: StoredEvent) -> Result<EventView, Error> {
    let stored = match stored.read() {
        Ok(Recorded::Job(id, envelope)) => StoredEvent::of_job(id, &envelope),
        Ok(Recorded::Submission(..) | Recorded::Policy(_) | Recorded::Log(_)) | Err(_) => stored,
    };
    let mut data: Map<String, Value> = serde_json::from_str(&stored.data).map_err(|error| {
        let (aggregate, seq) = (&stored.aggregate, stored.seq);
        Error::Internal(format!("event {seq} of {aggregate} can't be read: {error}"))
    })?;
    data.remove("fence");
    Ok(EventView { seq: stored.seq, kind: stored.kind, at: stored.at, actor: stored.actor, data })
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
            let shown = view(StoredEvent { version, ..stored.clone() }).unwrap();
            let text = serde_json::to_string(&shown).unwrap();
            assert!(text.contains("gpu1") && !text.contains("fence"), "{text}");
        }
    }
}

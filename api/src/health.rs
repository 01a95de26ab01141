//! Whether this process is alive, and whether it can do its work.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use events::ports::{JobStatusPort, Room, StorageError, StoragePort};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::answer::error::chain;
use crate::answer::json_answer::Json;
use crate::request::id::RequestId;

/// Renders all metrics in Prometheus' text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Returns why a worker takes no jobs; `None` if it takes jobs.
pub type WorkerState = Arc<dyn Fn() -> Option<Unfit> + Send + Sync>;

/// Why a worker takes no jobs.
pub struct Unfit {
    /// The kind of reason, which anybody may read.
    pub cause: &'static str,
    /// The reason with its paths, for the log.
    pub why: String,
}

/// How long a check may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);

const OK: &str = "ok";
/// Uploads are refused, but everything else works, so the process counts as ready.
const NEARLY_FULL: &str = "is nearly full, uploads are refused: less than 5 % is free";

/// Checks whether this process can do its work.
pub(crate) struct Readiness {
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) storage: Arc<dyn StoragePort>,
    /// `None` if this process has no worker.
    pub(crate) worker: Option<WorkerState>,
    /// Cancelled once this process ends.
    pub(crate) stop: CancellationToken,
}

#[derive(Serialize)]
struct Checks {
    redis: Cow<'static, str>,
    storage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<Cow<'static, str>>,
}

/// `GET /health`
pub(crate) async fn health() -> Json<Value> {
    Json(json!({ "status": "healthy" }))
}

/// `GET /health/live`: this process answers.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

/// `GET /health/ready`: Redis answers, storage can be written and has room, the worker of this process takes jobs.
///
/// The answer says what is wrong with Redis, so that an operator can repair it. Paths go only to the log, because anybody
/// may call this.
///
/// A process that ends is not ready, whatever still works: it shall get no more requests.
pub(crate) async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    if readiness.stop.is_cancelled() {
        let id = RequestId::current_text();
        let body = json!({ "detail": "the server is stopping", "code": "draining", "request_id": id });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    let (redis, storage) = tokio::join!(
        tokio::time::timeout(PATIENCE, readiness.status.ping()),
        tokio::time::timeout(PATIENCE, look_at_storage(&*readiness.storage)),
    );
    let checks = Checks {
        redis: match redis {
            Ok(Ok(())) => OK.into(),
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "not ready: Redis");
                format!("can't be used: {error}").into()
            }
            Err(_) => "does not answer in time".into(),
        },
        storage: match storage {
            Ok(Ok(room)) if room.is_scarce() => NEARLY_FULL,
            Ok(Ok(_)) => OK,
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "not ready: storage");
                "can't be written"
            }
            Err(_) => "can't be written in time",
        },
        worker: readiness.worker.as_ref().map(|unfit| match unfit() {
            None => OK.into(),
            Some(Unfit { cause, why }) => {
                tracing::warn!(why, "not ready: the worker");
                format!("takes no jobs, because it can't set them up: {cause}").into()
            }
        }),
    };
    let missing: Vec<String> = [("Redis", &*checks.redis), ("storage", checks.storage)]
        .into_iter()
        .chain(checks.worker.as_deref().map(|state| ("the worker", state)))
        .filter(|(_, state)| ![OK, NEARLY_FULL].contains(state))
        .map(|(name, state)| format!("{name} {state}"))
        .collect();
    if missing.is_empty() {
        return Json(json!({ "status": "ready", "checks": checks })).into_response();
    }
    let detail = missing.join(" and ");
    let id = RequestId::current_text();
    let body = json!({ "detail": detail, "code": "not_ready", "checks": checks, "request_id": id });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn look_at_storage(storage: &dyn StoragePort) -> Result<Room, StorageError> {
    storage.probe().await?;
    storage.room().await
}

/// `GET /metrics`
pub(crate) async fn metrics(State(render): State<RenderMetrics>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], render()).into_response()
}

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
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::answer::error::chain;
use crate::answer::json_answer::Json;
use crate::openapi::errors::AnyError;
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

/// The state of each part: `ok`, or what is wrong with it.
#[derive(Serialize, ToSchema)]
struct Checks {
    #[schema(value_type = String, example = "ok")]
    redis: Cow<'static, str>,
    #[schema(example = "ok")]
    storage: &'static str,
    /// Absent if this process has no worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "ok")]
    worker: Option<Cow<'static, str>>,
}

/// A process that answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(example = "healthy")]
    status: &'static str,
}

/// A process that can do its work.
#[derive(Serialize, ToSchema)]
struct Ready {
    checks: Checks,
    #[schema(example = "ready")]
    status: &'static str,
}

/// A process that can't do its work.
#[derive(Serialize, ToSchema)]
struct NotReady {
    checks: Checks,
    #[schema(example = "not_ready")]
    code: &'static str,
    #[schema(example = "Redis does not answer in time")]
    detail: String,
    /// The `x-request-id` of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// Says that this process answers.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "Server",
    security(()),
    responses((status = 200, description = "The process answers.", body = Health), AnyError),
)]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "healthy" })
}

/// Says that this process is alive.
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "health_live",
    tag = "Server",
    security(()),
    responses((status = 200, description = "The process is alive.", body = Health, example = json!({ "status": "live" })), AnyError),
)]
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "live" })
}

/// Says whether this process can do its work.
///
/// Redis must answer, storage must take files, and the worker of this process, if it has one, must take jobs. A process
/// that ends is not ready, because it shall get no more requests.
// The answer says what is wrong with Redis, so that an operator can repair it. Paths go only to the log, because anybody
// may call this.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "health_ready",
    tag = "Server",
    security(()),
    responses(
        AnyError,
        (status = 200, description = "The process can do its work.", body = Ready),
        (status = 503, description = "The process can't do its work. Without `checks`, it is busy or ends.", body = NotReady),
    ),
)]
pub(crate) async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    if readiness.stop.is_cancelled() {
        let request_id = RequestId::current_text();
        let body =
            serde_json::json!({ "detail": "the server is stopping", "code": "draining", "request_id": request_id });
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
        return Json(Ready { checks, status: "ready" }).into_response();
    }
    let detail = missing.join(" and ");
    let request_id = RequestId::current_text();
    let body = NotReady { checks, code: "not_ready", detail, request_id };
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn look_at_storage(storage: &dyn StoragePort) -> Result<Room, StorageError> {
    storage.probe().await?;
    storage.room().await
}

/// Returns this process's metrics in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "Server",
    security(()),
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain"), AnyError),
)]
pub(crate) async fn metrics(State(render): State<RenderMetrics>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], render()).into_response()
}

//! Whether this process lives, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::chain;
use crate::{Api, RenderMetrics};

/// How long a check may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);

const OK: &str = "ok";

#[derive(Serialize)]
struct Checks {
    redis: &'static str,
    storage: &'static str,
}

/// `GET /health`
pub(crate) async fn health() -> Json<Value> {
    Json(json!({ "status": "healthy" }))
}

/// `GET /health/live`: this process answers.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

/// `GET /health/ready`: Redis answers and storage can be written. The reasons why not go to the log, for anybody may
/// ask.
pub(crate) async fn ready(State(api): State<Arc<Api>>) -> Response {
    let (redis, storage) = tokio::join!(
        tokio::time::timeout(PATIENCE, api.status.ping()),
        tokio::time::timeout(PATIENCE, api.storage.probe()),
    );
    let checks = Checks {
        redis: match redis {
            Ok(Ok(())) => OK,
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "not ready: Redis");
                "does not answer"
            }
            Err(_) => "does not answer in time",
        },
        storage: match storage {
            Ok(Ok(())) => OK,
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "not ready: storage");
                "can't be written"
            }
            Err(_) => "can't be written in time",
        },
    };
    let missing: Vec<String> = [("Redis", checks.redis), ("storage", checks.storage)]
        .into_iter()
        .filter(|(_, state)| *state != OK)
        .map(|(name, state)| format!("{name} {state}"))
        .collect();
    if missing.is_empty() {
        return Json(json!({ "status": "ready", "checks": checks })).into_response();
    }
    let detail = missing.join(" and ");
    let body = json!({ "detail": detail, "code": "not_ready", "checks": checks });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// `GET /metrics`
pub(crate) async fn metrics(State(render): State<RenderMetrics>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], render()).into_response()
}

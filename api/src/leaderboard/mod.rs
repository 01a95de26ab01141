//! The leaderboard: the best job of each user in a metric, what can be ranked, and how the best changed over time.

mod csv;
mod query;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Response};
use events::Standing;
use events::ports::{Board, BoardQuery, Leader};
use events::time::to_rfc3339;
use serde::Serialize;
use serde_json::{Map, Value};

pub use settings::{BoardMetrics, BoardMetricsError};

use crate::Api;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::Params;
use query::Asked;

/// The answer to `GET /leaderboard`.
#[derive(Serialize)]
pub(crate) struct LeaderboardView {
    metric: String,
    order: &'static str,
    rows: Vec<RowView>,
}

/// One place on a board.
#[derive(Serialize)]
struct RowView {
    rank: u64,
    user: String,
    value: f64,
    method: Option<String>,
    job_id: String,
    submission_id: String,
    completed_at: String,
    run_id: Option<String>,
    mlflow_ui_link: Option<String>,
    metrics: BTreeMap<String, f64>,
    performance: Map<String, Value>,
}

impl RowView {
    fn of(api: &Api, leader: Leader) -> Self {
        let Leader { rank, standing, job, mut results } = leader;
        let run = job.tracked.as_ref();
        Self {
            rank,
            user: standing.user.to_string(),
            value: standing.value,
            method: ["method", "model"].iter().find_map(|name| results.params.remove(*name)).map(as_text),
            job_id: standing.job.to_string(),
            submission_id: job.spec.submission.to_string(),
            completed_at: to_rfc3339(standing.completed_at),
            run_id: run.map(|run| run.run_id.clone()),
            mlflow_ui_link: api.mlflow.as_ref().zip(run).map(|(mlflow, run)| mlflow.ui_link(run)),
            metrics: results.metrics,
            performance: results.performance,
        }
    }
}

/// A value of a param as text: a string as it is, anything else as its JSON.
fn as_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// `GET /leaderboard`: for every user, as JSON, or as CSV where the client would rather have that.
pub(crate) async fn leaderboard(
    State(api): State<Arc<Api>>,
    _: Caller,
    headers: HeaderMap,
    Params(asked): Params<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let board = read(&api, asked).await?;
    if prefers_csv(&headers) { Ok(csv::answer(&board)) } else { Ok(Json(board).into_response()) }
}

/// `GET /leaderboard.csv`.
pub(crate) async fn leaderboard_csv(
    State(api): State<Arc<Api>>,
    _: Caller,
    Params(asked): Params<Vec<(String, String)>>,
) -> Result<Response, Error> {
    Ok(csv::answer(&read(&api, asked).await?))
}

async fn read(api: &Api, asked: Vec<(String, String)>) -> Result<LeaderboardView, Error> {
    let query = complete(api, asked).await?;
    let leaders = api.leaderboard.leaders(&query).await?;
    let rows = leaders.into_iter().map(|leader| RowView::of(api, leader)).collect();
    Ok(LeaderboardView { metric: query.metric, order: query.order.as_str(), rows })
}

/// What was asked for, with what goes without saying.
async fn complete(api: &Api, asked: Vec<(String, String)>) -> Result<BoardQuery, Error> {
    let asked = Asked::read(asked)?;
    let Some(metric) = asked.metric.clone().or_else(|| api.board_metrics.first().map(str::to_owned)) else {
        let boards = api.leaderboard.boards().await?;
        return Err(Error::Invalid(query::no_metric(&boards)));
    };
    let order = asked.order.unwrap_or_else(|| api.board_metrics.order_of(&metric));
    Ok(asked.query(metric, order))
}

/// Whether a client names CSV and would not rather have JSON: the first of the two in its `Accept`.
fn prefers_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|text| text.split(',')).filter_map(|part| part.split(';').next());
    let first = types.find(|name| ["text/csv", "application/json"].contains(&name.trim()));
    first.is_some_and(|name| name.trim() == "text/csv")
}

#[derive(Serialize)]
pub(crate) struct MetricsView {
    metrics: Vec<MetricView>,
}

#[derive(Serialize)]
struct MetricView {
    metric: String,
    order: &'static str,
    users: u64,
}

/// `GET /leaderboard/metrics`: what can be ranked.
pub(crate) async fn metrics(State(api): State<Arc<Api>>, _: Caller) -> Result<Json<MetricsView>, Error> {
    let boards = api.leaderboard.boards().await?;
    let view = |Board { metric, users }| {
        let order = api.board_metrics.order_of(&metric).as_str();
        MetricView { metric, order, users }
    };
    Ok(Json(MetricsView { metrics: boards.into_iter().map(view).collect() }))
}

/// The answer to `GET /leaderboard/history`.
#[derive(Serialize)]
pub(crate) struct HistoryView {
    metric: String,
    order: &'static str,
    records: Vec<RecordView>,
}

/// A job that was better than all before it.
#[derive(Serialize)]
struct RecordView {
    at: String,
    value: f64,
    user: String,
    job_id: String,
}

/// `GET /leaderboard/history`: each improvement of the best, oldest first.
pub(crate) async fn history(
    State(api): State<Arc<Api>>,
    _: Caller,
    Params(asked): Params<Vec<(String, String)>>,
) -> Result<Json<HistoryView>, Error> {
    let query = complete(&api, asked).await?;
    let records = api.leaderboard.records(&query).await?;
    let view = |Standing { user, value, completed_at, job }| RecordView {
        at: to_rfc3339(completed_at),
        value,
        user: user.to_string(),
        job_id: job.to_string(),
    };
    let records = records.into_iter().map(view).collect();
    Ok(Json(HistoryView { metric: query.metric, order: query.order.as_str(), records }))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn csv_is_for_whoever_names_it_before_json() {
        let prefers =
            |text: &'static str| prefers_csv(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(text))]));
        assert!(prefers("text/csv") && prefers("text/html, text/csv;q=0.9, */*"));
        assert!(!prefers("application/json, text/csv") && !prefers("*/*") && !prefers_csv(&HeaderMap::new()));
    }
}

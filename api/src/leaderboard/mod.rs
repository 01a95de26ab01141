//! The leaderboard: the best job of each user in a metric, what can be ranked, and how the best changed over time.

mod csv;
mod query;
mod reads;
pub(crate) mod settings;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Response};
use events::Standing;
use events::ports::{Board, BoardQuery, Boards, LeaderboardPort, Leaders};
use events::time::to_rfc3339;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::openapi::errors::UserError;
use crate::openapi::texts::{BoardOrder, Id, Time, UserName};
use crate::request::auth::Caller;
use crate::request::query::Params;
use crate::results::MlflowLinks;
use query::{Asked, MetricsQuery};
pub(crate) use reads::BoardReads;
use settings::BoardMetrics;
use view::{LeaderboardView, RowView, UnreadableView};

/// Reads the boards.
pub(crate) struct Leaderboard {
    pub(crate) port: Arc<dyn LeaderboardPort>,
    pub(crate) metrics: BoardMetrics,
    pub(crate) reads: BoardReads,
    pub(crate) mlflow: Option<Arc<MlflowLinks>>,
}

/// Shows the best job of each user, to every user.
///
/// The answer is CSV if the header `Accept` prefers it.
#[utoipa::path(
    get,
    path = "/leaderboard",
    operation_id = "leaderboard",
    tag = "Leaderboard",
    params(Asked),
    responses(
        (status = 200, description = "The board.", content((LeaderboardView = "application/json"), (String = "text/csv"))),
        UserError,
    ),
)]
pub(crate) async fn leaderboard(
    State(leaderboard): State<Arc<Leaderboard>>,
    _: Caller,
    headers: HeaderMap,
    Params(asked): Params<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let board = leaderboard.read(asked).await?;
    if prefers_csv(&headers) { Ok(csv::answer(&board)) } else { Ok(Json(board).into_response()) }
}

/// Returns the leaderboard as CSV.
#[utoipa::path(
    get,
    path = "/leaderboard.csv",
    operation_id = "leaderboard_csv",
    tag = "Leaderboard",
    params(Asked),
    responses((status = 200, description = "The board.", body = String, content_type = "text/csv"), UserError),
)]
pub(crate) async fn leaderboard_csv(
    State(leaderboard): State<Arc<Leaderboard>>,
    _: Caller,
    Params(asked): Params<Vec<(String, String)>>,
) -> Result<Response, Error> {
    Ok(csv::answer(&leaderboard.read(asked).await?))
}

impl Leaderboard {
    async fn read(&self, asked: Vec<(String, String)>) -> Result<LeaderboardView, Error> {
        let query = self.complete(asked).await?;
        let read = self.port.leaders(&query);
        let is_filtered = query.since.is_some() || !query.params.is_empty();
        let leaders = if is_filtered { self.reads.run(read).await? } else { read.await? };
        let Leaders { leaders, unreadable } = leaders;
        let mlflow = self.mlflow.as_deref();
        let rows = leaders.into_iter().map(|leader| RowView::of(mlflow, leader)).collect();
        let unreadable = unreadable.into_iter().map(UnreadableView::of).collect();
        Ok(LeaderboardView { metric: query.metric, order: query.order.as_str(), rows, unreadable })
    }

    /// Adds the defaults to a query.
    async fn complete(&self, asked: Vec<(String, String)>) -> Result<BoardQuery, Error> {
        let asked = Asked::read(asked)?;
        let Some(metric) = asked.metric.clone().or_else(|| self.metrics.first().map(str::to_owned)) else {
            let boards = self.port.boards(query::NAMED).await?;
            return Err(Error::Invalid(query::no_metric(&boards)));
        };
        let order = asked.order.unwrap_or_else(|| self.metrics.order_of(&metric));
        Ok(asked.query(metric, order))
    }
}

/// Whether the `Accept` header (RFC 9110, 12.5.1) names CSV and does not prefer JSON. Of two equal weights, the first
/// wins.
fn prefers_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(String, f32)> = accepted.flat_map(|text| text.split(',')).map(media_range).collect();
    let found = |wanted: &str| ranges.iter().position(|(name, weight)| name == wanted && *weight > 0.0);
    match (found("text/csv"), found("application/json")) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(csv), Some(json)) => {
            let (csv_weight, json_weight) = (ranges[csv].1, ranges[json].1);
            csv_weight > json_weight || (csv_weight >= json_weight && csv < json)
        }
    }
}

/// The name and the weight of one range of an `Accept`.
fn media_range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").map(|weight| weight.parse().unwrap_or(0.0)));
    (name, weight.unwrap_or(1.0))
}

/// The metrics that can be ranked.
#[derive(Serialize, ToSchema)]
#[schema(as = MetricList)]
pub(crate) struct MetricsView {
    /// Those with most users first.
    metrics: Vec<MetricView>,
    /// How many there are, listed or not.
    total: u64,
}

/// A metric that can be ranked.
#[derive(Serialize, ToSchema)]
#[schema(as = Metric)]
struct MetricView {
    #[schema(example = "image_auc")]
    metric: String,
    #[schema(value_type = BoardOrder)]
    order: &'static str,
    /// How many users have a job with it.
    users: u64,
}

/// Lists the metrics that can be ranked.
#[utoipa::path(
    get,
    path = "/leaderboard/metrics",
    operation_id = "leaderboard_metrics",
    tag = "Leaderboard",
    params(MetricsQuery),
    responses((status = 200, description = "The metrics.", body = MetricsView), UserError),
)]
pub(crate) async fn metrics(
    State(leaderboard): State<Arc<Leaderboard>>,
    _: Caller,
    Params(asked): Params<Vec<(String, String)>>,
) -> Result<Json<MetricsView>, Error> {
    let Boards { boards, total } = leaderboard.port.boards(Asked::read_metrics_limit(&asked)?).await?;
    let view = |Board { metric, users }| {
        let order = leaderboard.metrics.order_of(&metric).as_str();
        MetricView { metric, order, users }
    };
    Ok(Json(MetricsView { metrics: boards.into_iter().map(view).collect(), total }))
}

/// How the best value of a metric improved.
#[derive(Serialize, ToSchema)]
#[schema(as = LeaderboardHistory)]
pub(crate) struct HistoryView {
    #[schema(example = "image_auc")]
    metric: String,
    #[schema(value_type = BoardOrder)]
    order: &'static str,
    /// Oldest first. If there are more than `limit`, the newest.
    records: Vec<RecordView>,
}

/// A job that was better than all before it.
#[derive(Serialize, ToSchema)]
#[schema(as = LeaderboardRecord)]
struct RecordView {
    #[schema(value_type = Time)]
    at: String,
    value: f64,
    #[schema(value_type = UserName)]
    user: String,
    #[schema(value_type = Id)]
    job_id: String,
}

/// Shows each job that beat all earlier jobs.
#[utoipa::path(
    get,
    path = "/leaderboard/history",
    operation_id = "leaderboard_history",
    tag = "Leaderboard",
    params(Asked),
    responses((status = 200, description = "The records.", body = HistoryView), UserError),
)]
pub(crate) async fn history(
    State(leaderboard): State<Arc<Leaderboard>>,
    _: Caller,
    Params(asked): Params<Vec<(String, String)>>,
) -> Result<Json<HistoryView>, Error> {
    let query = leaderboard.complete(asked).await?;
    let read = leaderboard.port.records(&query);
    let records = if query.params.is_empty() { read.await? } else { leaderboard.reads.run(read).await? };
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
        assert!(prefers("application/json;q=0.1, Text/CSV") && prefers("text/csv; q=1.0, application/json"));
        assert!(!prefers("text/csv;q=0, */*") && !prefers("text/csv;q=0.5, application/json;q=0.8"));
    }
}

//! How a board looks to clients.

use std::collections::BTreeMap;

use events::Standing;
use events::ports::Leader;
use events::time::to_rfc3339;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::openapi::texts::{BoardOrder, Id, Time, UserName};
use crate::results::MlflowLinks;

/// The best job of each user.
#[derive(Serialize, ToSchema)]
#[schema(as = Leaderboard)]
pub(crate) struct LeaderboardView {
    #[schema(example = "image_auc")]
    pub(super) metric: String,
    #[schema(value_type = BoardOrder)]
    pub(super) order: &'static str,
    /// The best first. Of two equal values, the one that was reached first.
    pub(super) rows: Vec<RowView>,
    /// Absent if all can be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unreadable: Vec<UnreadableView>,
}

/// A place whose job can't be read.
#[derive(Serialize, ToSchema)]
#[schema(as = UnreadableRow)]
pub(super) struct UnreadableView {
    pub(super) rank: u64,
    #[schema(value_type = UserName)]
    pub(super) user: String,
    pub(super) value: f64,
    #[schema(value_type = Id)]
    pub(super) job_id: String,
    pub(super) reason: String,
}

impl UnreadableView {
    pub(super) fn of((rank, standing, reason): (u64, Standing, String)) -> Self {
        let Standing { user, value, job, .. } = standing;
        Self { rank, user: user.to_string(), value, job_id: job.to_string(), reason }
    }
}

/// One place on a board.
#[derive(Serialize, ToSchema)]
#[schema(as = LeaderboardRow)]
pub(super) struct RowView {
    #[schema(minimum = 1)]
    pub(super) rank: u64,
    #[schema(value_type = UserName)]
    pub(super) user: String,
    #[schema(example = 0.98)]
    pub(super) value: f64,
    /// The job's param `method`, else `model`.
    #[schema(required, example = "patchcore")]
    pub(super) method: Option<String>,
    #[schema(value_type = Id)]
    pub(super) job_id: String,
    #[schema(value_type = Id)]
    pub(super) submission_id: String,
    #[schema(value_type = Time)]
    pub(super) completed_at: String,
    #[schema(required)]
    pub(super) run_id: Option<String>,
    #[schema(required)]
    pub(super) mlflow_ui_link: Option<String>,
    /// The job's ranked metrics.
    pub(super) metrics: BTreeMap<String, f64>,
    /// At most 64 of its figures.
    pub(super) performance: Map<String, Value>,
}

impl RowView {
    pub(super) fn of(mlflow: Option<&MlflowLinks>, leader: Leader) -> Self {
        let Leader { rank, standing, job, method, performance } = leader;
        let run = job.tracked.as_ref();
        Self {
            rank,
            user: standing.user.to_string(),
            value: standing.value,
            method,
            job_id: standing.job.to_string(),
            submission_id: job.spec.submission.to_string(),
            completed_at: to_rfc3339(standing.completed_at),
            run_id: run.map(|run| run.run_id.clone()),
            mlflow_ui_link: mlflow.zip(run).map(|(mlflow, run)| mlflow.ui_link(run)),
            metrics: job.ranked().cloned().unwrap_or_default(),
            performance,
        }
    }
}

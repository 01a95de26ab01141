//! How a board looks to clients.

use std::collections::BTreeMap;

use events::Standing;
use events::ports::Leader;
use events::time::to_rfc3339;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::results::MlflowLinks;

/// The answer to `GET /leaderboard`.
#[derive(Serialize)]
pub(crate) struct LeaderboardView {
    pub(super) metric: String,
    pub(super) order: &'static str,
    pub(super) rows: Vec<RowView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unreadable: Vec<UnreadableView>,
}

/// A place whose job can't be read.
#[derive(Serialize)]
pub(super) struct UnreadableView {
    pub(super) rank: u64,
    pub(super) user: String,
    pub(super) value: f64,
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
#[derive(Serialize)]
pub(super) struct RowView {
    pub(super) rank: u64,
    pub(super) user: String,
    pub(super) value: f64,
    pub(super) method: Option<String>,
    pub(super) job_id: String,
    pub(super) submission_id: String,
    pub(super) completed_at: String,
    pub(super) run_id: Option<String>,
    pub(super) mlflow_ui_link: Option<String>,
    pub(super) metrics: BTreeMap<String, f64>,
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

//! The results of a completed job, and where to see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use events::JobStatus;
use events::job::TrackedRun;
use events::ports::JobStatusPort;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::openapi::errors::ObjectError;
use crate::openapi::texts::Id;
use crate::request::extract::{OfJob, VisibleJob};

/// The addresses under which `MLflow` shows runs, without a slash at their end and without anybody's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlflowLinks {
    /// Where people see them.
    pub ui: String,
    /// Where programs read them.
    pub rest: String,
}

impl MlflowLinks {
    pub(crate) fn ui_link(&self, run: &TrackedRun) -> String {
        let (base, experiment, run) = (&self.ui, &run.experiment_id, &run.run_id);
        format!("{base}/#/experiments/{experiment}/runs/{run}")
    }

    fn rest_link(&self, run: &TrackedRun) -> String {
        format!("{}/api/2.0/mlflow/runs/get?run_id={}", self.rest, run.run_id)
    }
}

/// The content of a job's `metrics.json`, and where MLflow shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = Results)]
pub(crate) struct ResultsView {
    #[schema(value_type = Id)]
    job_id: String,
    /// The id of the run in MLflow. Null until MLflow has it.
    #[schema(required)]
    run_id: Option<String>,
    /// The page of the run in MLflow.
    #[schema(required)]
    mlflow_ui_link: Option<String>,
    /// The run in the REST API of MLflow.
    #[schema(required)]
    mlflow_rest_link: Option<String>,
    /// What describes the run. Null only if it can't be read.
    #[schema(required, example = json!({ "method": "patchcore", "seed": 7 }))]
    params: Option<Map<String, Value>>,
    /// Finite numbers. Null only if they can't be read.
    #[schema(required, example = json!({ "image_auc": 0.98 }))]
    metrics: Option<BTreeMap<String, f64>>,
    /// Other figures of the run. Null only if they can't be read.
    #[schema(required, example = json!({ "seconds_per_image": 0.02 }))]
    performance: Option<Map<String, Value>>,
    /// What of it can't be read, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unreadable: BTreeMap<&'static str, String>,
}

/// Shows the results of a completed job.
///
/// The answer is 404 until the job has completed.
#[utoipa::path(
    get,
    path = "/jobs/{id}/results",
    operation_id = "job_results",
    tag = "Results",
    params(OfJob),
    responses((status = 200, description = "The results.", body = ResultsView), ObjectError),
)]
pub(crate) async fn results(
    State(status): State<Arc<dyn JobStatusPort>>,
    State(mlflow): State<Option<Arc<MlflowLinks>>>,
    VisibleJob(job): VisibleJob,
) -> Result<Json<ResultsView>, Error> {
    if job.status() != JobStatus::Completed {
        return Err(Error::Unknown(format!("the job has no results: its status is {}", job.status())));
    }
    let Some(results) = status.results(job.id).await? else {
        return Err(Error::Unknown("the job's results are no longer kept".to_owned()));
    };
    let run = job.tracked.as_ref();
    let links = mlflow.as_ref().zip(run);
    Ok(Json(ResultsView {
        job_id: job.id.to_string(),
        run_id: run.map(|run| run.run_id.clone()),
        mlflow_ui_link: links.map(|(mlflow, run)| mlflow.ui_link(run)),
        mlflow_rest_link: links.map(|(mlflow, run)| mlflow.rest_link(run)),
        params: results.params,
        metrics: results.metrics,
        performance: results.performance,
        unreadable: results.unreadable,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_carry_the_real_experiment() {
        let run = TrackedRun { run_id: "r1".to_owned(), experiment_id: "7".to_owned() };
        let links = MlflowLinks { ui: "https://ml.example/x".to_owned(), rest: "http://mlflow:5000".to_owned() };
        assert_eq!(links.ui_link(&run), "https://ml.example/x/#/experiments/7/runs/r1");
        assert_eq!(links.rest_link(&run), "http://mlflow:5000/api/2.0/mlflow/runs/get?run_id=r1");
    }
}

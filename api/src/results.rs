//! The results of a completed job, and where to see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use events::JobStatus;
use events::job::TrackedRun;
use events::ports::JobStatusPort;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::request::extract::VisibleJob;

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

#[derive(Serialize)]
pub(crate) struct ResultsView {
    job_id: String,
    run_id: Option<String>,
    mlflow_ui_link: Option<String>,
    mlflow_rest_link: Option<String>,
    params: Option<Map<String, Value>>,
    metrics: Option<BTreeMap<String, f64>>,
    performance: Option<Map<String, Value>>,
    /// What of it can't be read, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unreadable: BTreeMap<&'static str, String>,
}

/// `GET /jobs/{id}/results`: unknown until the job has completed.
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

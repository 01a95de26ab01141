//! The tracker as `MLflow` has it, by its REST API 2.0.

mod batches;
mod experiment;
mod files;
pub(crate) mod http;
mod names;
mod options;
mod originals;
mod places;
mod record;
mod runs;
mod wanted;

use std::sync::Arc;

use async_trait::async_trait;
use events::JobId;
use events::job::TrackedRun;
use events::ports::{ArtifactPort, LogPort, OpenRun, RunEnd, RunRecord, TrackingError, TrackingPort};

use experiment::NamedExperiment;
use http::client::Client;
use http::error::CallError;
use http::wire::SearchExperiments;

pub use options::{Auth, InvalidOptions, MlflowOptions, public_address};

/// An `MLflow` server.
pub struct Mlflow {
    client: Client,
    experiment: NamedExperiment,
    board: String,
    artifacts: Arc<dyn ArtifactPort>,
    logs: Arc<dyn LogPort>,
}

impl Mlflow {
    /// A server, and where the files are that it is to be given. Nothing is asked of it so far.
    ///
    /// # Errors
    /// If it can't be spoken to in this way.
    pub fn new(
        options: MlflowOptions,
        artifacts: Arc<dyn ArtifactPort>,
        logs: Arc<dyn LogPort>,
    ) -> Result<Self, InvalidOptions> {
        options::check_names(&options)?;
        let client = Client::new(&options)?;
        let experiment = NamedExperiment::new(client.clone(), options.experiment);
        Ok(Self { client, experiment, board: options.board, artifacts, logs })
    }

    /// Whether a server can be used, without anything being recorded.
    ///
    /// # Errors
    /// Why not, and the cure.
    pub async fn probe(options: &MlflowOptions) -> Result<(), TrackingError> {
        let unusable = |why: InvalidOptions| TrackingError::Refused(why.to_string());
        options::check_names(options).map_err(unusable)?;
        Ok(reach(&Client::new(options).map_err(unusable)?).await?)
    }
}

/// Asks for something that is always there: pages for watchdogs answer even where nothing else would.
async fn reach(client: &Client) -> Result<(), CallError> {
    let _: http::wire::Done = client.post("experiments/search", &SearchExperiments { max_results: 1 }).await?;
    Ok(())
}

#[async_trait]
impl TrackingPort for Mlflow {
    async fn record(&self, record: &RunRecord) -> Result<TrackedRun, TrackingError> {
        Ok(self.record_run(record).await?)
    }

    async fn upload(&self, run: &TrackedRun, record: &RunRecord) -> Result<(), TrackingError> {
        Ok(self.upload_files(run, record).await?)
    }

    async fn close(&self, run: &TrackedRun, end: &RunEnd) -> Result<(), TrackingError> {
        Ok(self.close_run(run, end).await?)
    }

    async fn open_runs(&self, job: Option<JobId>) -> Result<Vec<OpenRun>, TrackingError> {
        Ok(self.list_open(job).await?)
    }

    async fn delete_open(&self, run_id: &str) -> Result<bool, TrackingError> {
        Ok(self.delete_run_if_open(run_id).await?)
    }

    async fn delete(&self, run_id: &str) -> Result<(), TrackingError> {
        Ok(self.delete_run(run_id).await?)
    }

    async fn check(&self) -> Result<(), TrackingError> {
        Ok(reach(&self.client).await?)
    }
}

//! The experiment that holds the runs: found by its name, made where there is none, and looked for again when it is
//! gone.

use std::sync::{Mutex, PoisonError};

use crate::mlflow::http::client::Client;
use crate::mlflow::http::error::CallError;
use crate::mlflow::http::wire::{CreatedExperiment, Done, Experiment, ExperimentAnswer, ExperimentId, ExperimentName};

/// How `MLflow` says that there is no such thing.
pub(super) const GONE: &str = "RESOURCE_DOES_NOT_EXIST";
const ALREADY_THERE: &str = "RESOURCE_ALREADY_EXISTS";

/// An experiment by its name.
pub(super) struct NamedExperiment {
    client: Client,
    name: String,
    id: Mutex<Option<String>>,
}

impl NamedExperiment {
    pub(super) const fn new(client: Client, name: String) -> Self {
        Self { client, name, id: Mutex::new(None) }
    }

    /// Its id, as it was when it was asked for first. It is made, or restored, where that is needed.
    pub(super) async fn id(&self) -> Result<String, CallError> {
        match self.known() {
            Some(id) => Ok(id),
            None => self.renewed().await,
        }
    }

    /// Its id as it is now; made, or restored, where that is needed.
    pub(super) async fn renewed(&self) -> Result<String, CallError> {
        let id = match self.find().await? {
            Some(experiment) => self.active(experiment).await?,
            None => self.create().await?,
        };
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.clone());
        Ok(id)
    }

    /// Its id, if there is one.
    pub(super) async fn existing(&self) -> Result<Option<String>, CallError> {
        match self.known() {
            Some(id) => Ok(Some(id)),
            None => Ok(self.find().await?.map(|experiment| experiment.experiment_id)),
        }
    }

    /// Whether it has this id still, and nobody deleted it.
    pub(super) async fn is_active(&self, id: &str) -> Result<bool, CallError> {
        let found = self.find().await?;
        Ok(found.is_some_and(|found| found.experiment_id == id && found.lifecycle_stage != "deleted"))
    }

    /// The id that was found last, if any was.
    fn known(&self) -> Option<String> {
        self.id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn find(&self) -> Result<Option<Experiment>, CallError> {
        let query = [("experiment_name", self.name.as_str())];
        match self.client.get::<ExperimentAnswer>("experiments/get-by-name", &query).await {
            Ok(answer) => Ok(Some(answer.experiment)),
            Err(error) if error.is(GONE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> Result<String, CallError> {
        let made: Result<CreatedExperiment, CallError> =
            self.client.post("experiments/create", &ExperimentName { name: &self.name }).await;
        match made {
            Ok(made) => Ok(made.experiment_id),
            // Somebody was faster.
            Err(error) if error.is(ALREADY_THERE) => match self.find().await? {
                Some(experiment) => self.active(experiment).await,
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Restores what somebody deleted.
    async fn active(&self, experiment: Experiment) -> Result<String, CallError> {
        let id = experiment.experiment_id;
        if experiment.lifecycle_stage != "deleted" {
            return Ok(id);
        }
        match self.client.post::<Done>("experiments/restore", &ExperimentId { experiment_id: &id }).await {
            Ok(Done {}) => Ok(id),
            Err(error) => match self.find().await? {
                // Somebody was faster.
                Some(found) if found.lifecycle_stage != "deleted" => Ok(found.experiment_id),
                _ => Err(error),
            },
        }
    }
}

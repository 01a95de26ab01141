//! The calls of `MLflow`'s API that recording a run takes.

use reqwest::Method;

/// A call, told by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Anything of experiments.
    Experiment,
    /// `runs/search`
    Search,
    /// `runs/create`
    Create,
    /// `runs/get`
    Get,
    /// `runs/log-batch`
    LogBatch,
    /// `runs/set-tag`
    SetTag,
    /// `runs/update`
    Update,
    /// `runs/delete`
    Delete,
    /// A list of files.
    ListFiles,
    /// A file that is stored.
    PutFile,
    /// What says that the server is well.
    Health,
    /// Anything else.
    Other,
}

impl Call {
    /// Which one a request is.
    #[must_use]
    pub fn of(method: &Method, path: &str) -> Self {
        if matches!(path, "/health" | "/version") {
            return Self::Health;
        }
        let Some(api) = path.strip_prefix("/api/2.0/") else { return Self::Other };
        let Some(call) = api.strip_prefix("mlflow/") else {
            return match (method, api.starts_with("mlflow-artifacts/artifacts")) {
                (&Method::PUT, true) => Self::PutFile,
                (&Method::GET, true) => Self::ListFiles,
                _ => Self::Other,
            };
        };
        match call {
            "runs/search" => Self::Search,
            "runs/create" => Self::Create,
            "runs/get" => Self::Get,
            "runs/log-batch" => Self::LogBatch,
            "runs/set-tag" => Self::SetTag,
            "runs/update" => Self::Update,
            "runs/delete" => Self::Delete,
            "artifacts/list" => Self::ListFiles,
            other if other.starts_with("experiments/") => Self::Experiment,
            _ => Self::Other,
        }
    }
}

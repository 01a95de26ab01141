//! Where items are read, whatever they lie in.

use std::fmt;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use events::ports::{ArtifactReader, PortError, StorageError};
use events::{Fence, JobId, SubmissionId};
use futures::stream::BoxStream;

/// Why a copy can't go on, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CopyError(pub(super) String);

impl From<PortError> for CopyError {
    fn from(error: PortError) -> Self {
        Self(error.to_string())
    }
}

impl From<StorageError> for CopyError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io { context, source } => Self(format!("{context}: {source}")),
            error => Self(error.to_string()),
        }
    }
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What is copied as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The files of a submission.
    Submission(SubmissionId),
    /// What a run left.
    Artifacts(JobId, Fence),
    /// What a run printed.
    Log(JobId, Fence),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submission(id) => write!(f, "submission {id}"),
            Self::Artifacts(job, fence) => write!(f, "artifacts of job {job}, run {fence}"),
            Self::Log(job, fence) => write!(f, "log of job {job}, run {fence}"),
        }
    }
}

/// Where items are read.
#[async_trait]
pub(super) trait Shelf: Send + Sync {
    /// The boards that left their names.
    async fn boards(&self) -> Result<Vec<String>, CopyError>;

    /// Leaves the name of a board.
    async fn add_board(&self, name: &str) -> Result<(), CopyError>;

    /// All that is there.
    fn items(&self) -> BoxStream<'_, Result<Item, CopyError>>;

    /// What tells whether two copies of an item are the same: a manifest with the digest of each file, or the length of a
    /// log. `None` if the item is not there.
    async fn mark(&self, item: &Item) -> Result<Option<Bytes>, CopyError>;

    /// Opens a file of an item; a log has one, whatever its name. `None` if it is not there.
    async fn open(&self, item: &Item, name: &str) -> Result<Option<Box<dyn ArtifactReader>>, CopyError>;
}

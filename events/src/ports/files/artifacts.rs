//! The files that runs left.

use async_trait::async_trait;
use bytes::Bytes;

use crate::artifacts::ArtifactPath;
use crate::id::{Fence, JobId};
use crate::ports::PortError;

/// The files that runs left: those of each run apart from those of every other, whole or not at all.
#[async_trait]
pub trait ArtifactPort: Send + Sync {
    /// Begins to store what a run left. Nothing of it is visible until it is published, and nothing stays if it is
    /// dropped.
    async fn stage(&self, job: JobId, fence: &Fence) -> Result<Box<dyn StagedArtifacts>, PortError>;

    /// The list of a run's files, as it was published; none where nothing was.
    async fn list(&self, job: JobId, fence: &Fence) -> Result<Option<Bytes>, PortError>;

    /// Opens a file of a run at an offset; none where it is not there.
    async fn open(
        &self,
        job: JobId,
        fence: &Fence,
        path: &ArtifactPath,
        offset: u64,
    ) -> Result<Option<Box<dyn ArtifactReader>>, PortError>;

    /// Removes what all runs of a job left; a job without any is no error.
    async fn delete(&self, job: JobId) -> Result<(), PortError>;

    /// Removes what was broken off long ago.
    async fn remove_stale(&self) -> Result<(), PortError>;
}

/// Files on their way into storage, one after the other.
///
/// All but the last step block, and are for a thread that may be blocked: whoever walks an output directory blocks too,
/// and a hop between threads for each of ten thousand small files would cost more than the files.
#[async_trait]
pub trait StagedArtifacts: Send {
    /// Begins the next file.
    fn begin(&mut self, path: &ArtifactPath) -> Result<(), PortError>;

    /// Adds to the file begun last.
    fn write(&mut self, chunk: &[u8]) -> Result<(), PortError>;

    /// Ends the file begun last.
    fn finish(&mut self) -> Result<StagedArtifact, PortError>;

    /// Gives up the file begun last.
    fn discard(&mut self) -> Result<(), PortError>;

    /// Makes the files visible under the run's fence, with `list` beside them, and gives the list's SHA-256 in
    /// hexadecimal. What the same run published before is replaced.
    async fn publish(self: Box<Self>, list: Bytes) -> Result<String, PortError>;
}

/// A file as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedArtifact {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A file that is read from some place on.
#[async_trait]
pub trait ArtifactReader: Send {
    /// The next bytes, at most `max` of them; none at the end.
    async fn read(&mut self, max: usize) -> Result<Bytes, PortError>;
}

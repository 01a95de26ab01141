//! The event log, and the one way to append to it.

use async_trait::async_trait;

use crate::commit::{Commit, CommitError};
use crate::id::{JobId, SubmissionId, UserId};
use crate::job::Job;
use crate::log::envelope::StreamId;
use crate::log::stored::StoredEvent;
use crate::policy::{Limits, PolicyRecord};
use crate::ports::PortError;
use crate::quota::Usage;
use crate::submission::Submission;
use crate::time::Timestamp;

/// The event log, and the one way to append to it.
#[async_trait]
pub trait EventLogPort: Send + Sync {
    /// Reads a job and the time.
    async fn load_job(&self, id: JobId) -> Result<Loaded<Job>, PortError>;

    /// Reads a submission and the time.
    async fn load_submission(&self, id: SubmissionId) -> Result<Loaded<Submission>, PortError>;

    /// Reads the stored policy and the time.
    async fn load_policy(&self) -> Result<Loaded<PolicyRecord>, PortError>;

    /// Reads what a user has in use. The commit guards what is decided on it, because others decide at the same time.
    async fn load_usage(&self, user: &UserId, limits: &Limits) -> Result<LoadedUsage, PortError>;

    /// Writes all of a commit or nothing of it, and returns the places of its events in the log.
    async fn commit(&self, commit: Commit) -> Result<Vec<StreamId>, CommitError>;

    /// Returns the events of a job with `seq` above `after`, oldest first; no events for an unknown job.
    async fn history(&self, job: JobId, after: u64) -> Result<Vec<HistoryEntry>, PortError>;

    /// Returns at most `count` entries of the log after `after`, oldest first. `None` is the beginning.
    async fn read(&self, after: Option<StreamId>, count: usize) -> Result<Vec<HistoryEntry>, PortError>;
}

/// A state and the time at which it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T> {
    /// The state; `None` if it does not exist.
    pub state: Option<T>,
    /// The time of the event log.
    pub now: Timestamp,
}

/// What a user has in use, and which of the user's held jobs gets the next free slot. Both were read at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadedUsage {
    /// What the user has in use.
    pub usage: Usage,
    /// The held job that gets the next free slot; `None` if the user has no held job.
    pub next_held: Option<Job>,
}

/// An event at its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its place.
    pub id: StreamId,
    /// The event as stored.
    pub event: StoredEvent,
}

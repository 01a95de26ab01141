//! What clients read: the projections of the log.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::id::{JobId, SubmissionId, UserId};
use crate::idempotency::Answered;
use crate::job::{Job, JobStatus};
use crate::ports::{PageCursor, PortError};
use crate::results::Results;
use crate::submission::Submission;

/// What clients read: the projections of the log.
#[async_trait]
pub trait JobStatusPort: Send + Sync {
    /// A job as it stands.
    async fn job(&self, id: JobId) -> Result<Option<Job>, PortError>;

    /// The results of a job that completed, as far as they can be read.
    async fn results(&self, id: JobId) -> Result<Option<FoundResults>, PortError>;

    /// A submission as it stands.
    async fn submission(&self, id: SubmissionId) -> Result<Option<Submission>, PortError>;

    /// Whose a job or a submission is, even if the rest of its record can't be read; `None` if that is not known.
    async fn owner(&self, what: Owned) -> Result<Option<UserId>, PortError>;

    /// What an earlier request of a user's under an idempotency key led to, within 24 hours of it.
    async fn answered(&self, user: &UserId, key_sha256: &str) -> Result<Option<Answered>, PortError>;

    /// Jobs, newest first. Reads at most 1,000 index entries, so a page may be short and still have a cursor.
    async fn jobs(&self, query: &JobQuery) -> Result<JobPage, PortError>;

    /// Submissions, newest first. One that is removed meanwhile is left out, so a page may be short and still have a
    /// cursor.
    async fn submissions(&self, query: &SubmissionQuery) -> Result<SubmissionPage, PortError>;

    /// Where each of these stands in the line of its class, or in that of its user; none for one that stands in none.
    async fn positions(&self, jobs: &[Job]) -> Result<Vec<Option<QueuePosition>>, PortError>;

    /// Whether Redis answers.
    async fn ping(&self) -> Result<(), PortError>;
}

/// What belongs to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owned {
    /// A job.
    Job(JobId),
    /// A submission.
    Submission(SubmissionId),
}

/// A record that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable<Id> {
    /// Whose record it is.
    pub id: Id,
    /// What is wrong with it.
    pub reason: String,
}

/// Results as they are stored: the parts that can be read, and what is wrong with the others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FoundResults {
    /// What the run was given.
    pub params: Option<Map<String, Value>>,
    /// What it reached.
    pub metrics: Option<BTreeMap<String, f64>>,
    /// What it cost.
    pub performance: Option<Map<String, Value>>,
    /// Each part that can't be read, and why.
    pub unreadable: BTreeMap<&'static str, String>,
}

impl From<Results> for FoundResults {
    fn from(Results { params, metrics, performance }: Results) -> Self {
        let unreadable = BTreeMap::new();
        Self { params: Some(params), metrics: Some(metrics), performance: Some(performance), unreadable }
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobQuery {
    /// Only this user's; everybody's for none.
    pub user: Option<UserId>,
    /// Only those of this status.
    pub status: Option<JobStatus>,
    /// Where to go on.
    pub cursor: Option<PageCursor<JobId>>,
    /// At most this many.
    pub limit: usize,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobPage {
    /// The jobs, newest first.
    pub jobs: Vec<Job>,
    /// Those between them whose records can't be read, whatever the query asks for. They do not count for its limit.
    pub unreadable: Vec<Unreadable<JobId>>,
    /// Where to go on; none at the end.
    pub next: Option<PageCursor<JobId>>,
}

/// Which submissions to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionQuery {
    /// Only this user's; everybody's for none.
    pub user: Option<UserId>,
    /// Where to go on.
    pub cursor: Option<PageCursor<SubmissionId>>,
    /// At most this many.
    pub limit: usize,
}

/// A page of submissions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SubmissionPage {
    /// The submissions, newest first.
    pub submissions: Vec<Submission>,
    /// Those between them whose records can't be read.
    pub unreadable: Vec<Unreadable<SubmissionId>>,
    /// Where to go on; none at the end.
    pub next: Option<PageCursor<SubmissionId>>,
}

/// Where a pending job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuePosition {
    /// It waits for a worker.
    Dispatched {
        /// Jobs of its class dispatched earlier and not yet started.
        ahead: u64,
    },
    /// It waits for a slot of its user's.
    Held {
        /// Held jobs of its user's that get one earlier.
        ahead: u64,
        /// A job of its user's that has one: one that runs, if any does.
        holder: Option<SlotHolder>,
    },
}

/// A job that has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotHolder {
    /// It runs.
    Running(JobId),
    /// It waits for a worker.
    Dispatched(JobId),
}

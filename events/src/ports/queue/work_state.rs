//! Work state as the reconciler sees it: the tickets and leases, and the jobs that should have them.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::guard::Ticket;
use crate::id::{ClassName, JobId, UserId};
use crate::job::Job;
use crate::ports::{Lease, PortError};
use crate::time::Timestamp;

/// Work state as the reconciler sees it.
#[async_trait]
pub trait WorkStatePort: Send + Sync {
    /// Takes or renews a leader lease, which one process holds at a time. Returns whether `holder` has it now.
    async fn take_leader_lease(&self, lease: LeaderLease, holder: &str, lasting: Duration) -> Result<bool, PortError>;

    /// Returns a page of the jobs that have not ended, from `cursor` on; 0 is the beginning. A job may come twice.
    async fn open_jobs(&self, cursor: u64) -> Result<OpenJobs, PortError>;

    /// Moves unreadable entries, and entries without a job, into the quarantine: leases, tickets of these classes, and
    /// the indexes of jobs that have not ended. Returns their number.
    async fn tidy(&self, classes: &[ClassName]) -> Result<u64, PortError>;

    /// Does the same for the indexes of what a user has in use.
    async fn tidy_user(&self, user: &UserId) -> Result<u64, PortError>;

    /// Returns all tickets of a class.
    async fn tickets(&self, class: &ClassName) -> Result<Tickets, PortError>;

    /// Replaces a stranded ticket by a new one, unless a worker holds it by now. Returns whether it did.
    async fn reissue_stranded(&self, ticket: &Ticket, job: JobId) -> Result<bool, PortError>;

    /// Adds a ticket for a waiting job if the job has not changed since it was read. Returns whether it did.
    async fn restore_ticket(&self, job: &Job) -> Result<bool, PortError>;

    /// Sets the lease of a running job if the job has not changed since it was read. Returns whether it did.
    async fn restore_lease(&self, job: &Job, lease: &Lease) -> Result<bool, PortError>;

    /// Drops a lease as it was read, and its ticket, unless its fence is the current one of the job. Returns whether it
    /// did.
    async fn drop_lease(&self, job: JobId, seen: &Lease) -> Result<bool, PortError>;
}

/// The lease of a service that one process runs for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaderLease {
    /// Reconciles open jobs with the queue.
    Reconciling,
    /// Deletes expired jobs and submissions.
    Expiring,
    /// Records ended runs in the tracker.
    Tracking,
}

/// The tickets of a class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tickets {
    /// Tickets that are held or will be handed out, by their job; only one of two tickets of the same job.
    pub live: HashMap<JobId, Ticket>,
    /// Tickets that were handed out once and have no holder any more: they will never be handed out again.
    pub stranded: Vec<(Ticket, JobId)>,
}

/// A page of the jobs that have not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJobs {
    /// Redis's time.
    pub now: Timestamp,
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Jobs in the index of open jobs that have no status: a damaged read model.
    pub without_status: Vec<JobId>,
    /// Jobs whose status can't be read, with the reason: a damaged read model too.
    pub unreadable: Vec<(JobId, String)>,
    /// Where to go on; 0 at the end.
    pub next: u64,
}

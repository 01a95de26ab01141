//! Work state as the reconciler sees it: the tickets and leases there are, beside the jobs that should have them.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::commit::Ticket;
use crate::id::{ClassName, JobId, UserId};
use crate::job::Job;
use crate::ports::{Lease, PortError};
use crate::time::Timestamp;

/// Work state as the reconciler sees it.
#[async_trait]
pub trait WorkStatePort: Send + Sync {
    /// Takes a turn that one process has at a time, or keeps it, for this long. Whether it is `holder`'s.
    async fn take_turn(&self, turn: Turn, holder: &str, lasting: Duration) -> Result<bool, PortError>;

    /// Some of the jobs that have not ended, from where `cursor` says; 0 is the beginning. A job may come twice.
    async fn open_jobs(&self, cursor: u64) -> Result<OpenJobs, PortError>;

    /// Moves into the quarantine what can't be read, or what no job accounts for, of the leases, of the tickets of these
    /// classes, and of the indexes of the jobs that have not ended. Gives how many entries those were.
    async fn tidy(&self, classes: &[ClassName]) -> Result<u64, PortError>;

    /// The same for what a user has in use.
    async fn tidy_user(&self, user: &UserId) -> Result<u64, PortError>;

    /// Every ticket of a class.
    async fn tickets(&self, class: &ClassName) -> Result<Tickets, PortError>;

    /// Replaces a stranded ticket by a new one, unless somebody holds it by now. Whether it did.
    async fn reissue_stranded(&self, ticket: &Ticket, job: JobId) -> Result<bool, PortError>;

    /// Adds a ticket for a waiting job, if the job is still as it was seen. Whether it did.
    async fn restore_ticket(&self, job: &Job) -> Result<bool, PortError>;

    /// Sets the lease of a running job, if the job is still as it was seen. Whether it did.
    async fn restore_lease(&self, job: &Job, lease: &Lease) -> Result<bool, PortError>;

    /// Drops a lease as it was seen, and its ticket, unless its fence is its job's current one. Whether it did.
    async fn drop_lease(&self, job: JobId, seen: &Lease) -> Result<bool, PortError>;
}

/// What one process does for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Comparing jobs with the work there is.
    Reconciling,
    /// Removing what was kept for long enough.
    Expiring,
    /// Recording in the tracker what it has not got yet.
    Tracking,
}

/// The tickets of a class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tickets {
    /// Those that are held or will be handed out, by their job. Of two of one job it has one.
    pub live: HashMap<JobId, Ticket>,
    /// Those that were handed out once and that nobody holds any more: nobody will ever be handed them again.
    pub stranded: Vec<(Ticket, JobId)>,
}

/// A page of the jobs that have not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJobs {
    /// Redis's time.
    pub now: Timestamp,
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Jobs that are said to be open and have no status: a damaged read model.
    pub without_status: Vec<JobId>,
    /// Jobs whose status can't be read, and why: a damaged read model too.
    pub unreadable: Vec<(JobId, String)>,
    /// Where to go on; 0 at the end.
    pub next: u64,
}

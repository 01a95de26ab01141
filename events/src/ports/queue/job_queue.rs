//! The work streams: tickets, who holds them, and for how long.

use std::time::Duration;

use async_trait::async_trait;

use crate::guard::Ticket;
use crate::id::{ClassName, Consumer, Fence, JobId};
use crate::ports::{Permits, PortError};

/// The work streams: tickets, who holds them, and for how long.
#[async_trait]
pub trait JobQueuePort: Send + Sync {
    /// Opens a reader of these classes' streams for one worker process, on a connection of its own.
    async fn reader(&self, consumer: &Consumer, classes: &[ClassName]) -> Result<Box<dyn TicketReader>, PortError>;

    /// Renews the lease of the run under `fence`, and takes its ticket back if another process holds it.
    async fn heartbeat(&self, job: JobId, fence: &Fence, consumer: &Consumer) -> Result<Heartbeat, PortError>;

    /// Acknowledges and deletes a useless ticket if `consumer` holds it.
    async fn discard(&self, consumer: &Consumer, ticket: &Ticket) -> Result<(), PortError>;

    /// Returns the lease of a job; `None` if no worker holds it.
    async fn lease(&self, job: JobId) -> Result<Option<Lease>, PortError>;

    /// Returns all leases.
    async fn leases(&self) -> Result<Vec<(JobId, Lease)>, PortError>;

    /// Returns the tickets of a class that were claimed and not started yet: no lease names their jobs.
    async fn unstarted(&self, class: &ClassName) -> Result<Vec<Unstarted>, PortError>;

    /// Replaces a ticket by a new one, unless its holder has started it or another process holds it by now. Returns
    /// whether it did.
    async fn reissue(&self, ticket: &Unstarted) -> Result<bool, PortError>;

    /// Replaces a ticket that `consumer` holds and has not started by a new one at the end of the stream. Returns
    /// whether it did.
    async fn put_back(&self, consumer: &Consumer, claim: &Claim) -> Result<bool, PortError>;

    /// Hands all tickets that the dead process `from` held in these classes to `to`, then removes `from` from the
    /// group.
    async fn adopt(&self, from: &Consumer, to: &Consumer, classes: &[ClassName]) -> Result<Vec<Claim>, PortError>;

    /// Removes a process from the groups, unless it holds a ticket.
    async fn retire(&self, consumer: &Consumer, classes: &[ClassName]) -> Result<(), PortError>;

    /// Returns at most `count` delayed jobs that are due by the clock of Redis. A job that is due later than
    /// `longest_wait` from now was delayed before that clock was set back, and is due too.
    async fn due(&self, count: usize, longest_wait: Duration) -> Result<Vec<JobId>, PortError>;

    /// Counts the waiting and the claimed tickets of a class.
    async fn depth(&self, class: &ClassName) -> Result<QueueDepth, PortError>;
}

/// A reader of the work streams, owned by one worker process.
#[async_trait]
pub trait TicketReader: Send {
    /// Claims as many tickets as there are permits for, and waits up to `wait` for the first.
    ///
    /// After an error the next call opens a new connection and first returns the tickets that this process already
    /// holds, because a reply may have been lost. The caller skips the tickets it is busy with. Dropping the future
    /// while it waits loses nothing.
    async fn claim_within(&mut self, permits: Permits, wait: Duration) -> Result<Vec<Claim>, PortError>;

    /// Claims at most `slots` tickets of jobs that need a slot and no GPU.
    async fn claim(&mut self, slots: usize, wait: Duration) -> Result<Vec<Claim>, PortError> {
        self.claim_within(Permits::of_slots(slots), wait).await
    }
}

/// A ticket that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The ticket.
    pub ticket: Ticket,
    /// The job it is for.
    pub job: JobId,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// The run goes on.
    Ok,
    /// The run must stop: a user cancelled the job.
    Cancel,
    /// The run must stop: its fence is no longer the job's.
    Lost,
}

/// Who runs a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Under which authority.
    pub fence: Fence,
    /// How many heartbeats it has had.
    pub beat: u64,
    /// How long it may be silent, in milliseconds.
    pub lease_ms: u64,
    /// Who.
    pub worker: Consumer,
    /// On which ticket.
    pub ticket: Ticket,
}

/// A ticket that was claimed and not started.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unstarted {
    /// The ticket.
    pub ticket: Ticket,
    /// The job it is for.
    pub job: JobId,
    /// Who holds it.
    pub holder: Consumer,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// The state of a class's work stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    /// Tickets that no worker holds.
    pub waiting: u64,
    /// Tickets that workers hold.
    pub claimed: u64,
}

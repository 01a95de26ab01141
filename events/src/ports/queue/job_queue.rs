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

    /// Tells that the run under `fence` is alive and takes its ticket back, should another hold it.
    async fn heartbeat(&self, job: JobId, fence: &Fence, consumer: &Consumer) -> Result<Heartbeat, PortError>;

    /// Acknowledges and deletes a ticket that is of no use, if `consumer` holds it.
    async fn discard(&self, consumer: &Consumer, ticket: &Ticket) -> Result<(), PortError>;

    /// Who holds a job, if anybody does.
    async fn lease(&self, job: JobId) -> Result<Option<Lease>, PortError>;

    /// Every lease there is.
    async fn leases(&self) -> Result<Vec<(JobId, Lease)>, PortError>;

    /// Every claimed ticket of a class whose job no lease names: claimed, and not started so far.
    async fn unstarted(&self, class: &ClassName) -> Result<Vec<Unstarted>, PortError>;

    /// Replaces a ticket by a new one, unless its holder has started it or another holds it by now. Whether it did.
    async fn reissue(&self, ticket: &Unstarted) -> Result<bool, PortError>;

    /// Replaces a ticket that `consumer` holds and has not started by a new one at the end of the stream. Whether it did.
    async fn put_back(&self, consumer: &Consumer, claim: &Claim) -> Result<bool, PortError>;

    /// Hands every ticket that the dead process `from` held in these classes to `to`, and removes `from` from the
    /// group once it holds none.
    async fn adopt(&self, from: &Consumer, to: &Consumer, classes: &[ClassName]) -> Result<Vec<Claim>, PortError>;

    /// Removes a process that holds no ticket from the groups; one that holds some stays.
    async fn retire(&self, consumer: &Consumer, classes: &[ClassName]) -> Result<(), PortError>;

    /// The delayed jobs that are due by Redis's own clock, at most `count`. What is due further ahead than
    /// `longest_wait` was put off before that clock was set back, and is due too.
    async fn due(&self, count: usize, longest_wait: Duration) -> Result<Vec<JobId>, PortError>;

    /// How much waits and how much is held in a class.
    async fn depth(&self, class: &ClassName) -> Result<QueueDepth, PortError>;
}

/// A reader of the work streams, owned by one worker process.
#[async_trait]
pub trait TicketReader: Send {
    /// Takes the tickets that there are permits for, waiting up to `wait` for the first.
    ///
    /// After an error the next call opens a new connection and first gives what this process already holds, for a
    /// reply may have been lost on the way: the caller skips the tickets it is busy with. Dropping the future while it
    /// waits loses nothing.
    async fn claim_within(&mut self, permits: Permits, wait: Duration) -> Result<Vec<Claim>, PortError>;

    /// Takes at most `slots` tickets of jobs that need nothing but a slot.
    async fn claim(&mut self, slots: usize, wait: Duration) -> Result<Vec<Claim>, PortError> {
        self.claim_within(Permits::of_slots(slots), wait).await
    }
}

/// A ticket in a worker's hands.
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
    /// Go on.
    Ok,
    /// Stop: somebody asked for the job's end.
    Cancel,
    /// Stop: this run is no longer the job's.
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
    /// Tickets that nobody holds.
    pub waiting: u64,
    /// Tickets in workers' hands.
    pub claimed: u64,
}

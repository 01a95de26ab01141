//! What may be wrong with a job, its ticket or its lease.

use std::collections::HashMap;
use std::time::Duration;

use events::job::Waiting;
use events::ports::Lease;
use events::{Fence, Job, JobId, JobState, Ticket, Timestamp};

/// How long after it is due a delayed job counts as forgotten by the dispatchers.
const OVERDUE: Duration = Duration::from_secs(10);

/// Something that is not as it must be, at a version of the job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Finding {
    /// It waits for a worker, and no ticket is for it.
    TicketLost(JobId, u64),
    /// It runs, and no lease has its fence.
    LeaseLost(JobId, u64),
    /// It waits for a time that has long come.
    Forgotten(JobId, u64),
    /// A ticket that nobody holds and nobody will be handed.
    Stranded(Ticket),
    /// A lease whose fence is no running job's.
    Orphan(JobId, Fence, u64),
    /// It waits for a resource class that is not offered any more.
    Unserved(JobId, u64),
}

impl Finding {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::TicketLost(..) => "ticket_lost",
            Self::LeaseLost(..) => "lease_lost",
            Self::Forgotten(..) => "forgotten",
            Self::Stranded(_) => "ticket_stranded",
            Self::Orphan(..) => "orphan_lease",
            Self::Unserved(..) => "class_removed",
        }
    }
}

/// What is wrong with a job that has not ended, if anything is.
pub(super) fn look_at(job: &Job, has_ticket: bool, leases: &HashMap<JobId, Lease>, now: Timestamp) -> Option<Finding> {
    let (id, version) = (job.id, job.version);
    match &job.state {
        JobState::Pending(Waiting::Dispatched(_)) => (!has_ticket).then_some(Finding::TicketLost(id, version)),
        JobState::Pending(Waiting::Delayed(due)) => (*due + OVERDUE < now).then_some(Finding::Forgotten(id, version)),
        JobState::Running => {
            let held = leases.get(&id).is_some_and(|lease| Some(&lease.fence) == job.current_fence());
            (!held).then_some(Finding::LeaseLost(id, version))
        }
        // Whether a held one waits in vain is for its user's slots to tell.
        JobState::Pending(Waiting::Held)
        | JobState::Completed(_)
        | JobState::Failed(_)
        | JobState::Cancelled(_)
        | JobState::DeadLettered(_) => None,
    }
}

//! Puts right what no other part can: jobs that wait without a ticket, run without a lease, are overdue, or are held
//! while a slot is free.
//!
//! One process at a time walks through all jobs that have not ended and compares each with the tickets and leases
//! there are. They are not read at one moment, so a finding counts only when two walks see it at the same version of the
//! job. What the domain knows of is repaired by a command, what it doesn't (tickets, leases) as work state, guarded by
//! that version.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use events::execute::{self, ExecuteError, Origin};
use events::job::Waiting;
use events::policy::{LivePolicy, Policy};
use events::ports::{EventLogPort, Ids, JobQueuePort, Lease, LoadedUsage, PortError, Tickets, WorkStatePort};
use events::{Actor, ClassName, Fence, Job, JobCommand, JobId, JobState, StreamId, Ticket, Timestamp, UserId};
use metrics::{counter, gauge};
use tokio::time::sleep;

use crate::outage::Outage;
use crate::services::leader_lease::LeaderLease;

/// How long after it is due a delayed job counts as forgotten by the dispatchers.
const OVERDUE: Duration = Duration::from_secs(10);

/// What a reconciler asks of the outside world.
#[derive(Clone)]
pub struct ReconcilerPorts {
    /// The log of events.
    pub log: Arc<dyn EventLogPort>,
    /// The leases.
    pub queue: Arc<dyn JobQueuePort>,
    /// Jobs beside their tickets and leases.
    pub work_state: Arc<dyn WorkStatePort>,
    /// Chance.
    pub ids: Arc<dyn Ids>,
}

/// Walks, and remembers what the walk before found.
pub struct Reconciler {
    ports: ReconcilerPorts,
    policy: Arc<LivePolicy>,
    before: HashSet<Finding>,
    /// Jobs that can't be read, and were told of.
    unreadable: HashSet<JobId>,
}

/// What a walk came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walk {
    /// Jobs that have not ended.
    pub open: u64,
    /// Findings that only the next walk can confirm.
    pub suspected: u64,
    /// Findings that were repaired.
    pub repaired: u64,
    /// Entries that can't be read, and were moved into the quarantine.
    pub set_aside: u64,
    /// Jobs that have not ended and can't be read: only the log can restore them.
    pub unreadable: u64,
}

/// Something that is not as it must be, at a version of the job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Finding {
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
    const fn kind(&self) -> &'static str {
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

/// Reconciles for as long as the future is polled, whenever this process leads.
pub(crate) async fn run(mut reconciler: Reconciler, lease: LeaderLease, interval: Duration) {
    let mut outage = Outage::of("reconciling");
    loop {
        sleep(interval.mul_f64(reconciler.ports.ids.jitter())).await;
        let walked = match lease.take().await {
            Ok(true) => reconciler.walk().await.map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        match walked {
            Ok(Some(walk)) => {
                outage.over();
                if walk.suspected + walk.repaired + walk.set_aside > 0 {
                    tracing::info!(walk.open, walk.suspected, walk.repaired, walk.set_aside, "reconciled");
                }
            }
            Ok(None) => {
                outage.over();
                reconciler.before.clear();
            }
            Err(error) => {
                outage.note(&error);
                reconciler.before.clear();
            }
        }
    }
}

impl Reconciler {
    /// One that has not walked yet.
    #[must_use]
    pub fn new(ports: ReconcilerPorts, policy: Arc<LivePolicy>) -> Self {
        Self { ports, policy, before: HashSet::new(), unreadable: HashSet::new() }
    }

    /// Walks through all jobs that have not ended, and repairs what this walk and the one before it found.
    ///
    /// # Errors
    /// If Redis does not answer; what was found so far counts for nothing then.
    pub async fn walk(&mut self) -> Result<Walk, PortError> {
        let before = std::mem::take(&mut self.before);
        let classes: Vec<ClassName> = self.policy.get().classes.keys().cloned().collect();
        // What can't be read is moved out of the way first: then all that is left can be judged by itself.
        let mut walk = Walk { set_aside: self.ports.work_state.tidy(&classes).await?, ..Walk::default() };
        let leases: HashMap<JobId, Lease> = self.ports.queue.leases().await?.into_iter().collect();
        let mut tickets = Tickets::default();
        for class in &classes {
            let of_class = self.ports.work_state.tickets(class).await?;
            tickets.live.extend(of_class.live);
            tickets.stranded.extend(of_class.stranded);
        }
        let mut found = HashSet::new();
        for (ticket, job) in &tickets.stranded {
            let finding = Finding::Stranded(ticket.clone());
            if before.contains(&finding) {
                let reissued = readable(self.ports.work_state.reissue_stranded(ticket, *job).await, *job)?;
                tell(&finding, *job, reissued);
                walk.repaired += u64::from(reissued);
            } else {
                found.insert(finding);
            }
        }
        let stranded: HashSet<JobId> = tickets.stranded.iter().map(|(_, job)| *job).collect();
        let offered = self.offered().await?;
        let mut running = HashMap::new();
        let mut waiting_users = BTreeSet::new();
        let mut cursor = 0;
        let mut unreadable = HashSet::new();
        loop {
            let page = self.ports.work_state.open_jobs(cursor).await?;
            for (id, why) in page.unreadable {
                if !self.unreadable.contains(&id) {
                    tracing::error!(job = %id, why, "a job can't be read; `leadersboard doctor --repair` restores it from the log");
                }
                unreadable.insert(id);
            }
            for id in page.without_status {
                tracing::error!(job = %id, "a job is said to be open and has no status: `leadersboard projections rebuild` restores it");
            }
            for job in page.jobs {
                walk.open += 1;
                if matches!(job.state, JobState::Pending(Waiting::Held)) {
                    waiting_users.insert(job.spec.user.clone());
                }
                running.extend(job.current_fence().map(|fence| (job.id, fence.clone())));
                let has_ticket = tickets.live.contains_key(&job.id) || stranded.contains(&job.id);
                let is_unserved = matches!(job.state, JobState::Pending(_))
                    && offered.as_ref().is_some_and(|offered| offered.class(&job.spec.class).is_none());
                let finding = if is_unserved {
                    Some(Finding::Unserved(job.id, job.version))
                } else {
                    look_at(&job, has_ticket, &leases, page.now)
                };
                let Some(finding) = finding else { continue };
                if before.contains(&finding) {
                    let repaired = self.repair(&finding, &job, tickets.live.get(&job.id)).await;
                    walk.repaired += u64::from(readable(repaired, job.id)?);
                } else {
                    found.insert(finding);
                }
            }
            cursor = page.next;
            if cursor == 0 {
                break;
            }
        }
        walk.unreadable = unreadable.len() as u64;
        gauge!("leadersboard_unreadable_jobs").set(walk.unreadable as f64);
        for user in &waiting_users {
            walk.set_aside += self.ports.work_state.tidy_user(user).await?;
            match self.fill_slots(user).await {
                Ok(dispatched) => walk.repaired += dispatched,
                Err(PortError::Corrupt(problem)) => tracing::error!(%user, %problem, "held jobs can't be read"),
                Err(away) => return Err(away),
            }
        }
        for (job, lease) in &leases {
            // Whether a job runs that can't be read is not known.
            if running.get(job) == Some(&lease.fence) || unreadable.contains(job) {
                continue;
            }
            let finding = Finding::Orphan(*job, lease.fence.clone(), lease.beat);
            if before.contains(&finding) {
                let dropped = readable(self.ports.work_state.drop_lease(*job, lease).await, *job)?;
                tell(&finding, *job, dropped);
                walk.repaired += u64::from(dropped);
            } else {
                found.insert(finding);
            }
        }
        walk.suspected = found.len() as u64;
        self.before = found;
        self.unreadable = unreadable;
        Ok(walk)
    }

    /// The stored policy, and not what this process last heard: nothing is cancelled for a class that has just come.
    /// None if it can't be read.
    async fn offered(&self) -> Result<Option<Policy>, PortError> {
        match self.ports.log.load_policy().await {
            Ok(stored) => Ok(Some(stored.state.map(|record| record.settings.policy()).unwrap_or_default())),
            Err(PortError::Corrupt(problem)) => {
                tracing::error!(
                    %problem,
                    "the policy can't be read; `leadersboard doctor --repair` restores it from the log"
                );
                Ok(None)
            }
            Err(away) => Err(away),
        }
    }

    /// Repairs a finding about a job. Whether there still was something to repair.
    async fn repair(&self, finding: &Finding, job: &Job, ticket: Option<&Ticket>) -> Result<bool, PortError> {
        let repaired = match finding {
            Finding::TicketLost(..) => self.ports.work_state.restore_ticket(job).await?,
            Finding::LeaseLost(..) => match self.lease_of(job, ticket) {
                Some(lease) => self.ports.work_state.restore_lease(job, &lease).await?,
                None => false,
            },
            Finding::Forgotten(..) => self.dispatch(job).await?,
            Finding::Unserved(..) => self.withdraw(job).await?,
            Finding::Stranded(_) | Finding::Orphan(..) => false,
        };
        tell(finding, job.id, repaired);
        Ok(repaired)
    }

    /// The lease that a running job must have had. From its first beat on the reapers watch it.
    fn lease_of(&self, job: &Job, ticket: Option<&Ticket>) -> Option<Lease> {
        let nowhere = Ticket { class: job.spec.class.clone(), id: StreamId { ms: 0, seq: 0 } };
        Some(Lease {
            fence: job.current_fence()?.clone(),
            beat: 0,
            lease_ms: u64::try_from(self.policy.get().lease.as_millis()).unwrap_or(u64::MAX),
            worker: job.run.as_ref()?.worker.clone(),
            ticket: ticket.cloned().unwrap_or(nowhere),
        })
    }

    /// Dispatches held jobs of a user's who has a slot free, and tells how many. What a user has in use is read at one
    /// moment, so one walk is enough.
    async fn fill_slots(&self, user: &UserId) -> Result<u64, PortError> {
        let policy = self.policy.get();
        let LoadedUsage { usage, next_held } = self.ports.log.load_usage(user, &policy.limits).await?;
        let free = policy.limits.running.saturating_sub(usage.active);
        let Some(held) = next_held.filter(|_| free > 0) else { return Ok(0) };
        let dispatched = execute::dispatch_held(self.ports.log.as_ref(), &policy, user, self.ports.ids.jitter()).await;
        if dispatched > 0 {
            tracing::warn!(job = %held.id, %user, dispatched, "jobs were held while slots were free; they were dispatched");
            counter!("leadersboard_reconciler_repairs_total", "repair" => "slot_unused").increment(dispatched);
        }
        Ok(dispatched)
    }

    async fn dispatch(&self, job: &Job) -> Result<bool, PortError> {
        self.command(job, &JobCommand::Dispatch).await
    }

    /// Cancels a job whose class was removed: a retry of one that ran meanwhile, or what a removal cut short left.
    async fn withdraw(&self, job: &Job) -> Result<bool, PortError> {
        let reason = format!("resource class {} was removed", job.spec.class);
        self.command(job, &JobCommand::Withdraw { reason }).await
    }

    async fn command(&self, job: &Job, command: &JobCommand) -> Result<bool, PortError> {
        let origin = Origin { actor: Actor::System("reconciler".to_owned()), trace: None };
        let (log, jitter) = (self.ports.log.as_ref(), self.ports.ids.jitter());
        match execute::job(log, &self.policy.get(), &origin, job.id, command, jitter).await {
            Ok(_) => Ok(true),
            Err(ExecuteError::Rejected(_)) => Ok(false),
            Err(ExecuteError::Defect(problem)) => Err(PortError::Corrupt(problem)),
            Err(error) => Err(PortError::Unavailable(error.to_string().into())),
        }
    }
}

/// Whether a repair was made. One that meets what can't be read keeps no other.
fn readable(repaired: Result<bool, PortError>, job: JobId) -> Result<bool, PortError> {
    match repaired {
        Err(PortError::Corrupt(problem)) => {
            tracing::error!(%job, %problem, "a job could not be repaired");
            Ok(false)
        }
        repaired => repaired,
    }
}

fn tell(finding: &Finding, job: JobId, repaired: bool) {
    if repaired {
        tracing::warn!(%job, repair = finding.kind(), "repaired a job");
        counter!("leadersboard_reconciler_repairs_total", "repair" => finding.kind()).increment(1);
    }
}

/// What is wrong with a job that has not ended, if anything is.
fn look_at(job: &Job, has_ticket: bool, leases: &HashMap<JobId, Lease>, now: Timestamp) -> Option<Finding> {
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

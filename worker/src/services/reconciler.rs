//! Puts right what no other part can: jobs that wait without a ticket, run without a lease, are overdue, or are held
//! while a slot is free.
//!
//! One process at a time walks through all jobs that have not ended and compares each with the tickets and leases there
//! are. They are not read at one moment, so a finding counts only when two walks see it at the same version of the job.
//! What the domain knows of is repaired by a command, what it doesn't (tickets, leases) as work state, guarded by that
//! version.

mod finding;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use events::execute::{self, ExecuteError, Origin};
use events::job::Waiting;
use events::policy::{LivePolicy, Policy};
use events::ports::{EventLogPort, Ids, JobQueuePort, Lease, LoadedUsage, PortError, Tickets, WorkStatePort};
use events::problem::chain;
use events::{Actor, ClassName, Fence, Job, JobCommand, JobId, JobState, StreamId, Ticket, Timestamp, UserId};
use metrics::{counter, gauge};
use tokio::time::sleep;

use finding::{Finding, look_at};

use crate::outage::Outage;
use crate::services::leader_lease::LeaderLease;

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
    /// If Redis does not answer. What was found so far counts for nothing then.
    pub async fn walk(&mut self) -> Result<Walk, PortError> {
        let mut under_way = self.begin().await?;
        self.reissue_stranded_tickets(&mut under_way).await?;
        self.look_at_open_jobs(&mut under_way).await?;
        self.fill_free_slots(&mut under_way).await?;
        self.drop_orphan_leases(&mut under_way).await?;
        let UnderWay { mut walk, found, unreadable, .. } = under_way;
        walk.suspected = found.len() as u64;
        (self.before, self.unreadable) = (found, unreadable);
        Ok(walk)
    }

    /// Reads the work there is.
    async fn begin(&mut self) -> Result<UnderWay, PortError> {
        let before = std::mem::take(&mut self.before);
        let classes: Vec<ClassName> = self.policy.get().classes.keys().cloned().collect();
        // What can't be read is moved out of the way first: then all that is left can be judged by itself.
        let set_aside = self.ports.work_state.tidy(&classes).await?;
        let leases = self.ports.queue.leases().await?.into_iter().collect();
        let mut tickets = Tickets::default();
        for class in &classes {
            let of_class = self.ports.work_state.tickets(class).await?;
            tickets.live.extend(of_class.live);
            tickets.stranded.extend(of_class.stranded);
        }
        Ok(UnderWay {
            walk: Walk { set_aside, ..Walk::default() },
            before,
            found: HashSet::new(),
            leases,
            tickets,
            running: HashMap::new(),
            waiting_users: BTreeSet::new(),
            unreadable: HashSet::new(),
        })
    }

    async fn reissue_stranded_tickets(&self, under_way: &mut UnderWay) -> Result<(), PortError> {
        for (ticket, job) in under_way.tickets.stranded.clone() {
            let finding = Finding::Stranded(ticket.clone());
            if under_way.is_confirmed(&finding) {
                let reissued = self.ports.work_state.reissue_stranded(&ticket, job).await;
                under_way.note(&finding, job, reissued)?;
            }
        }
        Ok(())
    }

    async fn look_at_open_jobs(&self, under_way: &mut UnderWay) -> Result<(), PortError> {
        let offered = self.offered().await?;
        let mut cursor = 0;
        loop {
            let page = self.ports.work_state.open_jobs(cursor).await?;
            for (id, why) in page.unreadable {
                if !self.unreadable.contains(&id) {
                    tracing::error!(job = %id, why, "a job can't be read; `leadersboard doctor --repair` restores it from the log");
                }
                under_way.unreadable.insert(id);
            }
            for id in page.without_status {
                tracing::error!(job = %id, "a job is said to be open and has no status: `leadersboard projections rebuild` restores it");
            }
            for job in page.jobs {
                under_way.count(&job);
                let Some(finding) = under_way.look_at(&job, offered.as_ref(), page.now) else { continue };
                if under_way.is_confirmed(&finding) {
                    let repaired = self.repair(&finding, &job, under_way.tickets.live.get(&job.id)).await;
                    under_way.note(&finding, job.id, repaired)?;
                }
            }
            cursor = page.next;
            if cursor == 0 {
                break;
            }
        }
        under_way.walk.unreadable = under_way.unreadable.len() as u64;
        gauge!("leadersboard_unreadable_jobs").set(under_way.walk.unreadable as f64);
        Ok(())
    }

    async fn fill_free_slots(&self, under_way: &mut UnderWay) -> Result<(), PortError> {
        for user in std::mem::take(&mut under_way.waiting_users) {
            under_way.walk.set_aside += self.ports.work_state.tidy_user(&user).await?;
            match self.fill_slots(&user).await {
                Ok(dispatched) => under_way.walk.repaired += dispatched,
                Err(PortError::Corrupt(problem)) => tracing::error!(%user, %problem, "held jobs can't be read"),
                Err(away) => return Err(away),
            }
        }
        Ok(())
    }

    async fn drop_orphan_leases(&self, under_way: &mut UnderWay) -> Result<(), PortError> {
        for (job, lease) in std::mem::take(&mut under_way.leases) {
            // Whether an unreadable job runs is not known.
            if under_way.running.get(&job) == Some(&lease.fence) || under_way.unreadable.contains(&job) {
                continue;
            }
            let finding = Finding::Orphan(job, lease.fence.clone(), lease.beat);
            if under_way.is_confirmed(&finding) {
                let dropped = self.ports.work_state.drop_lease(job, &lease).await;
                under_way.note(&finding, job, dropped)?;
            }
        }
        Ok(())
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

    /// Repairs a finding about a job. Returns whether there still was something to repair.
    async fn repair(&self, finding: &Finding, job: &Job, ticket: Option<&Ticket>) -> Result<bool, PortError> {
        Ok(match finding {
            Finding::TicketLost(..) => self.ports.work_state.restore_ticket(job).await?,
            Finding::LeaseLost(..) => match self.lease_of(job, ticket) {
                Some(lease) => self.ports.work_state.restore_lease(job, &lease).await?,
                None => false,
            },
            Finding::Forgotten(..) => self.dispatch(job).await?,
            Finding::Unserved(..) => self.withdraw(job).await?,
            Finding::Stranded(_) | Finding::Orphan(..) => false,
        })
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
            Err(error) => Err(PortError::Unavailable(chain(&error).into())),
        }
    }
}

/// A walk under way: what it reads, and what it has come to so far.
struct UnderWay {
    walk: Walk,
    /// What the walk before found.
    before: HashSet<Finding>,
    /// What only the next walk can confirm.
    found: HashSet<Finding>,
    leases: HashMap<JobId, Lease>,
    tickets: Tickets,
    /// The running jobs, each with its fence.
    running: HashMap<JobId, Fence>,
    /// The users with held jobs.
    waiting_users: BTreeSet<UserId>,
    unreadable: HashSet<JobId>,
}

impl UnderWay {
    /// Whether the walk before has found this too. If not, it is kept for the next walk.
    fn is_confirmed(&mut self, finding: &Finding) -> bool {
        let is_confirmed = self.before.contains(finding);
        if !is_confirmed {
            self.found.insert(finding.clone());
        }
        is_confirmed
    }

    /// Counts a job that has not ended.
    fn count(&mut self, job: &Job) {
        self.walk.open += 1;
        if matches!(job.state, JobState::Pending(Waiting::Held)) {
            self.waiting_users.insert(job.spec.user.clone());
        }
        self.running.extend(job.current_fence().map(|fence| (job.id, fence.clone())));
    }

    /// What is wrong with a job, if anything is. `offered` is the policy, if that can be read.
    fn look_at(&self, job: &Job, offered: Option<&Policy>, now: Timestamp) -> Option<Finding> {
        let is_unserved = matches!(job.state, JobState::Pending(_))
            && offered.is_some_and(|offered| offered.class(&job.spec.class).is_none());
        if is_unserved {
            return Some(Finding::Unserved(job.id, job.version));
        }
        let is_stranded = || self.tickets.stranded.iter().any(|(_, stranded)| *stranded == job.id);
        let has_ticket = self.tickets.live.contains_key(&job.id) || is_stranded();
        look_at(job, has_ticket, &self.leases, now)
    }

    /// Notes a repair. A record that can't be read holds up no other.
    fn note(&mut self, finding: &Finding, job: JobId, repaired: Result<bool, PortError>) -> Result<(), PortError> {
        match repaired {
            Ok(true) => {
                tracing::warn!(%job, repair = finding.kind(), "repaired a job");
                counter!("leadersboard_reconciler_repairs_total", "repair" => finding.kind()).increment(1);
                self.walk.repaired += 1;
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(PortError::Corrupt(problem)) => {
                tracing::error!(%job, %problem, "a job could not be repaired");
                Ok(())
            }
            Err(away) => Err(away),
        }
    }
}

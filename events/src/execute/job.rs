//! Commands on jobs. A job that ends gives its slot to the next held job of its user, in the same commit if it can.

use super::tries::{ExecuteError, Origin, Tries, unread};
use crate::commit::{Change, Commit, CommitError};
use crate::guard::Guard;
use crate::id::{JobId, UserId};
use crate::job::ending::{Ending, ends};
use crate::job::handover::{frees_slot, hand_over};
use crate::job::{Context, Decision, Job, JobCommand, JobEvent, Rejection, decide, evolve};
use crate::log::envelope::{Actor, Envelope};
use crate::policy::Policy;
use crate::ports::{EventLogPort, Loaded, LoadedUsage, PortError};
use crate::quota::Usage;
use crate::time::Timestamp;
use crate::trace::TraceParent;

/// Carries out commands on jobs.
#[derive(Clone, Copy)]
pub struct JobExecutor<'a> {
    /// The log that is read and written.
    pub log: &'a dyn EventLogPort,
    /// The rules that all roles share.
    pub policy: &'a Policy,
    /// Who commands.
    pub origin: &'a Origin,
    /// A number from 0.8 to 1.2 that multiplies the wait before a retry.
    pub jitter: f64,
    /// What the caller saw outside the job's state, if it relies on that. It must still hold at the commit.
    pub seen: Option<&'a Guard>,
}

/// Carries out a command on a job and returns the job afterwards.
///
/// # Errors
/// As of [`JobExecutor::execute`].
pub async fn job(
    log: &dyn EventLogPort,
    policy: &Policy,
    origin: &Origin,
    id: JobId,
    command: &JobCommand,
    jitter: f64,
) -> Result<Option<Job>, ExecuteError<Rejection>> {
    JobExecutor { log, policy, origin, jitter, seen: None }.execute(id, command).await
}

/// Dispatches held jobs of a user while the user has a free slot, and returns their number. If a commit fails, the
/// reconciler dispatches the rest.
pub async fn dispatch_held(log: &dyn EventLogPort, policy: &Policy, user: &UserId, jitter: f64) -> u64 {
    let origin = Origin { actor: slots(), trace: None };
    let mut dispatched = 0;
    while dispatched < policy.limits.running {
        let Ok(LoadedUsage { usage, next_held }) = log.load_usage(user, &policy.limits).await else { break };
        let Some(held) = next_held.filter(|_| usage.active < policy.limits.running) else { break };
        // Boxed, because a command on a job may end here.
        match Box::pin(job(log, policy, &origin, held.id, &JobCommand::Dispatch, jitter)).await {
            Ok(Some(job)) if job.version != held.version => {}
            Ok(_) | Err(_) => break,
        }
        dispatched += 1;
    }
    dispatched
}

/// The actor of a dispatch that no request asked for.
fn slots() -> Actor {
    Actor::System("slots".to_owned())
}

/// What a decision is made on, as it was read.
struct Read {
    job: Loaded<Job>,
    usage: Usage,
    next_held: Option<Job>,
}

/// What follows from a command.
#[expect(clippy::large_enum_variant, reason = "there is one a try, and it is taken apart at once")]
enum Plan {
    /// It took effect before.
    AlreadyApplied(Option<Job>),
    /// It takes effect with a commit.
    Commit(Planned),
}

/// A commit, and what its answer is judged by.
struct Planned {
    commit: Commit,
    /// The job after the commit.
    after: Option<Job>,
    /// Whose slot the commit gives back, if it does.
    freed: Option<UserId>,
    /// The guards of handing the slot on. If one of them fails, the slot is given back in another way.
    handover: Vec<Guard>,
}

impl JobExecutor<'_> {
    /// Carries out a command on a job and returns the job afterwards.
    ///
    /// The ids and the fence are in the command, so a commit whose answer was lost is found to be
    /// [`Decision::AlreadyApplied`] when the command is decided again.
    ///
    /// # Errors
    /// A refusal of the domain, why the commit was not made, or [`ExecuteError::GuardFailed`] if what the caller saw no
    /// longer holds.
    pub async fn execute(&self, id: JobId, command: &JobCommand) -> Result<Option<Job>, ExecuteError<Rejection>> {
        let mut tries = Tries::default();
        let mut ending = Ending::first(command);
        loop {
            let read = match self.read(id, command, ending).await {
                // An end waits for no other job's record, readable or not.
                Err(PortError::Corrupt(_)) if ending != Ending::Blind && ends(command) => {
                    ending = Ending::Blind;
                    tries.again()?;
                    continue;
                }
                read => read.map_err(unread)?,
            };
            let planned = match self.plan(id, command, read, ending).map_err(ExecuteError::Rejected)? {
                Plan::Commit(planned) => planned,
                Plan::AlreadyApplied(job) => {
                    // This very call may have made the commit, whose answer was lost.
                    self.dispatch_next(ending, job.as_ref().map(|job| &job.spec.user)).await;
                    return Ok(job);
                }
            };
            match self.log.commit(planned.commit).await {
                Ok(_) => {
                    self.dispatch_next(ending, planned.freed.as_ref()).await;
                    return Ok(planned.after);
                }
                Err(CommitError::GuardFailed(guard)) => match self.refusal(guard) {
                    Ok(refusal) => return Err(refusal),
                    Err(guard) if planned.handover.contains(&guard) => {
                        ending = ending.next();
                        tries.again()?;
                    }
                    Err(guard) => tries.failed(CommitError::GuardFailed(guard))?,
                },
                Err(error) => tries.failed(error)?,
            }
        }
    }

    /// Reads the job and, if the decision depends on it, what its user has in use.
    async fn read(&self, id: JobId, command: &JobCommand, ending: Ending) -> Result<Read, PortError> {
        let (log, limits) = (self.log, &self.policy.limits);
        let alone = |job, usage| Ok(Read { job, usage, next_held: None });
        let beside = |job, LoadedUsage { usage, next_held }| Ok(Read { job, usage, next_held });
        match command {
            _ if ending == Ending::HeldByNobody => alone(log.load_job(id).await?, Usage::default()),
            _ if ending == Ending::Blind => alone(log.load_job(id).await?, Usage::unknown()),
            JobCommand::Enqueue(spec) => {
                let (job, usage) = futures::join!(log.load_job(id), log.load_usage(&spec.user, limits));
                beside(job?, usage?)
            }
            JobCommand::Start(_) | JobCommand::Track { .. } | JobCommand::Expire => {
                alone(log.load_job(id).await?, Usage::default())
            }
            JobCommand::Dispatch
            | JobCommand::Complete { .. }
            | JobCommand::Fail { .. }
            | JobCommand::LoseLease { .. }
            | JobCommand::RequestCancel { .. }
            | JobCommand::Withdraw { .. }
            | JobCommand::AcknowledgeCancel { .. }
            | JobCommand::Replay { .. } => {
                let loaded = log.load_job(id).await?;
                match &loaded.state {
                    Some(job) => {
                        let usage = log.load_usage(&job.spec.user, limits).await?;
                        beside(loaded, usage)
                    }
                    None => alone(loaded, Usage::default()),
                }
            }
        }
    }

    /// Decides the command, and makes a commit of what follows.
    fn plan(&self, id: JobId, command: &JobCommand, read: Read, ending: Ending) -> Result<Plan, Rejection> {
        let Read { job: Loaded { state: before, now }, usage, next_held } = read;
        let context = Context { now, policy: self.policy, usage: &usage, jitter: self.jitter };
        let Decision::Happens { events, mut guards, mut work, lane } = decide(id, before.as_ref(), command, &context)?
        else {
            return Ok(Plan::AlreadyApplied(before));
        };
        guards.extend(self.seen.cloned());
        // What no request caused belongs to the trace that the job began with.
        let trace = self.origin.trace.clone().or_else(|| before.as_ref()?.trace.clone());
        let events = envelopes(before.as_ref(), events, now, &self.origin.actor, trace.as_ref());
        let after = events.iter().fold(before.clone(), |state, event| evolve(id, state, event));
        let freed = before.as_ref().filter(|_| frees_slot(before.as_ref(), after.as_ref()));
        let (mut next, mut handover) = (None, vec![]);
        if let Some(job) = freed.filter(|_| matches!(ending, Ending::HeldByNobody | Ending::HandsOver)) {
            let handed = hand_over(job, &usage, next_held.as_ref(), &self.policy.limits);
            guards.extend(handed.guards.iter().cloned());
            work.extend(handed.work);
            next = handed.next.map(|(held, event)| dispatch(held, event, now));
            handover = handed.guards;
        }
        let freed = freed.map(|job| job.spec.user.clone());
        let commit = Commit { change: Change::Job { id, before, events }, next, guards, work, lane };
        Ok(Plan::Commit(Planned { commit, after, freed, handover }))
    }

    /// Returns why the command is refused if this guard failed, or the guard if another try may succeed.
    fn refusal(&self, guard: Guard) -> Result<ExecuteError<Rejection>, Guard> {
        match guard {
            Guard::SubmissionReady(submission) => Ok(ExecuteError::Rejected(Rejection::SubmissionGone(submission))),
            // This process has not heard yet that the class was removed.
            Guard::ClassOffered(class) => Ok(ExecuteError::Rejected(Rejection::UnknownClass(class.to_string()))),
            guard @ Guard::IdempotencyKeyUnused { .. } => Ok(ExecuteError::GuardFailed(guard)),
            guard if self.seen == Some(&guard) => Ok(ExecuteError::GuardFailed(guard)),
            guard => Err(guard),
        }
    }

    /// Dispatches the user's next held jobs if the slot was given back alone.
    async fn dispatch_next(&self, ending: Ending, user: Option<&UserId>) {
        if let (Some(user), Ending::Alone) = (user, ending) {
            dispatch_held(self.log, self.policy, user, self.jitter).await;
        }
    }
}

/// The change of the held job that gets the slot.
fn dispatch(held: Job, event: JobEvent, now: Timestamp) -> Change {
    let events = envelopes(Some(&held), vec![event], now, &slots(), held.trace.as_ref());
    Change::Job { id: held.id, before: Some(held), events }
}

fn envelopes(
    before: Option<&Job>,
    events: Vec<JobEvent>,
    at: Timestamp,
    actor: &Actor,
    trace: Option<&TraceParent>,
) -> Vec<Envelope<JobEvent>> {
    let version = before.map_or(0, |job| job.version);
    (version + 1..)
        .zip(events)
        .map(|(seq, event)| Envelope { seq, at, actor: actor.clone(), trace: trace.cloned(), event })
        .collect()
}

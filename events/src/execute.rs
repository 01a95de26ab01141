//! The loop around every command: load, decide, commit, and again after a conflict.

use crate::commit::{Change, Commit, CommitError, Guard, Lane};
use crate::id::{JobId, SubmissionId, UserId};
use crate::job::ending::{Ending, ends};
use crate::job::handover::{frees_slot, hand_over};
use crate::job::{self, Context, Decision, Job, JobCommand, JobEvent, evolve};
use crate::log::envelope::{Actor, Envelope};
use crate::policy::{self, InvalidPolicy, Policy, PolicySettings};
use crate::ports::{EventLogPort, Loaded, PortError};
use crate::quota::Usage;
use crate::submission::{self, SubmissionCommand};
use crate::time::Timestamp;
use crate::trace::TraceParent;

/// How often a command is decided anew after a conflict or a cut connection before its caller hears of it.
pub const MAX_TRIES: u32 = 16;

/// Who commands, and within which trace.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Who.
    pub actor: Actor,
    /// Within which trace.
    pub trace: Option<TraceParent>,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// The domain refused it.
    #[error("{0}")]
    Rejected(R),
    /// What the caller relied on does not hold.
    #[error("a guard does not hold: {0:?}")]
    GuardFailed(Guard),
    /// Redis is full and takes nothing new in.
    #[error("Redis is at its memory limit and takes nothing new in")]
    Full,
    /// Redis is away, or so many others changed the same thing that this command never got its turn.
    #[error("{0}")]
    Unavailable(String),
    /// The commit is larger than one may be.
    #[error("the commit is too large: {0} bytes")]
    TooLarge(usize),
    /// Something is broken.
    #[error("{0}")]
    Defect(String),
}

/// Carries out a command on a job and returns the job as it stands then.
///
/// The ids and the fence are in the command, so a commit whose answer was lost is found to be
/// [`Decision::AlreadyApplied`] when it is decided again.
///
/// # Errors
/// A refusal of the domain, or why Redis did not take the commit.
pub async fn job(
    log: &dyn EventLogPort,
    policy: &Policy,
    origin: &Origin,
    id: JobId,
    command: &JobCommand,
    jitter: f64,
) -> Result<Option<Job>, ExecuteError<job::Rejection>> {
    job_if(log, policy, origin, id, command, jitter, None).await
}

/// As [`job`], if what the caller saw outside of the job's state still holds when it is committed.
///
/// # Errors
/// As of [`job`], and [`ExecuteError::GuardFailed`].
pub async fn job_if(
    log: &dyn EventLogPort,
    policy: &Policy,
    origin: &Origin,
    id: JobId,
    command: &JobCommand,
    jitter: f64,
    seen: Option<&Guard>,
) -> Result<Option<Job>, ExecuteError<job::Rejection>> {
    let mut last = String::new();
    let mut ending = Ending::first(command);
    for _ in 0..MAX_TRIES {
        let (loaded, usage) = match load_with_usage(log, policy, id, command, ending).await {
            // An end waits for no other job's record, readable or not.
            Err(PortError::Corrupt(_)) if ending != Ending::Blind && ends(command) => {
                ending = Ending::Blind;
                continue;
            }
            loaded => loaded.map_err(unreachable_port)?,
        };
        let context = Context { now: loaded.now, policy, usage: &usage, jitter };
        let decided = job::decide(id, loaded.state.as_ref(), command, &context).map_err(ExecuteError::Rejected)?;
        let Decision::Happens { events, mut guards, mut work, lane } = decided else {
            // It may be this very call's ending, made alone, whose answer was lost.
            if let (Some(job), Ending::Alone) = (&loaded.state, ending) {
                dispatch_held(log, policy, &job.spec.user, jitter).await;
            }
            return Ok(loaded.state);
        };
        guards.extend(seen.cloned());
        let (before, now) = (loaded.state, loaded.now);
        // What nobody's request caused belongs to the trace that the job began with.
        let trace = origin.trace.clone().or_else(|| before.as_ref()?.trace.clone());
        let events = envelopes(before.as_ref(), events, now, &origin.actor, trace.as_ref());
        let after = events.iter().fold(before.clone(), |state, event| evolve(id, state, event));
        let freed = before.as_ref().filter(|_| frees_slot(before.as_ref(), after.as_ref()));
        let user = freed.map(|job| job.spec.user.clone());
        let handover = freed.filter(|_| matches!(ending, Ending::HeldByNobody | Ending::HandsOver));
        let handover = handover.map(|job| hand_over(job, &usage, &policy.limits));
        let (next, relied_on) = match handover {
            None => (None, vec![]),
            Some(handover) => {
                guards.extend(handover.guards.iter().cloned());
                work.extend(handover.work);
                let next = handover.next.map(|(held, event)| {
                    let (actor, trace) = (Actor::System("slots".to_owned()), held.trace.clone());
                    let events = envelopes(Some(&held), vec![event], now, &actor, trace.as_ref());
                    Change::Job { id: held.id, before: Some(*held), events }
                });
                (next, handover.guards)
            }
        };
        let change = Change::Job { id, before, events };
        match log.commit(Commit { change, next, guards, work, lane }).await {
            Ok(_) => {
                if let (Some(user), Ending::Alone) = (user, ending) {
                    dispatch_held(log, policy, &user, jitter).await;
                }
                return Ok(after);
            }
            Err(CommitError::GuardFailed(Guard::SubmissionReady(submission))) => {
                return Err(ExecuteError::Rejected(job::Rejection::SubmissionGone(submission)));
            }
            // This process has not heard yet that the class was removed.
            Err(CommitError::GuardFailed(Guard::ClassOffered(class))) => {
                return Err(ExecuteError::Rejected(job::Rejection::UnknownClass(class.to_string())));
            }
            Err(CommitError::GuardFailed(guard @ Guard::IdempotencyKeyUnused { .. })) => {
                return Err(ExecuteError::GuardFailed(guard));
            }
            Err(CommitError::GuardFailed(guard)) if seen == Some(&guard) => {
                return Err(ExecuteError::GuardFailed(guard));
            }
            Err(CommitError::GuardFailed(guard)) if relied_on.contains(&guard) => ending = ending.next(),
            Err(error) => last = retryable(error)?,
        }
    }
    Err(ExecuteError::Unavailable(last))
}

/// A job and, where the decision depends on it, what its user has in use.
async fn load_with_usage(
    log: &dyn EventLogPort,
    policy: &Policy,
    id: JobId,
    command: &JobCommand,
    ending: Ending,
) -> Result<(Loaded<Job>, Usage), PortError> {
    match command {
        _ if ending == Ending::HeldByNobody => Ok((log.load_job(id).await?, Usage::default())),
        _ if ending == Ending::Blind => Ok((log.load_job(id).await?, Usage::unknown())),
        JobCommand::Enqueue(spec) => {
            let (job, usage) = futures::join!(log.load_job(id), log.load_usage(&spec.user, &policy.limits));
            Ok((job?, usage?))
        }
        JobCommand::Start(_) | JobCommand::Track { .. } | JobCommand::Expire => {
            Ok((log.load_job(id).await?, Usage::default()))
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
            let usage = match &loaded.state {
                Some(job) => log.load_usage(&job.spec.user, &policy.limits).await?,
                None => Usage::default(),
            };
            Ok((loaded, usage))
        }
    }
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

/// Dispatches held jobs of a user's while they have a free slot, and tells how many. Where it can't, the reconciler will.
pub async fn dispatch_held(log: &dyn EventLogPort, policy: &Policy, user: &UserId, jitter: f64) -> u64 {
    let origin = Origin { actor: Actor::System("slots".to_owned()), trace: None };
    let mut dispatched = 0;
    while dispatched < policy.limits.running {
        let Ok(usage) = log.load_usage(user, &policy.limits).await else { break };
        let Some(held) = usage.next_held.filter(|_| usage.active < policy.limits.running) else { break };
        // Boxed, for a command on a job may end here.
        match Box::pin(job(log, policy, &origin, held.id, &JobCommand::Dispatch, jitter)).await {
            Ok(Some(job)) if job.version != held.version => {}
            Ok(_) | Err(_) => break,
        }
        dispatched += 1;
    }
    dispatched
}

/// Carries out a command on a submission.
///
/// # Errors
/// A refusal of the domain, or why Redis did not take the commit.
pub async fn submission(
    log: &dyn EventLogPort,
    policy: &Policy,
    origin: &Origin,
    id: SubmissionId,
    command: &SubmissionCommand,
) -> Result<(), ExecuteError<submission::Rejection>> {
    let limits = &policy.limits;
    let mut last = String::new();
    for _ in 0..MAX_TRIES {
        let (loaded, usage) = match command {
            SubmissionCommand::Create(manifest) => {
                futures::join!(log.load_submission(id), log.load_usage(&manifest.user, limits))
            }
            SubmissionCommand::Expire => (log.load_submission(id).await, Ok(Usage::default())),
        };
        let (loaded, usage) = (loaded.map_err(unreachable_port)?, usage.map_err(unreachable_port)?);
        let context = submission::Context { now: loaded.now, limits, usage: &usage };
        let decided =
            submission::decide(id, loaded.state.as_ref(), command, &context).map_err(ExecuteError::Rejected)?;
        let submission::Decision::Happens { event, guards, lane } = decided else {
            return Ok(());
        };
        let seq = loaded.state.as_ref().map_or(0, |submission| submission.version) + 1;
        let (actor, trace) = (origin.actor.clone(), origin.trace.clone());
        let events = vec![Envelope { seq, at: loaded.now, actor, trace, event }];
        let change = Change::Submission { id, before: loaded.state, events };
        match log.commit(Commit { change, next: None, guards, work: vec![], lane }).await {
            Ok(_) => return Ok(()),
            Err(CommitError::GuardFailed(Guard::WithoutJobs(_))) => {
                return Err(ExecuteError::Rejected(submission::Rejection::InUse));
            }
            Err(CommitError::GuardFailed(guard @ Guard::IdempotencyKeyUnused { .. })) => {
                return Err(ExecuteError::GuardFailed(guard));
            }
            Err(error) => last = retryable(error)?,
        }
    }
    Err(ExecuteError::Unavailable(last))
}

/// Changes the policy, and gives it as it stands then.
///
/// # Errors
/// Why the wish would not work, or why Redis did not take the commit.
pub async fn policy(
    log: &dyn EventLogPort,
    origin: &Origin,
    wish: &PolicySettings,
) -> Result<PolicySettings, ExecuteError<InvalidPolicy>> {
    wish.check().map_err(ExecuteError::Rejected)?;
    let mut last = String::new();
    for _ in 0..MAX_TRIES {
        let loaded = log.load_policy().await.map_err(unreachable_port)?;
        let settings = || loaded.state.as_ref().map(|record| record.settings.clone()).unwrap_or_default();
        let Some(event) = policy::decide(loaded.state.as_ref(), wish) else {
            return Ok(settings());
        };
        let seq = loaded.state.as_ref().map_or(0, |record| record.version) + 1;
        let (actor, trace) = (origin.actor.clone(), origin.trace.clone());
        let event = Envelope { seq, at: loaded.now, actor, trace, event };
        let after = policy::evolve(&event).settings;
        let change = Change::Policy { before: loaded.state, event };
        match log.commit(Commit { change, next: None, guards: vec![], work: vec![], lane: Lane::Progress }).await {
            Ok(_) => return Ok(after),
            Err(error) => last = retryable(error)?,
        }
    }
    Err(ExecuteError::Unavailable(last))
}

fn unreachable_port<R>(error: PortError) -> ExecuteError<R> {
    match error {
        PortError::Unavailable(what) => ExecuteError::Unavailable(what),
        PortError::Corrupt(what) => ExecuteError::Defect(what),
    }
}

/// Sorts what another try can cure (its text is returned) from what it can't.
fn retryable<R>(error: CommitError) -> Result<String, ExecuteError<R>> {
    match error {
        CommitError::Conflict | CommitError::Regressed | CommitError::Unavailable(_) | CommitError::GuardFailed(_) => {
            Ok(error.to_string())
        }
        CommitError::Full => Err(ExecuteError::Full),
        CommitError::TooLarge(bytes) => Err(ExecuteError::TooLarge(bytes)),
        CommitError::Defect(_) => Err(ExecuteError::Defect(error.to_string())),
    }
}

//! The loop around every command: load, decide, commit, and again after a conflict.

use crate::commit::{Change, Commit, CommitError, Guard, Lane};
use crate::envelope::{Actor, Envelope};
use crate::id::{JobId, SubmissionId};
use crate::job::{self, Context, Decision, Job, JobCommand, evolve};
use crate::policy::{self, InvalidPolicy, Policy, PolicySettings};
use crate::ports::{EventLogPort, PortError};
use crate::seeded_bug;
use crate::submission::{self, SubmissionCommand};
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
    let mut command = std::borrow::Cow::Borrowed(command);
    for tries in 0..MAX_TRIES {
        if tries > 0 && seeded_bug!("retry_with_fresh_fence") {
            command = std::borrow::Cow::Owned(with_another_fence(&command));
        }
        let loaded = log.load_job(id).await.map_err(unreachable_port)?;
        let context = Context { now: loaded.now, policy, jitter };
        let decided = job::decide(id, loaded.state.as_ref(), &command, &context).map_err(ExecuteError::Rejected)?;
        let Decision::Happens { events, mut guards, work, lane } = decided else {
            return Ok(loaded.state);
        };
        guards.extend(seen.cloned());
        let version = loaded.state.as_ref().map_or(0, |job| job.version);
        // What nobody's request caused belongs to the trace that the job began with.
        let trace = origin.trace.clone().or_else(|| loaded.state.as_ref()?.trace.clone());
        let events: Vec<_> = (version + 1..)
            .zip(events)
            .map(|(seq, event)| Envelope {
                seq,
                at: loaded.now,
                actor: origin.actor.clone(),
                trace: trace.clone(),
                event,
            })
            .collect();
        let after = events.iter().fold(loaded.state.clone(), |state, event| evolve(id, state, event));
        let change = Change::Job { id, before: loaded.state, events };
        match log.commit(Commit { change, guards, work, lane }).await {
            Ok(_) => return Ok(after),
            Err(CommitError::GuardFailed(Guard::SubmissionReady(submission))) => {
                return Err(ExecuteError::Rejected(job::Rejection::SubmissionGone(submission)));
            }
            Err(CommitError::GuardFailed(guard)) if seen == Some(&guard) => {
                return Err(ExecuteError::GuardFailed(guard));
            }
            Err(error) => last = retryable(error)?,
        }
    }
    Err(ExecuteError::Unavailable(last))
}

/// The command of a caller who draws a new fence for every try: a known mistake.
fn with_another_fence(command: &JobCommand) -> JobCommand {
    let mut command = command.clone();
    if let JobCommand::Start(start) = &mut command {
        let another: String = start.fence.as_str().chars().rev().collect();
        start.fence = another.parse().expect("the digits of a fence");
    }
    command
}

/// Carries out a command on a submission.
///
/// # Errors
/// A refusal of the domain, or why Redis did not take the commit.
pub async fn submission(
    log: &dyn EventLogPort,
    origin: &Origin,
    id: SubmissionId,
    command: &SubmissionCommand,
) -> Result<(), ExecuteError<submission::Rejection>> {
    let mut last = String::new();
    for _ in 0..MAX_TRIES {
        let loaded = log.load_submission(id).await.map_err(unreachable_port)?;
        let decided = submission::decide(loaded.state.as_ref(), command).map_err(ExecuteError::Rejected)?;
        let Some((events, lane)) = decided else {
            return Ok(());
        };
        let version = loaded.state.as_ref().map_or(0, |submission| submission.version);
        let events = (version + 1..)
            .zip(events)
            .map(|(seq, event)| Envelope {
                seq,
                at: loaded.now,
                actor: origin.actor.clone(),
                trace: origin.trace.clone(),
                event,
            })
            .collect();
        let change = Change::Submission { id, before: loaded.state, events };
        match log.commit(Commit { change, guards: vec![], work: vec![], lane }).await {
            Ok(_) => return Ok(()),
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
        match log.commit(Commit { change, guards: vec![], work: vec![], lane: Lane::Progress }).await {
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
        CommitError::TooLarge(_) | CommitError::Defect(_) => Err(ExecuteError::Defect(error.to_string())),
    }
}

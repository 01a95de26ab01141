//! What follows from a command: events, guards and work, or a refusal. Pure.

use chrono::SubsecRound;

use crate::failure::LossCause;
use crate::guard::{Guard, Lane, WorkChange};
use crate::id::{Fence, JobId, RequestId, SubmissionId, UserId};
use crate::job::command::{CancelMode, JobCommand, Start};
use crate::job::event::JobEvent;
use crate::job::state::{Job, JobSpec, JobState, JobStatus, TrackedRun, Waiting};
use crate::policy::{AfterLoss, Policy};
use crate::quota::{LimitReached, Slot, Usage, admit_job, window_start};
use crate::time::Timestamp;

/// After this many starts a worker that is unfit costs a job a try like any other failure of the platform.
const MAX_FREE_STARTS: usize = 32;

/// What a decision may know beside the state and the command.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Redis's time when the state was read.
    pub now: Timestamp,
    /// The rules that all roles share.
    pub policy: &'a Policy,
    /// What the job's user has in use.
    pub usage: &'a Usage,
    /// A number from 0.8 to 1.2, drawn for this decision.
    pub jitter: f64,
}

/// What a command leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// These events, if these guards hold, with these changes of the work streams.
    Happens {
        /// What happens.
        events: Vec<JobEvent>,
        /// What it depends on.
        guards: Vec<Guard>,
        /// What it does to the work streams.
        work: Vec<WorkChange>,
        /// Whether a full Redis may refuse it.
        lane: Lane,
    },
    /// It took effect before: a success with nothing to write.
    AlreadyApplied,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such job.
    #[error("there is no such job")]
    Unknown,
    /// There is no such submission, or it was removed.
    #[error("there is no submission {0}")]
    SubmissionGone(SubmissionId),
    /// Another job has this id.
    #[error("a job with this id exists already")]
    IdTaken,
    /// It has ended.
    #[error("the job has already ended as {0}")]
    Ended(JobStatus),
    /// It does not wait for a worker: this ticket is out of date.
    #[error("the job does not wait for a worker")]
    NotStartable,
    /// Another run of it is current, or none is.
    #[error("the fence is not the current one")]
    FenceLost,
    /// It has not ended.
    #[error("the job has not ended")]
    NotEnded,
    /// Its run under this fence has not ended, is recorded already, or is not to be.
    #[error("no end of this run waits to be recorded")]
    NothingToTrack,
    /// Only what failed can be run again.
    #[error("the job ended as {0}; only a failed job can be replayed")]
    NotReplayable(JobStatus),
    /// The resource class does not exist.
    #[error("there is no resource class {0:?}")]
    UnknownClass(String),
    /// A limit of its user's was reached.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// It is held, and its user has no free slot.
    #[error("the job's user has no free slot")]
    NoSlot,
}

/// Decides a command on a job.
///
/// # Errors
/// A typed refusal; nothing is written then.
pub fn decide(
    id: JobId,
    job: Option<&Job>,
    command: &JobCommand,
    context: &Context<'_>,
) -> Result<Decision, Rejection> {
    let Some(job) = job else {
        return match command {
            JobCommand::Enqueue(spec) => enqueue(id, spec, context),
            JobCommand::Dispatch
            | JobCommand::Start(_)
            | JobCommand::Complete { .. }
            | JobCommand::Fail { .. }
            | JobCommand::LoseLease { .. }
            | JobCommand::RequestCancel { .. }
            | JobCommand::Withdraw { .. }
            | JobCommand::AcknowledgeCancel { .. }
            | JobCommand::Replay { .. }
            | JobCommand::Track { .. }
            | JobCommand::Expire => Err(Rejection::Unknown),
        };
    };
    match command {
        JobCommand::Enqueue(spec) if *spec == job.spec => Ok(Decision::AlreadyApplied),
        JobCommand::Enqueue(_) => Err(Rejection::IdTaken),
        JobCommand::Dispatch => dispatch(job, context),
        JobCommand::Start(start) => start_job(job, start, context),
        JobCommand::Complete { fence, results, artifacts, tracked } => {
            let already = matches!(job.state, JobState::Completed(_)) && job.fences.last() == Some(fence);
            let event = JobEvent::Completed {
                fence: fence.clone(),
                results: results.clone(),
                artifacts: artifacts.clone(),
                tracked: tracked.clone(),
            };
            finish(job, fence, already, vec![event])
        }
        JobCommand::Fail { fence, failure } => {
            let already = matches!(job.state, JobState::Failed(_)) && job.fences.last() == Some(fence);
            finish(job, fence, already, vec![JobEvent::Failed { fence: fence.clone(), failure: failure.clone() }])
        }
        JobCommand::LoseLease { fence, cause, error } => lose_lease(job, fence, *cause, error, context),
        JobCommand::RequestCancel { by, force } => match &job.state {
            JobState::Cancelled(_) => Ok(Decision::AlreadyApplied),
            JobState::Completed(_) | JobState::Failed(_) | JobState::DeadLettered(_) => {
                Err(Rejection::Ended(job.status()))
            }
            JobState::Running if *force == CancelMode::Graceful && job.cancel_requested_by.is_some() => {
                Ok(Decision::AlreadyApplied)
            }
            JobState::Running if *force == CancelMode::Graceful => {
                Ok(happens(vec![JobEvent::CancelRequested { by: by.clone() }], vec![]))
            }
            JobState::Running => {
                let events = vec![
                    JobEvent::CancelRequested { by: by.clone() },
                    JobEvent::Cancelled { refunded: false, reason: None },
                ];
                Ok(happens(events, vec![WorkChange::ReleaseLease { job: job.id }]))
            }
            JobState::Pending(_) => {
                let requested = JobEvent::CancelRequested { by: by.clone() };
                Ok(cancel_pending(job, Some(requested), None, context))
            }
        },
        JobCommand::Withdraw { reason } => match &job.state {
            JobState::Pending(_) => Ok(cancel_pending(job, None, Some(reason.clone()), context)),
            JobState::Running => Err(Rejection::NotStartable),
            JobState::Cancelled(_) => Ok(Decision::AlreadyApplied),
            JobState::Completed(_) | JobState::Failed(_) | JobState::DeadLettered(_) => {
                Err(Rejection::Ended(job.status()))
            }
        },
        JobCommand::AcknowledgeCancel { fence } => {
            let already = matches!(job.state, JobState::Cancelled(_)) && job.fences.last() == Some(fence);
            finish(job, fence, already, vec![JobEvent::Cancelled { refunded: false, reason: None }])
        }
        JobCommand::Replay { request, .. } if job.replayed_by_request == Some(*request) => Ok(Decision::AlreadyApplied),
        JobCommand::Replay { by, why, request } => match &job.state {
            JobState::Pending(_) | JobState::Running => Err(Rejection::NotEnded),
            JobState::Completed(_) | JobState::Cancelled(_) => Err(Rejection::NotReplayable(job.status())),
            JobState::Failed(_) | JobState::DeadLettered(_) => replay(job, by, why, *request, context),
        },
        JobCommand::Track { fence, run } => track(job, fence, run),
        JobCommand::Expire if job.is_terminal() => Ok(happens(vec![JobEvent::Expired {}], vec![])),
        JobCommand::Expire => Err(Rejection::NotEnded),
    }
}

fn happens(events: Vec<JobEvent>, work: Vec<WorkChange>) -> Decision {
    Decision::Happens { events, guards: vec![], work, lane: Lane::Progress }
}

fn guarded(events: Vec<JobEvent>, guard: Option<Guard>, work: Vec<WorkChange>) -> Decision {
    Decision::Happens { events, guards: guard.into_iter().collect(), work, lane: Lane::Progress }
}

fn add_ticket(job: &Job) -> WorkChange {
    WorkChange::AddTicket { class: job.spec.class.clone(), job: job.id }
}

fn enqueue(id: JobId, spec: &JobSpec, context: &Context<'_>) -> Result<Decision, Rejection> {
    if context.policy.class(&spec.class).is_none() {
        return Err(Rejection::UnknownClass(spec.class.to_string()));
    }
    let (usage, limits) = (context.usage, &context.policy.limits);
    let mut guards: Vec<Guard> = spec.idempotency.iter().map(|key| key.unused_by(&spec.user)).collect();
    guards.push(Guard::SubmissionReady(spec.submission));
    guards.push(Guard::ClassOffered(spec.class.clone()));
    guards.extend(admit_job(&spec.user, usage, limits, context.now)?);
    let (slot, guard) = Slot::of(&spec.user, usage, limits);
    guards.push(guard);
    let ticket = || WorkChange::AddTicket { class: spec.class.clone(), job: id };
    Ok(Decision::Happens {
        events: vec![JobEvent::Enqueued { spec: spec.clone(), dispatched: slot == Slot::Free }],
        guards,
        work: (slot == Slot::Free).then(ticket).into_iter().collect(),
        lane: Lane::Admission,
    })
}

fn replay(job: &Job, by: &UserId, why: &str, request: RequestId, context: &Context<'_>) -> Result<Decision, Rejection> {
    if context.policy.class(&job.spec.class).is_none() {
        return Err(Rejection::UnknownClass(job.spec.class.to_string()));
    }
    let (slot, guard) = Slot::of(&job.spec.user, context.usage, &context.policy.limits);
    let dispatched = slot == Slot::Free;
    Ok(Decision::Happens {
        events: vec![JobEvent::Replayed { by: by.clone(), why: why.to_owned(), request, dispatched }],
        guards: vec![Guard::SubmissionReady(job.spec.submission), Guard::ClassOffered(job.spec.class.clone()), guard],
        work: dispatched.then(|| add_ticket(job)).into_iter().collect(),
        lane: Lane::Progress,
    })
}

/// Ends a job that no worker runs. Its place in the hour is given back if no run of it began, or if the platform gave
/// the last one back.
fn cancel_pending(job: &Job, requested: Option<JobEvent>, reason: Option<String>, context: &Context<'_>) -> Decision {
    let without_fault = job.fences.is_empty() || job.last_loss.is_some_and(platform_gave_back);
    let refund = if without_fault { refund(job, context) } else { None };
    let cancelled = JobEvent::Cancelled { refunded: refund.is_some(), reason };
    Decision::Happens {
        events: requested.into_iter().chain([cancelled]).collect(),
        guards: refund.into_iter().collect(),
        work: vec![],
        lane: Lane::Progress,
    }
}

/// Whether a run that was lost like this is no use of its user's hour.
const fn platform_gave_back(cause: LossCause) -> bool {
    match cause {
        LossCause::Infrastructure | LossCause::Drain | LossCause::WorkerUnfit => true,
        LossCause::WorkerLost => false,
    }
}

/// The guard of giving back a job's place in its user's hour. `None` if the place was given back already, has left the
/// hour by itself, or the hour's limit of places given back is reached.
fn refund(job: &Job, context: &Context<'_>) -> Option<Guard> {
    let (since, limit) = (window_start(context.now), context.policy.limits.jobs_per_hour);
    let due = job.refunded_at.is_none() && job.created_at > since && context.usage.hour.refunds < limit;
    due.then(|| Guard::RefundedBelow { user: job.spec.user.clone(), since, limit })
}

/// Gives a job its ticket if its user has a slot free. A delayed one is held otherwise.
fn dispatch(job: &Job, context: &Context<'_>) -> Result<Decision, Rejection> {
    let (slot, guard) = Slot::of(&job.spec.user, context.usage, &context.policy.limits);
    match &job.state {
        JobState::Pending(Waiting::Held | Waiting::Delayed(_)) if slot == Slot::Free => Ok(Decision::Happens {
            events: vec![JobEvent::Dispatched {}],
            guards: vec![guard],
            work: vec![add_ticket(job)],
            lane: Lane::Progress,
        }),
        JobState::Pending(Waiting::Held) => Err(Rejection::NoSlot),
        JobState::Pending(Waiting::Delayed(_)) => Ok(Decision::Happens {
            events: vec![JobEvent::Held {}],
            guards: vec![guard],
            work: vec![],
            lane: Lane::Progress,
        }),
        JobState::Pending(Waiting::Dispatched(_)) | JobState::Running => Ok(Decision::AlreadyApplied),
        JobState::Completed(_) | JobState::Failed(_) | JobState::Cancelled(_) | JobState::DeadLettered(_) => {
            Err(Rejection::Ended(job.status()))
        }
    }
}

fn start_job(job: &Job, start: &Start, context: &Context<'_>) -> Result<Decision, Rejection> {
    match &job.state {
        JobState::Running if job.current_fence() == Some(&start.fence) => Ok(Decision::AlreadyApplied),
        // A fence seen before is a retried commit whose run has come and gone meanwhile.
        JobState::Pending(Waiting::Dispatched(_)) if !job.fences.contains(&start.fence) => {
            let event = JobEvent::Started {
                fence: start.fence.clone(),
                worker: start.worker.clone(),
                gpus: start.gpus.clone(),
                sandbox: start.sandbox.clone(),
                tracking: start.tracking,
            };
            let lease = WorkChange::TakeLease {
                job: job.id,
                fence: start.fence.clone(),
                ticket: start.ticket.clone(),
                worker: start.worker.clone(),
                lease_ms: u64::try_from(context.policy.lease.as_millis()).unwrap_or(u64::MAX),
            };
            Ok(happens(vec![event], vec![lease]))
        }
        JobState::Pending(_)
        | JobState::Running
        | JobState::Completed(_)
        | JobState::Failed(_)
        | JobState::Cancelled(_)
        | JobState::DeadLettered(_) => Err(Rejection::NotStartable),
    }
}

/// Ends the run under `fence`, unless that is not the current one.
fn finish(job: &Job, fence: &Fence, already: bool, events: Vec<JobEvent>) -> Result<Decision, Rejection> {
    if already {
        return Ok(Decision::AlreadyApplied);
    }
    if job.current_fence() != Some(fence) {
        return Err(Rejection::FenceLost);
    }
    Ok(happens(events, vec![WorkChange::ReleaseLease { job: job.id }]))
}

fn lose_lease(
    job: &Job,
    fence: &Fence,
    cause: LossCause,
    error: &str,
    context: &Context<'_>,
) -> Result<Decision, Rejection> {
    if job.current_fence() != Some(fence) {
        // The commit of this very command, retried, finds its fence spent and the job moved on.
        return if job.fences.contains(fence) { Ok(Decision::AlreadyApplied) } else { Err(Rejection::FenceLost) };
    }
    let mut work = vec![WorkChange::ReleaseLease { job: job.id }];
    let refund = if platform_gave_back(cause) { refund(job, context) } else { None };
    // Workers that take turns at being unfit must not keep a job for ever.
    let counted = if cause == LossCause::WorkerUnfit && job.fences.len() >= MAX_FREE_STARTS {
        LossCause::Infrastructure
    } else {
        cause
    };
    let lost = JobEvent::LeaseLost { fence: fence.clone(), cause: counted, error: error.to_owned() };
    if job.cancel_requested_by.is_some() {
        let cancelled = JobEvent::Cancelled { refunded: refund.is_some(), reason: None };
        return Ok(guarded(vec![lost, cancelled], refund, work));
    }
    let losses = 1 + match counted {
        LossCause::WorkerLost => job.losses.worker_lost,
        LossCause::Infrastructure => job.losses.infrastructure,
        LossCause::Drain | LossCause::WorkerUnfit => 0,
    };
    let events = match context.policy.after_loss(counted, losses, context.jitter) {
        AfterLoss::DeadLetter(kind) => {
            let dead = JobEvent::DeadLettered { kind, error: error.to_owned(), refunded: refund.is_some() };
            return Ok(guarded(vec![lost, dead], refund, work));
        }
        AfterLoss::Retry(wait) => {
            // Read models keep whole microseconds, and must give back the very time that the event holds.
            let retry =
                JobEvent::RetryScheduled { at: (context.now + wait).trunc_subsecs(6), attempt: job.attempt() + 1 };
            if wait.is_zero() {
                work.push(add_ticket(job));
                vec![lost, retry, JobEvent::Dispatched {}]
            } else {
                vec![lost, retry]
            }
        }
    };
    Ok(happens(events, work))
}

fn track(job: &Job, fence: &Fence, run: &TrackedRun) -> Result<Decision, Rejection> {
    if job.untracked.iter().any(|end| end.fence == *fence) {
        return Ok(happens(vec![JobEvent::Tracked { fence: Some(fence.clone()), run: run.clone() }], vec![]));
    }
    let known = job.tracked.as_ref() == Some(run) && job.fences.last() == Some(fence);
    if known { Ok(Decision::AlreadyApplied) } else { Err(Rejection::NothingToTrack) }
}

//! From a ticket to a run.

use std::time::Duration;

use events::execute::ExecuteError;
use events::job::{Rejection, Start};
use events::ports::{Claim, PortError};
use events::{Fence, Job, JobCommand, JobState};
use opentelemetry::propagation::Extractor;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::outage::Outage;
use crate::session::Session;

/// A job in this worker's hands.
pub(crate) struct Run {
    /// The job as it stood right after its start.
    pub(crate) job: Job,
    /// The authority of this run.
    pub(crate) fence: Fence,
    /// How long it may be silent.
    pub(crate) lease: Duration,
    /// What its log lines belong to.
    pub(crate) span: Span,
}

/// What came of the wish to start a job.
pub(crate) enum Answer {
    /// It is ours to run.
    Started(Box<Run>),
    /// It is not ours to run, and its ticket is dealt with.
    NotOurs,
    /// Redis did not answer before the worker was to stop.
    Unanswered,
}

/// Draws a fence and starts the job that the ticket is for, on these GPUs.
pub(crate) async fn start(session: &Session, claim: &Claim, gpus: Vec<String>) -> Answer {
    let fence = session.ports.ids.fence();
    let command = JobCommand::Start(Start {
        fence: fence.clone(),
        ticket: claim.ticket.clone(),
        worker: session.config.consumer.clone(),
        gpus,
        sandbox: session.config.sandbox.to_string(),
        tracking: session.tracker.as_ref().map(|tracker| tracker.wish()).unwrap_or_default(),
    });
    tokio::select! {
        answer = try_start(session, claim, &fence, &command) => answer,
        () = session.stop.patience_is_over() => Answer::Unanswered,
    }
}

/// Starts the job, or refuses the ticket, once Redis answers; gives up when the worker is to stop and it does not.
async fn try_start(session: &Session, claim: &Claim, fence: &Fence, command: &JobCommand) -> Answer {
    let mut outage = Outage::of("starting a job");
    loop {
        let lease = session.policy.get().lease;
        // The fence stays the same: a commit whose answer was lost is found to be this one's.
        let error = match session.command(claim.job, command, None).await {
            Ok(Some(job)) if job.current_fence() == Some(fence) => {
                let span = span(session, &job);
                // The policy may have changed meanwhile; the start was decided under one of the two.
                let lease = lease.min(session.policy.get().lease);
                return Answer::Started(Box::new(Run { job, fence: fence.clone(), lease, span }));
            }
            Ok(_) | Err(ExecuteError::Rejected(Rejection::NotStartable | Rejection::Unknown)) => {
                match refuse(session, claim).await {
                    Ok(()) => return Answer::NotOurs,
                    Err(error) => error.to_string(),
                }
            }
            // Trying again cures nothing, and would keep the slot from others. Once the job's record is restored, the
            // reconciler finds it without a ticket.
            Err(ExecuteError::Defect(problem)) => {
                tracing::error!(job = %claim.job, problem, "a job can't be read, and is not run; `leadersboard doctor --repair` restores it from the log");
                match session.ports.queue.discard(&session.config.consumer, &claim.ticket).await {
                    Ok(()) => return Answer::NotOurs,
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        tokio::select! {
            () = outage.pause(&error, session.ports.ids.jitter()) => {}
            () = session.stop.begun() => return Answer::Unanswered,
        }
    }
}

/// Removes a ticket that is of no use. The ticket on which the job runs is left alone: a group that was made anew hands
/// it out again, and its holder's next heartbeat takes it back.
async fn refuse(session: &Session, claim: &Claim) -> Result<(), PortError> {
    let job = session.ports.status.job(claim.job).await?;
    let running = job.is_some_and(|job| matches!(job.state, JobState::Running));
    if running {
        let lease = session.ports.queue.lease(claim.job).await?;
        if lease.is_some_and(|lease| lease.ticket == claim.ticket) {
            return Ok(());
        }
    }
    tracing::debug!(job = %claim.job, ticket = %claim.ticket.id, "a ticket is out of date");
    session.ports.queue.discard(&session.config.consumer, &claim.ticket).await
}

fn span(session: &Session, job: &Job) -> Span {
    let span = tracing::info_span!(
        "job",
        job = %job.id,
        attempt = job.attempt(),
        class = %job.spec.class,
        user = %job.spec.user,
        worker = %session.config.consumer,
    );
    if let Some(trace) = &job.trace {
        let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.extract(&TraceParentHeader(trace.as_str()))
        });
        // Where no tracing layer is installed there is nothing to link.
        let _ = span.set_parent(parent);
    }
    span
}

/// The one header of a W3C trace context that travels with a job.
struct TraceParentHeader<'a>(&'a str);

impl Extractor for TraceParentHeader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

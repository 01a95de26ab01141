//! From a ticket to a run.

use std::sync::Arc;

use events::execute::ExecuteError;
use events::job::{Rejection, Start, Tracking};
use events::ports::{Claim, JobQueuePort, JobStatusPort, PortError};
use events::problem::chain;
use events::{Consumer, Fence, Job, JobCommand, JobState};
use opentelemetry::propagation::Extractor;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::commands::Commands;
use crate::job::run::Run;
use crate::outage::Outage;
use crate::stop::Stop;

/// The answer to an attempt to start a job.
pub(crate) enum Answer {
    /// The job is this worker's to run.
    Started(Box<Run>),
    /// The job is not this worker's to run, and its ticket is dealt with.
    NotOurs,
    /// Redis did not answer before the worker was to stop.
    Unanswered,
}

/// Starts the jobs that tickets are for.
pub(crate) struct Starter {
    pub(crate) commands: Commands,
    pub(crate) queue: Arc<dyn JobQueuePort>,
    pub(crate) status: Arc<dyn JobStatusPort>,
    /// How jobs are confined here, as the event tells it.
    pub(crate) sandbox: String,
    /// Which ends of a run that starts now are recorded in the tracker.
    pub(crate) tracking: Tracking,
    pub(crate) stop: Stop,
}

impl Starter {
    /// Draws a fence and starts the job that the ticket is for, on these GPUs.
    pub(crate) async fn start(&self, claim: &Claim, gpus: Vec<String>) -> Answer {
        let fence = self.commands.ids.fence();
        let command = JobCommand::Start(Start {
            fence: fence.clone(),
            ticket: claim.ticket.clone(),
            worker: self.commands.consumer.clone(),
            gpus,
            sandbox: self.sandbox.clone(),
            tracking: self.tracking,
        });
        tokio::select! {
            answer = self.start_when_redis_answers(claim, &fence, &command) => answer,
            () = self.stop.patience_is_over() => Answer::Unanswered,
        }
    }

    /// Starts the job or refuses the ticket, as soon as Redis answers; gives up if the worker stops before that.
    async fn start_when_redis_answers(&self, claim: &Claim, fence: &Fence, command: &JobCommand) -> Answer {
        let policy = &self.commands.policy;
        let mut outage = Outage::of("starting a job");
        loop {
            let lease = policy.get().lease;
            // The fence stays the same: a commit whose answer was lost is found to be this one's.
            let error = match self.commands.carry_out(claim.job, command, None).await {
                Ok(Some(job)) if job.current_fence() == Some(fence) => {
                    let span = span(&self.commands.consumer, &job);
                    // The policy may have changed meanwhile; the start was decided under one of the two.
                    let lease = lease.min(policy.get().lease);
                    return Answer::Started(Box::new(Run { job, fence: fence.clone(), lease, span }));
                }
                Ok(_) | Err(ExecuteError::Rejected(Rejection::NotStartable | Rejection::Unknown)) => {
                    match self.refuse(claim).await {
                        Ok(()) => return Answer::NotOurs,
                        Err(error) => chain(&error),
                    }
                }
                // Another try cures nothing, and would keep the slot from other jobs. After the job's record is
                // restored, the reconciler finds the job without a ticket.
                Err(ExecuteError::Defect(problem)) => {
                    tracing::error!(job = %claim.job, %problem, "a job can't be read, and is not run; `leadersboard doctor --repair` restores it from the log");
                    match self.queue.discard(&self.commands.consumer, &claim.ticket).await {
                        Ok(()) => return Answer::NotOurs,
                        Err(error) => chain(&error),
                    }
                }
                Err(error) => chain(&error),
            };
            tokio::select! {
                () = outage.pause(&error, self.commands.ids.jitter()) => {}
                () = self.stop.begun() => return Answer::Unanswered,
            }
        }
    }

    /// Removes a ticket that is of no use. The ticket of a running job is left alone: a consumer group that was made
    /// anew hands it out again, and its holder's next heartbeat takes it back.
    async fn refuse(&self, claim: &Claim) -> Result<(), PortError> {
        let job = self.status.job(claim.job).await?;
        if job.is_some_and(|job| matches!(job.state, JobState::Running)) {
            let lease = self.queue.lease(claim.job).await?;
            if lease.is_some_and(|lease| lease.ticket == claim.ticket) {
                return Ok(());
            }
        }
        tracing::debug!(job = %claim.job, ticket = %claim.ticket.id, "a ticket is out of date");
        self.queue.discard(&self.commands.consumer, &claim.ticket).await
    }
}

fn span(worker: &Consumer, job: &Job) -> Span {
    let span = tracing::info_span!(
        "job",
        job = %job.id,
        attempt = job.attempt(),
        class = %job.spec.class,
        user = %job.spec.user,
        worker = %worker,
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

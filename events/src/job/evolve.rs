//! The fold: what a job is after an event. Total: it refuses nothing.

use crate::failure::LossCause;
use crate::id::JobId;
use crate::job::event::JobEvent;
use crate::job::state::{Completed, DeadLetter, Ended, Job, JobState, Losses, Run, Tracking, Untracked, Waiting};
use crate::log::envelope::Envelope;
use crate::ranking::ranked;
use crate::time::Timestamp;

/// Folds one event into the state of job `id`. Nothing is there before `job.enqueued` and after `job.expired`.
#[must_use]
pub fn evolve(id: JobId, job: Option<Job>, envelope: &Envelope<JobEvent>) -> Option<Job> {
    let at = envelope.at;
    if let JobEvent::Enqueued { spec, dispatched } = &envelope.event {
        return Some(Job {
            id,
            version: envelope.seq,
            spec: spec.clone(),
            trace: envelope.trace.clone(),
            created_at: at,
            updated_at: at,
            fences: vec![],
            losses: Losses::default(),
            last_loss: None,
            refunded_at: None,
            cancel_requested_by: None,
            replayed_by_request: None,
            tracked: None,
            untracked: vec![],
            run: None,
            state: JobState::Pending(if *dispatched { Waiting::Dispatched(at) } else { Waiting::Held }),
        });
    }
    let mut job = job?;
    job.version = envelope.seq;
    job.updated_at = at;
    match &envelope.event {
        JobEvent::Enqueued { .. } => {}
        JobEvent::Expired {} => return None,
        JobEvent::Dispatched {} => job.state = JobState::Pending(Waiting::Dispatched(at)),
        JobEvent::Held {} => job.state = JobState::Pending(Waiting::Held),
        JobEvent::Started { fence, worker, gpus, sandbox, tracking } => {
            job.fences.push(fence.clone());
            job.tracked = None;
            job.run = Some(Run {
                started_at: at,
                worker: worker.clone(),
                gpus: gpus.clone(),
                sandbox: sandbox.clone(),
                tracking: *tracking,
            });
            job.state = JobState::Running;
        }
        JobEvent::Completed { results, artifacts, tracked, .. } => {
            job.tracked.clone_from(tracked);
            job.note_untracked(at);
            job.state =
                JobState::Completed(Completed { at, artifacts: artifacts.clone(), ranked: ranked(&results.metrics) });
        }
        JobEvent::Failed { failure, .. } => {
            job.note_untracked_failure(at);
            job.state = JobState::Failed(Ended { at, why: failure.clone() });
        }
        JobEvent::LeaseLost { cause, .. } => {
            job.last_loss = Some(*cause);
            match cause {
                LossCause::WorkerLost => job.losses.worker_lost += 1,
                LossCause::Infrastructure => job.losses.infrastructure += 1,
                LossCause::Drain | LossCause::WorkerUnfit => {}
            }
            // The event that follows in the same commit says what comes next; held is what is true until then.
            job.state = JobState::Pending(Waiting::Held);
        }
        JobEvent::RetryScheduled { at: due, .. } => job.state = JobState::Pending(Waiting::Delayed(*due)),
        JobEvent::DeadLettered { kind, error, refunded } => {
            job.note_refund(*refunded, at);
            job.note_untracked_failure(at);
            let why = DeadLetter { kind: *kind, error: error.clone() };
            job.state = JobState::DeadLettered(Ended { at, why });
        }
        JobEvent::Replayed { request, dispatched, .. } => {
            job.losses = Losses::default();
            job.last_loss = None;
            job.cancel_requested_by = None;
            job.tracked = None;
            job.replayed_by_request = Some(*request);
            job.state = JobState::Pending(if *dispatched { Waiting::Dispatched(at) } else { Waiting::Held });
        }
        JobEvent::CancelRequested { by } => job.cancel_requested_by = Some(by.clone()),
        JobEvent::Cancelled { refunded, reason } => {
            job.note_refund(*refunded, at);
            job.note_untracked_failure(at);
            job.state = JobState::Cancelled(Ended { at, why: reason.clone() });
        }
        JobEvent::Tracked { fence, run } => {
            let last = job.fences.last();
            if fence.is_none() || fence.as_ref() == last {
                job.tracked = Some(run.clone());
            }
            let fence = fence.as_ref().or(last).cloned();
            job.untracked.retain(|end| Some(&end.fence) != fence.as_ref());
        }
    }
    Some(job)
}

impl Job {
    /// Notes that the tracker is to get the end of the last run. A run ends once: what follows a replay without a start
    /// is the end of none.
    fn note_untracked(&mut self, ended_at: Timestamp) {
        let tracking = self.run.as_mut().map(|run| std::mem::take(&mut run.tracking));
        if let (Some(Tracking::Completed | Tracking::All), Some(fence)) = (tracking, self.fences.last()) {
            self.untracked.push(Untracked { fence: fence.clone(), ended_at });
        }
    }

    /// As [`Self::note_untracked`], of an end that did not complete.
    fn note_untracked_failure(&mut self, ended_at: Timestamp) {
        match self.run.as_mut().map(|run| &mut run.tracking) {
            Some(Tracking::All) => self.note_untracked(ended_at),
            Some(tracking) => *tracking = Tracking::Off,
            None => {}
        }
    }

    fn note_refund(&mut self, refunded: bool, at: Timestamp) {
        if refunded {
            self.refunded_at = Some(at);
        }
    }
}

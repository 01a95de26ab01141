//! A run as the tracker is told of it, read from the events of its job.

use events::job::TrackedRun;
use events::log::stored::Recorded;
use events::ports::{HistoryEntry, RunEnd, RunRecord, RunStatus};
use events::{Envelope, Fence, Job, JobEvent, Results};

/// What is to be recorded of the last run of a job, as far as its start tells.
pub(crate) fn record_of(job: &Job, fence: &Fence, entrypoint: String, outcome: RunStatus) -> Option<RunRecord> {
    let run = job.run.as_ref().filter(|_| job.fences.last() == Some(fence))?;
    Some(RunRecord {
        job: job.id,
        fence: fence.clone(),
        attempt: job.attempt(),
        submission: job.spec.submission,
        user: job.spec.user.clone(),
        entrypoint,
        started_at: run.started_at,
        worker: run.worker.clone(),
        gpus: run.gpus.clone(),
        sandbox: run.sandbox.clone(),
        outcome,
        results: Results::default(),
        artifacts: None,
        known: job.tracked.clone(),
    })
}

/// A run whose end was accepted.
#[derive(Debug)]
pub(crate) struct EndedRun {
    pub(crate) record: RunRecord,
    pub(crate) end: RunEnd,
    /// The tracker's run, if it was noted already.
    pub(crate) noted: Option<TrackedRun>,
}

impl EndedRun {
    /// The run under this fence, from all that happened to its job.
    ///
    /// # Errors
    /// What the events lack, in a sentence.
    pub(crate) fn read(job: &Job, fence: &Fence, entrypoint: &str, history: &[HistoryEntry]) -> Result<Self, String> {
        let (mut then, mut found, mut noted) = (None, None, None);
        for entry in history {
            let envelope = match entry.event.read() {
                Ok(Recorded::Job(_, envelope)) => envelope,
                Ok(_) => return Err(format!("{} is no event of the job", entry.id)),
                Err(error) => return Err(format!("{} can't be read: {error}", entry.id)),
            };
            let before: Option<Job> = then.take();
            if let JobEvent::Tracked { fence: of, run } = &envelope.event
                && of.as_ref().or(before.as_ref().and_then(|job| job.fences.last())) == Some(fence)
            {
                noted = Some(run.clone());
            }
            if let Some(end) = end_of(&envelope)
                && let Some(before) = &before
                && let Some(mut record) = record_of(before, fence, entrypoint.to_owned(), end.status)
                && found.is_none()
            {
                if let JobEvent::Completed { results, artifacts, tracked, .. } = &envelope.event {
                    record.results = results.clone();
                    record.artifacts = Some(artifacts.clone());
                    record.known.clone_from(tracked);
                }
                found = Some((record, end));
            }
            then = events::job::evolve(job.id, before, &envelope);
        }
        let (record, end) = found.ok_or_else(|| "its events tell of no such end".to_owned())?;
        Ok(Self { record, end, noted })
    }
}

/// How a run ended by this event, if it did.
fn end_of(envelope: &Envelope<JobEvent>) -> Option<RunEnd> {
    let at = envelope.at;
    let failed =
        |kind, error: &String| RunEnd { status: RunStatus::Failed, at, kind: Some(kind), error: Some(error.clone()) };
    match &envelope.event {
        JobEvent::Completed { .. } => Some(RunEnd { status: RunStatus::Finished, at, kind: None, error: None }),
        JobEvent::Failed { failure, .. } => Some(failed(failure.kind.as_str(), &failure.error)),
        JobEvent::DeadLettered { kind, error, .. } => Some(failed(kind.as_str(), error)),
        JobEvent::Cancelled { .. } => {
            Some(RunEnd { status: RunStatus::Killed, at, kind: Some("cancelled"), error: None })
        }
        JobEvent::Enqueued { .. }
        | JobEvent::Dispatched {}
        | JobEvent::Held {}
        | JobEvent::Started { .. }
        | JobEvent::LeaseLost { .. }
        | JobEvent::RetryScheduled { .. }
        | JobEvent::Replayed { .. }
        | JobEvent::CancelRequested { .. }
        | JobEvent::Tracked { .. }
        | JobEvent::Expired {} => None,
    }
}

#[cfg(test)]
mod tests {
    use events::failure::{DeadLetterKind, Failure, FailureKind, LossCause};
    use events::job::{ArtifactTotals, JobSpec, Tracking, evolve};
    use events::log::stored::StoredEvent;
    use events::time::from_unix_micros;
    use events::{Actor, JobId, StreamId, Timestamp};

    use super::*;

    #[test]
    fn each_end_of_a_replayed_job_is_a_run_of_its_own() {
        let history = [enqueued(), started(1), failed(1), replayed(), started(2), completed(2), tracked(1, "r1")];
        let (job, history) = after(&history);

        let first = EndedRun::read(&job, &fence(1), "main.py", &history).unwrap();
        assert_eq!((first.record.attempt, first.record.started_at), (1, moment(2)));
        assert_eq!((first.end.status, first.end.kind, first.end.at), (RunStatus::Failed, Some("timeout"), moment(3)));
        assert_eq!(first.end.error.as_deref(), Some("it ran too long"));
        assert_eq!(first.record.results, Results::default());
        assert_eq!(first.noted.unwrap().run_id, "r1");

        let second = EndedRun::read(&job, &fence(2), "main.py", &history).unwrap();
        assert_eq!((second.record.attempt, second.record.started_at), (2, moment(5)));
        assert_eq!((second.end.status, second.end.kind), (RunStatus::Finished, None));
        assert_eq!(second.record.results, results());
        assert_eq!(second.noted, None);
    }

    #[test]
    fn what_the_platform_gave_up_and_what_was_cancelled_between_two_tries_end_their_last_run() {
        let dead =
            JobEvent::DeadLettered { kind: DeadLetterKind::WorkerLost, error: "gone".to_owned(), refunded: false };
        for (end, status, kind) in [
            (dead, RunStatus::Failed, "worker_lost"),
            (JobEvent::Cancelled { refunded: false, reason: None }, RunStatus::Killed, "cancelled"),
        ] {
            let (job, history) = after(&[enqueued(), started(1), lost(1), started(2), lost(2), end]);
            let ended = EndedRun::read(&job, &fence(2), "main.py", &history).unwrap();
            assert_eq!((ended.end.status, ended.end.kind), (status, Some(kind)));
            assert!(EndedRun::read(&job, &fence(1), "main.py", &history).is_err(), "a lost run has no end");
        }
    }

    fn after(events: &[JobEvent]) -> (Job, Vec<HistoryEntry>) {
        let (mut job, mut history) = (None, vec![]);
        for (seq, event) in (1..).zip(events) {
            let actor = Actor::System("test".to_owned());
            let envelope = Envelope { seq, at: moment(seq), actor, trace: None, event: event.clone() };
            job = evolve(id(), job, &envelope);
            history
                .push(HistoryEntry { id: StreamId { ms: seq, seq: 0 }, event: StoredEvent::of_job(id(), &envelope) });
        }
        (job.unwrap(), history)
    }

    fn id() -> JobId {
        "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap()
    }

    fn moment(seconds: u64) -> Timestamp {
        from_unix_micros(i64::try_from(seconds).unwrap() * 1_000_000)
    }

    fn fence(number: u8) -> Fence {
        format!("{number:024x}").parse().unwrap()
    }

    fn enqueued() -> JobEvent {
        let spec = JobSpec {
            submission: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap(),
            user: "alice".parse().unwrap(),
            class: "small".parse().unwrap(),
            config: "{}".to_owned(),
            idempotency: None,
        };
        JobEvent::Enqueued { spec, dispatched: true }
    }

    fn started(number: u8) -> JobEvent {
        JobEvent::Started {
            fence: fence(number),
            worker: "w-1".parse().unwrap(),
            gpus: vec![],
            sandbox: "off".to_owned(),
            tracking: Tracking::All,
        }
    }

    fn failed(number: u8) -> JobEvent {
        let error = "it ran too long".to_owned();
        let failure = Failure { kind: FailureKind::Timeout, error, exit_code: None, log_tail: String::new() };
        JobEvent::Failed { fence: fence(number), failure }
    }

    fn lost(number: u8) -> JobEvent {
        JobEvent::LeaseLost { fence: fence(number), cause: LossCause::WorkerLost, error: "gone".to_owned() }
    }

    fn results() -> Results {
        Results { metrics: [("auc".to_owned(), 0.5)].into(), ..Results::default() }
    }

    fn completed(number: u8) -> JobEvent {
        let (results, artifacts) = (results(), ArtifactTotals::default());
        JobEvent::Completed { fence: fence(number), results, artifacts, tracked: None }
    }

    fn replayed() -> JobEvent {
        let request = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f7".parse().unwrap();
        JobEvent::Replayed { by: "root".parse().unwrap(), why: "again".to_owned(), request, dispatched: true }
    }

    fn tracked(number: u8, run_id: &str) -> JobEvent {
        let run = TrackedRun { run_id: run_id.to_owned(), experiment_id: "7".to_owned() };
        JobEvent::Tracked { fence: Some(fence(number)), run }
    }
}

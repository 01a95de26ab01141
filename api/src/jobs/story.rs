//! The part of a job's history that a client knows. It gets each event once, in order and without a gap.

use events::Job;
use events::job::evolve;
use events::log::stored::{Recorded, StoredEvent};
use events::time::to_rfc3339;
use serde::Serialize;
use utoipa::ToSchema;

use super::view::StatusView;
use crate::openapi::texts::{ClassName, Time};

/// A job as a client knows it.
pub(super) enum Story {
    /// The client knows nothing.
    Untold,
    /// It knows the job up to this.
    Told(Box<Job>),
}

/// What an event adds to the story so far.
pub(super) enum Novelty {
    /// Nothing.
    Known,
    /// The next one: the job as it is after it.
    Next(Box<StatusEvent>),
    /// Not the next one, or not to be understood: the job has to be looked at.
    Gap,
    /// The last event of all: the job's records are deleted.
    Gone,
}

/// The status of a job, after an event or as it was found.
#[derive(Serialize, ToSchema)]
#[schema(as = JobChange)]
pub(crate) struct StatusEvent {
    /// How many events the job has had.
    pub(super) seq: u64,
    /// The type of the event. Null for a status without an event.
    #[serde(rename = "type")]
    #[schema(required, example = "job.started")]
    kind: Option<String>,
    /// When.
    #[schema(value_type = Time)]
    at: String,
    #[serde(flatten)]
    status: StatusView,
    #[schema(value_type = ClassName)]
    resource_class: String,
    attempt: u32,
}

impl Story {
    /// How many events the client knows of.
    pub(super) fn seq(&self) -> u64 {
        match self {
            Self::Untold => 0,
            Self::Told(job) => job.version,
        }
    }

    /// The job, as far as the client knows.
    pub(super) fn job(&self) -> Option<&Job> {
        match self {
            Self::Untold => None,
            Self::Told(job) => Some(job),
        }
    }

    /// How the job ended, if it has as far as the client knows.
    pub(super) fn end(&self) -> Option<StatusEvent> {
        match self {
            Self::Untold => None,
            Self::Told(job) => job.is_terminal().then(|| StatusEvent::as_found(job)),
        }
    }

    /// Whether `event` is the last one that the client knows. A log that lost its newest part has another event in its
    /// place, or no event.
    pub(super) fn ends_with(&self, event: &StoredEvent) -> bool {
        match self {
            Self::Untold => false,
            Self::Told(job) => event.seq == job.version && event.at == to_rfc3339(job.updated_at),
        }
    }

    /// Takes in an event that was appended to the job's history. One that can't be read, as when a newer program wrote
    /// it, leaves a gap.
    pub(super) fn hear(&mut self, event: StoredEvent) -> Novelty {
        let seq = self.seq();
        if event.seq <= seq {
            return Novelty::Known;
        }
        if event.seq > seq + 1 {
            return Novelty::Gap;
        }
        let (id, envelope) = match event.read() {
            Ok(Recorded::Job(id, envelope)) => (id, envelope),
            Ok(Recorded::Submission(..) | Recorded::Policy(_) | Recorded::Log(_)) => return Novelty::Gap,
            Err(error) => {
                tracing::warn!(%error, aggregate = event.aggregate, seq = event.seq, "an event can't be read");
                return Novelty::Gap;
            }
        };
        let before = match std::mem::replace(self, Self::Untold) {
            Self::Untold => None,
            Self::Told(job) => Some(*job),
        };
        let Some(job) = evolve(id, before, &envelope) else {
            return Novelty::Gone;
        };
        let next = StatusEvent { kind: Some(event.kind), ..StatusEvent::as_found(&job) };
        *self = Self::Told(Box::new(job));
        Novelty::Next(Box::new(next))
    }
}

impl StatusEvent {
    /// The status of a job as it was found.
    pub(crate) fn as_found(job: &Job) -> Self {
        Self {
            seq: job.version,
            kind: None,
            at: to_rfc3339(job.updated_at),
            status: StatusView::of(job),
            resource_class: job.spec.class.to_string(),
            attempt: job.attempt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use events::job::JobEvent;
    use events::{Actor, Envelope, JobId, JobSpec, Timestamp};

    use super::*;

    fn id() -> JobId {
        "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap()
    }

    fn stored(seq: u64, event: JobEvent) -> StoredEvent {
        let at = Timestamp::default() + Duration::from_secs(seq);
        StoredEvent::of_job(id(), &Envelope { seq, at, actor: Actor::System("test".to_owned()), trace: None, event })
    }

    fn history() -> [StoredEvent; 3] {
        let spec = JobSpec {
            submission: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap(),
            user: "alice".parse().unwrap(),
            class: "small".parse().unwrap(),
            config: "{}".to_owned(),
            idempotency: None,
        };
        let started = JobEvent::Started {
            fence: "00112233445566778899aabb".parse().unwrap(),
            worker: "gpu1-1".parse().unwrap(),
            gpus: vec![],
            sandbox: "off".to_owned(),
            tracking: events::job::Tracking::Off,
        };
        [
            stored(1, JobEvent::Enqueued { spec, dispatched: true }),
            stored(2, started),
            stored(3, JobEvent::Cancelled { refunded: false, reason: None }),
        ]
    }

    fn told(novelty: Novelty) -> serde_json::Value {
        match novelty {
            Novelty::Next(event) => serde_json::to_value(event).unwrap(),
            Novelty::Known => "known".into(),
            Novelty::Gap => "gap".into(),
            Novelty::Gone => "gone".into(),
        }
    }

    #[test]
    fn each_event_is_told_once_and_in_order() {
        let [enqueued, started, cancelled] = history();
        let mut story = Story::Untold;
        assert_eq!(told(story.hear(started.clone())), "gap");
        let first = told(story.hear(enqueued.clone()));
        assert_eq!(
            (&first["seq"], &first["type"], &first["status"]),
            (&1.into(), &"job.enqueued".into(), &"pending".into())
        );
        assert_eq!(told(story.hear(enqueued.clone())), "known");
        assert_eq!(told(story.hear(cancelled.clone())), "gap");
        let second = told(story.hear(started.clone()));
        assert_eq!(
            (&second["status"], &second["attempt"], &second["at"]),
            (&"running".into(), &1.into(), &second["updated_at"])
        );
        assert!(story.ends_with(&started) && !story.ends_with(&enqueued) && story.end().is_none());
        assert_eq!(told(story.hear(cancelled))["status"], "cancelled");
        assert_eq!(serde_json::to_value(story.end()).unwrap()["status"], "cancelled");
        assert!(!second.to_string().contains("00112233445566778899aabb"), "a fence is not shown");
    }

    #[test]
    fn another_event_in_the_place_of_the_last_is_noticed() {
        let [enqueued, started, _] = history();
        let mut story = Story::Untold;
        for event in [enqueued, started.clone()] {
            told(story.hear(event));
        }
        assert!(!story.ends_with(&StoredEvent { at: "1970-01-01T00:00:09.000000Z".to_owned(), ..started }));
    }

    #[test]
    fn what_a_newer_program_wrote_leaves_a_gap() {
        let [enqueued, started, _] = history();
        let mut story = Story::Untold;
        told(story.hear(enqueued));
        assert_eq!(told(story.hear(StoredEvent { version: 99, ..started })), "gap");
        assert_eq!(story.seq(), 1);
    }

    #[test]
    fn after_the_records_are_gone_there_is_nothing() {
        let mut story = Story::Untold;
        for event in history() {
            told(story.hear(event));
        }
        assert_eq!(told(story.hear(stored(4, JobEvent::Expired {}))), "gone");
    }
}

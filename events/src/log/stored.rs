//! Events as they stand in the log: a type of its own, so that the domain may change and old entries stay readable.
//!
//! A stored payload is never edited. When its shape changes, its version is raised and [`upcast`] learns the step from
//! the old shape to the next; fixtures of every version ever stored are in `events/fixtures/`.

use serde_json::{Value, json};

use crate::id::InvalidId;
use crate::job::JobEvent;
use crate::json;
use crate::log::envelope::{Actor, AggregateId, Envelope};
use crate::log::regress::LogEvent;
use crate::policy::PolicyEvent;
use crate::submission::SubmissionEvent;
use crate::time::{from_rfc3339, to_rfc3339};
use crate::trace::TraceParent;

/// The version under which payloads are written today.
pub const CURRENT_VERSION: u32 = 1;

/// The type of what stands for an entry that can't be taken apart.
const UNREADABLE: &str = "unreadable";

/// One entry of the event log, field by field as Redis holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredEvent {
    /// `type`: what happened, such as `job.started`.
    pub kind: String,
    /// `v`: the version of the payload's shape.
    pub version: u32,
    /// `agg`: whose it is, such as `job:0192…`.
    pub aggregate: String,
    /// `seq`: the aggregate's version after it.
    pub seq: u64,
    /// `at`: RFC 3339 with microseconds.
    pub at: String,
    /// `actor`: who caused it.
    pub actor: String,
    /// `trace`: the W3C traceparent; empty where there was none.
    pub trace: String,
    /// `data`: the payload as JSON.
    pub data: String,
}

/// An event of any aggregate, read back from the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// Of a job.
    Job(crate::id::JobId, Envelope<JobEvent>),
    /// Of a submission.
    Submission(crate::id::SubmissionId, Envelope<SubmissionEvent>),
    /// Of the policy.
    Policy(Envelope<PolicyEvent>),
    /// Of the log itself.
    Log(Envelope<LogEvent>),
}

/// An entry of the log that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A field is not what it must be.
    #[error("{0}")]
    Field(#[from] InvalidId),
    /// The time is no time.
    #[error("the time can't be read")]
    Time(#[from] chrono::ParseError),
    /// The payload is not of the shape its type and version promise.
    #[error("the payload of {kind} v{version} can't be read: {}", json::problem(source))]
    Payload {
        /// The stored type.
        kind: String,
        /// The stored version.
        version: u32,
        /// What serde found.
        source: serde_json::Error,
    },
    /// A field of the entry is missing, or holds no text.
    #[error("{0}")]
    Entry(String),
    /// A newer program wrote it.
    #[error("{kind} v{version} was written by a newer version of LeadersBoard")]
    Newer {
        /// The stored type.
        kind: String,
        /// The stored version.
        version: u32,
    },
}

impl StoredEvent {
    /// The stored form of a job's event.
    #[must_use]
    pub fn of_job(id: crate::id::JobId, envelope: &Envelope<JobEvent>) -> Self {
        Self::new(AggregateId::Job(id), envelope, envelope.event.kind(), &serialize(&envelope.event))
    }

    /// The stored form of a submission's event.
    #[must_use]
    pub fn of_submission(id: crate::id::SubmissionId, envelope: &Envelope<SubmissionEvent>) -> Self {
        Self::new(AggregateId::Submission(id), envelope, envelope.event.kind(), &serialize(&envelope.event))
    }

    /// The stored form of an event of the policy.
    #[must_use]
    pub fn of_policy(envelope: &Envelope<PolicyEvent>) -> Self {
        Self::new(AggregateId::Policy, envelope, envelope.event.kind(), &serialize(&envelope.event))
    }

    /// The stored form of an event of the log itself.
    #[must_use]
    pub fn of_log(envelope: &Envelope<LogEvent>) -> Self {
        Self::new(AggregateId::Log, envelope, envelope.event.kind(), &serialize(&envelope.event))
    }

    /// An entry of the log that can't even be taken apart, and why. What is known of it stays.
    #[must_use]
    pub fn unreadable(self, why: String) -> Self {
        Self { kind: UNREADABLE.to_owned(), data: Value::from(why).to_string(), version: CURRENT_VERSION, ..self }
    }

    /// Whether it stands for an entry that can't be taken apart.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.kind == UNREADABLE
    }

    fn new<E>(aggregate: AggregateId, envelope: &Envelope<E>, kind: &str, tagged: &Value) -> Self {
        Self {
            kind: kind.to_owned(),
            version: CURRENT_VERSION,
            aggregate: aggregate.to_string(),
            seq: envelope.seq,
            at: to_rfc3339(envelope.at),
            actor: envelope.actor.to_string(),
            trace: envelope.trace.as_ref().map_or_else(String::new, |trace| trace.as_str().to_owned()),
            data: tagged["data"].to_string(),
        }
    }

    /// The event, brought up to today's shape.
    ///
    /// # Errors
    /// Which field can't be read.
    pub fn read(&self) -> Result<Recorded, Unreadable> {
        if self.version > CURRENT_VERSION {
            return Err(Unreadable::Newer { kind: self.kind.clone(), version: self.version });
        }
        if self.is_unreadable() {
            return Err(Unreadable::Entry(serde_json::from_str(&self.data).unwrap_or_default()));
        }
        match self.aggregate.parse()? {
            AggregateId::Job(id) => Ok(Recorded::Job(id, self.envelope()?)),
            AggregateId::Submission(id) => Ok(Recorded::Submission(id, self.envelope()?)),
            AggregateId::Policy => Ok(Recorded::Policy(self.envelope()?)),
            AggregateId::Log => Ok(Recorded::Log(self.envelope()?)),
        }
    }

    fn envelope<E: serde::de::DeserializeOwned>(&self) -> Result<Envelope<E>, Unreadable> {
        let unreadable = |source| Unreadable::Payload { kind: self.kind.clone(), version: self.version, source };
        let data: Value = serde_json::from_str(&self.data).map_err(unreadable)?;
        let tagged = json!({ "type": self.kind, "data": upcast(&self.kind, self.version, data) });
        Ok(Envelope {
            seq: self.seq,
            at: from_rfc3339(&self.at)?,
            actor: self.actor.parse::<Actor>()?,
            trace: if self.trace.is_empty() { None } else { Some(self.trace.parse::<TraceParent>()?) },
            event: serde_json::from_value(tagged).map_err(unreadable)?,
        })
    }
}

fn serialize<E: serde::Serialize>(event: &E) -> Value {
    serde_json::to_value(event).expect("an event holds only string keys and finite numbers, so it always serialises")
}

/// Brings a payload from the version it was stored under to today's, one step a version. There is one version so far.
fn upcast(_kind: &str, _version: u32, data: Value) -> Value {
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line of every fixture is an entry as it was once stored: `{"type", "v", "agg", …, "data"}`.
    #[test]
    fn every_version_ever_stored_can_be_read() {
        let fixtures = include_str!("../../fixtures/v1.jsonl");
        let mut kinds = std::collections::BTreeSet::new();
        for line in fixtures.lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            let text = |field: &str| entry[field].as_str().unwrap().to_owned();
            let stored = StoredEvent {
                kind: text("type"),
                version: entry["v"].as_u64().unwrap().try_into().unwrap(),
                aggregate: text("agg"),
                seq: entry["seq"].as_u64().unwrap(),
                at: text("at"),
                actor: text("actor"),
                trace: text("trace"),
                data: entry["data"].to_string(),
            };
            let again = match stored.read().unwrap() {
                Recorded::Job(id, envelope) => StoredEvent::of_job(id, &envelope),
                Recorded::Submission(id, envelope) => StoredEvent::of_submission(id, &envelope),
                Recorded::Policy(envelope) => StoredEvent::of_policy(&envelope),
                Recorded::Log(envelope) => StoredEvent::of_log(&envelope),
            };
            let (was, is): (Value, Value) =
                (serde_json::from_str(&stored.data).unwrap(), serde_json::from_str(&again.data).unwrap());
            assert_eq!(was, is, "{line}");
            assert_eq!(StoredEvent { data: String::new(), ..stored }, StoredEvent { data: String::new(), ..again });
            kinds.insert(text("type"));
        }
        assert_eq!(kinds.len(), 18, "one fixture at least for each of the 14 job, 2 submission and 2 other events");
    }

    #[test]
    fn an_entry_of_a_newer_program_is_refused_by_name() {
        let stored = StoredEvent { kind: "job.started".to_owned(), version: 99, ..StoredEvent::default() };
        assert!(stored.read().unwrap_err().to_string().contains("newer"));
    }
}

//! What surrounds every event: whose it is, which one, when, by whom, in which trace.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{Consumer, InvalidId, JobId, SubmissionId, UserId};
use crate::time::Timestamp;
use crate::trace::TraceParent;

/// An event of one aggregate with all that is recorded beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope<E> {
    /// The version the aggregate has after this event: from 1, with no gap.
    pub seq: u64,
    /// Redis's time when it was decided.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
    /// What happened.
    pub event: E,
}

/// The thing whose history an event is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AggregateId {
    /// A job.
    Job(JobId),
    /// A submission.
    Submission(SubmissionId),
    /// The policy.
    Policy,
    /// The log itself.
    Log,
}

impl fmt::Display for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(id) => write!(f, "job:{id}"),
            Self::Submission(id) => write!(f, "submission:{id}"),
            Self::Policy => f.write_str("policy"),
            Self::Log => f.write_str("log"),
        }
    }
}

impl FromStr for AggregateId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.split_once(':') {
            Some(("job", id)) => id.parse().map(Self::Job),
            Some(("submission", id)) => id.parse().map(Self::Submission),
            None if text == "policy" => Ok(Self::Policy),
            None if text == "log" => Ok(Self::Log),
            _ => Err(InvalidId(format!("{text:?} is no aggregate"))),
        }
    }
}

/// Who caused an event: written `user:alice`, `worker:gpu1-5f3a`, `system:reaper`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Actor {
    /// An authenticated user.
    User(UserId),
    /// A worker process.
    Worker(Consumer),
    /// A part of the platform itself, by name.
    System(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{user}"),
            Self::Worker(consumer) => write!(f, "worker:{consumer}"),
            Self::System(name) => write!(f, "system:{name}"),
        }
    }
}

impl FromStr for Actor {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.split_once(':') {
            Some(("user", name)) => name.parse().map(Self::User),
            Some(("worker", name)) => name.parse().map(Self::Worker),
            Some(("system", name)) => Ok(Self::System(name.to_owned())),
            _ => Err(InvalidId(format!("{text:?} is no actor"))),
        }
    }
}

impl TryFrom<String> for Actor {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.to_string()
    }
}

/// The place of an entry in a Redis stream, such as `1732345678901-0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
    /// Which one within that millisecond.
    pub seq: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for StreamId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = |(ms, seq): (&str, &str)| Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? });
        text.split_once('-').and_then(parse).ok_or_else(|| InvalidId(format!("{text:?} is no stream id")))
    }
}

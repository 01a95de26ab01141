//! The domain of `LeadersBoard`: jobs and submissions, the commands they take, the events that come of them.
//!
//! Everything here is pure. [`job::decide`] turns a state and a command into events and guards, [`job::evolve`]
//! folds events into a state, and the [`ports`] say what the outside world must do. Nothing here reads a clock,
//! draws a random number or opens a connection.

pub mod artifacts;
pub mod commit;
pub mod execute;
pub mod failure;
pub mod guard;
pub mod id;
pub mod idempotency;
pub mod job;
pub mod json;
pub mod log;
pub mod policy;
pub mod ports;
pub mod problem;
pub mod quota;
pub mod ranking;
pub mod results;
pub mod submission;
pub mod time;
pub mod trace;

pub use artifacts::{Artifact, ArtifactList, ArtifactPath};
pub use commit::{Change, Commit, CommitError};
pub use failure::{DeadLetterKind, Failure, FailureKind, LossCause};
pub use guard::{Guard, Lane, Ticket, WorkChange};
pub use id::{ClassName, Consumer, Fence, JobId, RequestId, SubmissionId, UserId};
pub use idempotency::{Answered, Idempotency};
pub use job::{Job, JobCommand, JobEvent, JobSpec, JobState, JobStatus};
pub use log::envelope::{Actor, AggregateId, Envelope, StreamId};
pub use policy::{ConcurrencyPolicy, Limits, Policy, ResourceClass};
pub use problem::Problem;
pub use quota::{LimitReached, Usage};
pub use ranking::{Order, Standing};
pub use results::Results;
pub use submission::{Submission, SubmissionCommand, SubmissionEvent};
pub use time::Timestamp;
pub use trace::TraceParent;

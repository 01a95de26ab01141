//! Every key of `LeadersBoard`, built here and nowhere else.
//!
//! All keys of a namespace share the hash tag `{leaderboard:<namespace>}`, so that one commit is one slot of a Redis
//! Cluster. User names are percent-encoded.

mod boards;
mod classes;

use std::fmt::Display;

use events::{ClassName, Consumer, Fence, JobId, SubmissionId, UserId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub use classes::ReadModel;

/// The consumer group of every work stream.
pub const WORKERS_GROUP: &str = "workers";

/// A namespace whose name can't be part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a namespace is 1 to 64 letters, digits, '-' or '_'")]
pub struct InvalidNamespace;

/// The keys of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyspace {
    tag: String,
}

impl Default for Keyspace {
    fn default() -> Self {
        Self { tag: "{leaderboard:main}".to_owned() }
    }
}

impl Keyspace {
    /// The keys of the namespace of that name.
    ///
    /// # Errors
    /// If the name holds anything but letters, digits, `-` and `_`.
    pub fn new(namespace: &str) -> Result<Self, InvalidNamespace> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (1..=64).contains(&namespace.len()) && namespace.bytes().all(fits) {
            Ok(Self { tag: format!("{{leaderboard:{namespace}}}") })
        } else {
            Err(InvalidNamespace)
        }
    }

    /// The name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.tag.trim_start_matches("{leaderboard:").trim_end_matches('}')
    }

    fn key(&self, name: impl Display) -> String {
        format!("{}:{name}", self.tag)
    }

    /// The event log: history, append-only.
    #[must_use]
    pub fn events(&self) -> String {
        self.key("events")
    }

    /// The schema version and the migrations applied.
    #[must_use]
    pub fn schema(&self) -> String {
        self.key("schema")
    }

    /// Read model: what all roles must agree on.
    #[must_use]
    pub fn policy(&self) -> String {
        self.key("policy")
    }

    /// Read model: the last time the log came back without its newest part.
    #[must_use]
    pub fn regress(&self) -> String {
        self.key("regress")
    }

    /// Read model: a job's status.
    #[must_use]
    pub fn job(&self, id: JobId) -> String {
        self.key(format_args!("job:{id}"))
    }

    /// Read model: a completed job's results.
    #[must_use]
    pub fn result(&self, id: JobId) -> String {
        self.key(format_args!("result:{id}"))
    }

    /// Read model: a submission.
    #[must_use]
    pub fn submission(&self, id: SubmissionId) -> String {
        self.key(format_args!("submission:{id}"))
    }

    /// Read model: the ids of all jobs that have not ended.
    #[must_use]
    pub fn open(&self) -> String {
        self.key("open")
    }

    /// Read model: all jobs by time of acceptance.
    #[must_use]
    pub fn jobs(&self) -> String {
        self.key("jobs")
    }

    /// Read model: a user's jobs by time of acceptance.
    #[must_use]
    pub fn user_jobs(&self, user: &UserId) -> String {
        self.user(user, "jobs")
    }

    /// Read model: all submissions by time of upload.
    #[must_use]
    pub fn submissions(&self) -> String {
        self.key("submissions")
    }

    /// Read model: a user's submissions by time of upload.
    #[must_use]
    pub fn user_submissions(&self, user: &UserId) -> String {
        self.user(user, "submissions")
    }

    /// Read model: a user's jobs that have a slot, dispatched or running.
    #[must_use]
    pub fn user_active(&self, user: &UserId) -> String {
        self.user(user, "active")
    }

    /// Read model: a user's jobs that wait for a slot, by time of acceptance.
    #[must_use]
    pub fn user_held(&self, user: &UserId) -> String {
        self.user(user, "held")
    }

    /// Read model: a user's jobs that wait for their next try, by due time.
    #[must_use]
    pub fn user_delayed(&self, user: &UserId) -> String {
        self.user(user, "delayed")
    }

    /// Read model: the size of all of a user's submissions.
    #[must_use]
    pub fn user_stored(&self, user: &UserId) -> String {
        self.user(user, "stored")
    }

    /// Read model: the jobs of a submission.
    #[must_use]
    pub fn submission_jobs(&self, id: SubmissionId) -> String {
        self.key(format_args!("submission:{id}:jobs"))
    }

    /// Read model: a user's jobs whose place in the sliding hour was given back within it.
    #[must_use]
    pub fn refunds(&self, user: &UserId) -> String {
        self.key(format_args!("refunds:{}", encode(user)))
    }

    /// Read model: a user's uploads of the sliding hour.
    #[must_use]
    pub fn uploads(&self, user: &UserId) -> String {
        self.key(format_args!("uploads:{}", encode(user)))
    }

    /// The prefix of the status of all jobs, for scripts that learn the job from an index.
    #[must_use]
    pub fn job_prefix(&self) -> String {
        self.key("job:")
    }

    /// The prefix of all submissions, for scripts that learn the submission from an index.
    #[must_use]
    pub fn submission_prefix(&self) -> String {
        self.key("submission:")
    }

    /// What the keys of all users begin with.
    #[must_use]
    pub fn user_prefix(&self) -> String {
        self.key("user:")
    }

    /// What the waiting jobs of all classes begin with.
    #[must_use]
    pub fn pending_prefix(&self) -> String {
        self.key("pending:")
    }

    /// A pattern that every key of a user's matches, for `SCAN`.
    #[must_use]
    pub fn users_pattern(&self) -> String {
        self.key("user:*")
    }

    /// Read model: a user's accepted jobs of the sliding hour.
    #[must_use]
    pub fn rate(&self, user: &UserId) -> String {
        self.key(format_args!("rate:{}", encode(user)))
    }

    /// Read model: what was committed under an idempotency key.
    #[must_use]
    pub fn idempotency(&self, user: &UserId, key_sha256: &str) -> String {
        self.key(format_args!("idem:{}:{key_sha256}", encode(user)))
    }

    /// Read model: a class's waiting jobs by time of dispatch.
    #[must_use]
    pub fn pending(&self, class: &ClassName) -> String {
        self.key(format_args!("pending:{class}"))
    }

    /// Read model: the retries by due time.
    #[must_use]
    pub fn delayed(&self) -> String {
        self.key("delayed")
    }

    /// Read model: the dead letters by time of death.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        self.key("dlq")
    }

    /// Read model: the jobs with an end that the tracker has not got yet, by the time of the first of them.
    #[must_use]
    pub fn untracked(&self) -> String {
        self.key("untracked")
    }

    /// Work state: the tickets of a class.
    #[must_use]
    pub fn queue(&self, class: &ClassName) -> String {
        self.key(format_args!("queue:{class}"))
    }

    /// Work state: the prefix of all work streams, for scripts that learn the class from a lease.
    #[must_use]
    pub fn queue_prefix(&self) -> String {
        self.key("queue:")
    }

    /// Work state: who runs what.
    #[must_use]
    pub fn leases(&self) -> String {
        self.key("leases")
    }

    /// Live state: whose turn it is to reconcile.
    #[must_use]
    pub fn reconciler(&self) -> String {
        self.key("reconciler")
    }

    /// Live state: whose turn it is to remove what was kept for long enough.
    #[must_use]
    pub fn expirer(&self) -> String {
        self.key("expirer")
    }

    /// Live state: whose turn it is to record runs in the tracker.
    #[must_use]
    pub fn tracker(&self) -> String {
        self.key("tracker")
    }

    /// Live state: why nothing can be recorded in the tracker.
    #[must_use]
    pub fn tracker_note(&self) -> String {
        self.key("tracker-note")
    }

    /// Live state: why an end of a job can't be recorded in the tracker.
    #[must_use]
    pub fn tracking_note(&self, id: JobId) -> String {
        self.key(format_args!("tracking-note:{id}"))
    }

    /// Live state: what a worker tells of itself.
    #[must_use]
    pub fn worker(&self, worker: &Consumer) -> String {
        self.key(format_args!("worker:{worker}"))
    }

    /// Live state: the workers that tell of themselves.
    #[must_use]
    pub fn workers(&self) -> String {
        self.key("workers")
    }

    /// Live state: how long the newest runs of a class took.
    #[must_use]
    pub fn durations(&self, class: &ClassName) -> String {
        self.key(format_args!("durations:{class}"))
    }

    /// The channel on which workers are told to look at a job at once.
    #[must_use]
    pub fn nudges(&self) -> String {
        self.key("nudges")
    }

    /// Live state: the newest raw tickets and entries that could not be read.
    #[must_use]
    pub fn quarantine(&self) -> String {
        self.key("quarantine")
    }

    /// Live state: the newest lines of a run's log.
    #[must_use]
    pub fn log_tail(&self, id: JobId, fence: &Fence) -> String {
        self.key(format_args!("log:{id}:{fence}"))
    }

    /// Live state: how far a job is and how its numbers go.
    #[must_use]
    pub fn progress(&self, id: JobId) -> String {
        self.key(format_args!("progress:{id}"))
    }

    /// Live state: a user's uploads in flight.
    #[must_use]
    pub fn uploads_in_flight(&self, user: &UserId) -> String {
        self.key(format_args!("uploading:{}", encode(user)))
    }

    fn user(&self, user: &UserId, what: &str) -> String {
        self.key(format_args!("user:{}:{what}", encode(user)))
    }

    /// A pattern that every key of the namespace matches, for `SCAN`.
    #[must_use]
    pub fn pattern(&self) -> String {
        self.key("*")
    }
}

fn encode(user: &UserId) -> impl Display {
    utf8_percent_encode(user.as_str(), NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_namespace_share_one_hash_tag() {
        let keys = Keyspace::new("lab-2").unwrap();
        let user: UserId = "a}{b*".parse().unwrap();
        assert_eq!(keys.events(), "{leaderboard:lab-2}:events");
        assert_eq!(keys.user_jobs(&user), "{leaderboard:lab-2}:user:a%7D%7Bb%2A:jobs");
    }

    #[test]
    fn a_namespace_may_not_break_out_of_its_tag() {
        for bad in ["", "a}b", "a:b", "a b"] {
            assert_eq!(Keyspace::new(bad), Err(InvalidNamespace), "{bad:?}");
        }
    }
}

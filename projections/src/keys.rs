//! Every key of `LeadersBoard`, built here and nowhere else.
//!
//! All keys of a namespace share the hash tag `{leaderboard:<namespace>}`, so that one commit is one slot of a Redis
//! Cluster. User names are percent-encoded.

mod boards;

use std::fmt::Display;

use events::{AggregateId, ClassName, Consumer, Fence, JobId, SubmissionId, UserId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::patch::SetKind;

/// The consumer group of every work stream.
pub const WORKERS_GROUP: &str = "workers";

/// A namespace whose name can't be part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a namespace is 1 to 64 letters, digits, '-' or '_'")]
pub struct InvalidNamespace;

/// What a key of a read model holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadModel {
    /// The state of an aggregate.
    Hash(AggregateId),
    /// The results of a job.
    Results(JobId),
    /// Ids of jobs or submissions.
    Index(SetKind),
    /// What happened within an hour: ids of jobs or submissions.
    Window,
    /// The size of all of a user's submissions.
    Stored,
    /// What a user's jobs reached on a board.
    Standings,
    /// The best of each user on a board: a sum over [`Self::Standings`].
    Best,
    /// How many users there are on each board: a sum over [`Self::Best`].
    Boards,
}

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

    /// A pattern that every key of a user's matches, for `SCAN`.
    #[must_use]
    pub fn users_pattern(&self) -> String {
        self.key("user:*")
    }

    /// The total of a user's submissions and the index it is the sum over, if this key is one of the two.
    #[must_use]
    pub fn stored_of(&self, key: &str) -> Option<(String, String)> {
        let user = key.strip_suffix(":stored").or_else(|| key.strip_suffix(":submissions"))?;
        user.starts_with(&self.key("user:")).then(|| (format!("{user}:stored"), format!("{user}:submissions")))
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

    /// Live state: what a worker tells of itself.
    #[must_use]
    pub fn worker(&self, worker: &Consumer) -> String {
        self.key(format_args!("worker:{worker}"))
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

    /// Live state: raw tickets that could not be read.
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

    fn user(&self, user: &UserId, what: &str) -> String {
        self.key(format_args!("user:{}:{what}", encode(user)))
    }

    /// A pattern that every key of the namespace matches, for `SCAN`.
    #[must_use]
    pub fn pattern(&self) -> String {
        self.key("*")
    }

    /// Which read model a key is, if it is one.
    #[must_use]
    pub fn read_model(&self, key: &str) -> Option<ReadModel> {
        let name = key.strip_prefix(&self.tag)?.strip_prefix(':')?;
        let (kind, rest) = name.split_once(':').unwrap_or((name, ""));
        match (kind, rest) {
            ("job", id) => Some(ReadModel::Hash(AggregateId::Job(id.parse().ok()?))),
            ("submission", rest) if rest.ends_with(":jobs") => Some(ReadModel::Index(SetKind::Plain)),
            ("submission", id) => Some(ReadModel::Hash(AggregateId::Submission(id.parse().ok()?))),
            ("policy", "") => Some(ReadModel::Hash(AggregateId::Policy)),
            ("regress", "") => Some(ReadModel::Hash(AggregateId::Log)),
            ("result", id) => Some(ReadModel::Results(id.parse().ok()?)),
            ("open", "") => Some(ReadModel::Index(SetKind::Plain)),
            ("jobs" | "submissions" | "delayed" | "dlq" | "untracked", "") | ("pending", _) => {
                Some(ReadModel::Index(SetKind::Sorted))
            }
            ("rate" | "refunds" | "uploads", _) => Some(ReadModel::Window),
            ("boards", "") => Some(ReadModel::Boards),
            ("board", _) => match self.board_of(key)? {
                (_, Some(_)) => Some(ReadModel::Standings),
                (_, None) => Some(ReadModel::Best),
            },
            ("user", rest) => match rest.rsplit_once(':')?.1 {
                "jobs" | "submissions" | "active" | "held" | "delayed" => Some(ReadModel::Index(SetKind::Sorted)),
                "stored" => Some(ReadModel::Stored),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whose id a member of an index or of a window is; none for what no projection ever writes.
    #[must_use]
    pub fn member(&self, key: &str, member: &str) -> Option<AggregateId> {
        let name = key.strip_prefix(&self.tag)?.strip_prefix(':')?;
        let of_user = name.starts_with("user:") && name.ends_with(":submissions");
        if name == "submissions" || of_user || name.starts_with("uploads:") {
            Some(AggregateId::Submission(member.parse().ok()?))
        } else if name.starts_with("board:") {
            Some(AggregateId::Job(crate::board::job_of(member)?))
        } else {
            Some(AggregateId::Job(member.parse().ok()?))
        }
    }

    /// Whether a key may live without an expiry: the permanent keys of this namespace, and what goes by event.
    #[must_use]
    pub fn is_permanent(&self, key: &str) -> bool {
        let Some(name) = key.strip_prefix(&self.tag).and_then(|rest| rest.strip_prefix(':')) else {
            return false;
        };
        let exact = [
            "events",
            "schema",
            "policy",
            "regress",
            "open",
            "jobs",
            "submissions",
            "delayed",
            "dlq",
            "untracked",
            "leases",
            "boards",
        ];
        let under = ["job:", "result:", "submission:", "pending:", "queue:", "user:", "board:"];
        exact.contains(&name) || under.iter().any(|prefix| name.starts_with(prefix))
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
    fn a_member_is_of_what_its_index_holds_whatever_the_users_and_classes_are_called() {
        let (keys, id) = (Keyspace::default(), "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6");
        let user: UserId = "submissions".parse().unwrap();
        let class: ClassName = "submissions".parse().unwrap();
        let job = Some(AggregateId::Job(id.parse().unwrap()));
        for key in [keys.rate(&user), keys.refunds(&user), keys.pending(&class), keys.user_jobs(&user)] {
            assert_eq!(keys.member(&key, id), job, "{key}");
        }
        let submission = Some(AggregateId::Submission(id.parse().unwrap()));
        for key in [keys.submissions(), keys.uploads(&user), keys.user_submissions(&user)] {
            assert_eq!(keys.member(&key, id), submission, "{key}");
        }
    }

    #[test]
    fn a_namespace_may_not_break_out_of_its_tag() {
        for bad in ["", "a}b", "a:b", "a b"] {
            assert_eq!(Keyspace::new(bad), Err(InvalidNamespace), "{bad:?}");
        }
    }
}

//! What a key is: which read model, whose members it holds, whether it lives for ever.

use events::{AggregateId, JobId};

use super::Keyspace;
use crate::patch::SetKind;

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
    /// The records of a metric, of jobs that have expired too.
    Records,
    /// How many users there are on each board: a sum over [`Self::Best`].
    Boards,
}

impl Keyspace {
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
            ("board", _) => match self.board_of(key) {
                Some((_, Some(_))) => Some(ReadModel::Standings),
                Some((_, None)) => Some(ReadModel::Best),
                None => self.records_of(key).map(|_| ReadModel::Records),
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

    /// The total of a user's submissions and the index it is the sum over, if this key is one of the two.
    #[must_use]
    pub fn stored_of(&self, key: &str) -> Option<(String, String)> {
        let user = key.strip_suffix(":stored").or_else(|| key.strip_suffix(":submissions"))?;
        user.starts_with(&self.key("user:")).then(|| (format!("{user}:stored"), format!("{user}:submissions")))
    }
}

#[cfg(test)]
mod tests {
    use events::{ClassName, UserId};

    use super::*;

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
}

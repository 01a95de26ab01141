//! The ways to commit a command that gives a slot back, from the one that usually works to the one that always works.

use crate::job::command::JobCommand;

/// How a job gives its slot back. Each way is tried when a guard of the one before fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// No job waits for the slot, as is usual. What the user has in use is not read.
    HeldByNobody,
    /// The next held job gets the slot in the same commit.
    HandsOver,
    /// The job ends alone, because other commits changed the held jobs. The next held job is dispatched afterwards.
    Alone,
    /// The job ends alone, because what its user has in use can't be read.
    Blind,
}

/// Whether a command may give a slot back. What the user has in use can only add a refund to it.
pub(crate) const fn ends(command: &JobCommand) -> bool {
    match command {
        JobCommand::Complete { .. }
        | JobCommand::Fail { .. }
        | JobCommand::AcknowledgeCancel { .. }
        | JobCommand::LoseLease { .. }
        | JobCommand::Withdraw { .. }
        | JobCommand::RequestCancel { .. } => true,
        JobCommand::Enqueue(_)
        | JobCommand::Dispatch
        | JobCommand::Start(_)
        | JobCommand::Replay { .. }
        | JobCommand::Track { .. }
        | JobCommand::Expire => false,
    }
}

impl Ending {
    /// Returns the way that is tried first.
    pub(crate) const fn first(command: &JobCommand) -> Self {
        match command {
            JobCommand::Complete { .. } | JobCommand::Fail { .. } | JobCommand::AcknowledgeCancel { .. } => {
                Self::HeldByNobody
            }
            // A refund depends on what the user has in use; the others give no slot back.
            JobCommand::LoseLease { .. }
            | JobCommand::RequestCancel { .. }
            | JobCommand::Withdraw { .. }
            | JobCommand::Enqueue(_)
            | JobCommand::Dispatch
            | JobCommand::Start(_)
            | JobCommand::Replay { .. }
            | JobCommand::Track { .. }
            | JobCommand::Expire => Self::HandsOver,
        }
    }

    /// Returns the way that is tried next.
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::HeldByNobody => Self::HandsOver,
            Self::HandsOver | Self::Alone => Self::Alone,
            Self::Blind => Self::Blind,
        }
    }
}

//! The ways in which a command that gives a slot back is committed, from the one that mostly holds to the one that
//! always does.

use crate::job::command::JobCommand;

/// How a job gives its slot back. Each is tried when what the one before relied on did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nobody waits for it, as mostly: then what its user has in use need not be read.
    HeldByNobody,
    /// The next held job gets it in the same commit.
    HandsOver,
    /// By itself, because others were at the held jobs too. The next one is dispatched afterwards.
    Alone,
    /// By itself, because what its user has in use can't be read.
    Blind,
}

/// Whether a command may give a slot back. What its user has in use adds to it no more than a refund.
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
    /// What is tried first.
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

    /// What is tried next.
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::HeldByNobody => Self::HandsOver,
            Self::HandsOver | Self::Alone => Self::Alone,
            Self::Blind => Self::Blind,
        }
    }
}

//! What all commands share: who commands, how often a commit is tried, and why a command is not carried out.

use crate::commit::CommitError;
use crate::guard::Guard;
use crate::log::envelope::Actor;
use crate::ports::PortError;
use crate::problem::Problem;
use crate::trace::TraceParent;

/// How often a command is decided and committed before its caller learns of the conflict or the broken connection.
pub const MAX_TRIES: u32 = 16;

/// Who commands, and within which trace.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Who commands.
    pub actor: Actor,
    /// The trace of the request, if it has one.
    pub trace: Option<TraceParent>,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// The domain refused it.
    #[error("{0}")]
    Rejected(R),
    /// What the caller relied on does not hold.
    #[error("a guard does not hold: {0:?}")]
    GuardFailed(Guard),
    /// The event log is full and accepts no new work.
    #[error("the event log is at its memory limit and accepts no new work")]
    Full,
    /// The event log is away, or others changed the same aggregate at every try.
    #[error(transparent)]
    Unavailable(Problem),
    /// The commit is larger than one may be.
    #[error("the commit is too large: {0} bytes")]
    TooLarge(usize),
    /// Something is broken.
    #[error(transparent)]
    Defect(Problem),
}

/// The tries of one command. Every try loads the aggregate and decides again.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: u32,
    last: Option<Problem>,
}

impl Tries {
    /// Counts a try whose commit failed.
    ///
    /// # Errors
    /// If another try can't cure the error, or if this was the last try.
    pub(super) fn failed<R>(&mut self, error: CommitError) -> Result<(), ExecuteError<R>> {
        self.last = Some(retryable(error)?);
        self.again()
    }

    /// Counts a try that is repeated in another way.
    ///
    /// # Errors
    /// If this was the last try.
    pub(super) fn again<R>(&mut self) -> Result<(), ExecuteError<R>> {
        self.failed += 1;
        if self.failed < MAX_TRIES {
            return Ok(());
        }
        let others = || Problem::from("others changed the same aggregates at every try");
        Err(ExecuteError::Unavailable(self.last.take().unwrap_or_else(others)))
    }
}

/// Turns the failure of a read into that of the command.
pub(super) fn unread<R>(error: PortError) -> ExecuteError<R> {
    match error {
        PortError::Unavailable(problem) => ExecuteError::Unavailable(problem),
        PortError::Corrupt(problem) => ExecuteError::Defect(problem),
    }
}

/// Separates what another try can cure from what it can't.
fn retryable<R>(error: CommitError) -> Result<Problem, ExecuteError<R>> {
    match error {
        CommitError::Unavailable(problem) => Ok(problem),
        CommitError::Conflict | CommitError::Regressed | CommitError::GuardFailed(_) => Ok(error.to_string().into()),
        CommitError::Full => Err(ExecuteError::Full),
        CommitError::TooLarge(bytes) => Err(ExecuteError::TooLarge(bytes)),
        CommitError::Defect(problem) => Err(ExecuteError::Defect(problem)),
    }
}

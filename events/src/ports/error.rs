//! Why the outside world did not do what it was asked.

use crate::commit::CommitError;
use crate::problem::Problem;

/// Why the outside world did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// It is away; a later request may succeed.
    #[error(transparent)]
    Unavailable(Problem),
    /// What it holds can't be read: a defect, or a change made by hand.
    #[error(transparent)]
    Corrupt(Problem),
}

impl From<PortError> for CommitError {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Unavailable(problem) => Self::Unavailable(problem),
            PortError::Corrupt(problem) => Self::Defect(problem),
        }
    }
}

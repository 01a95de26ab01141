//! A job in this worker's hands.

use std::time::Duration;

use events::{Fence, Job};
use tracing::Span;

/// A job in this worker's hands, from its start to its recorded end.
pub(crate) struct Run {
    /// The job as it stood right after its start.
    pub(crate) job: Job,
    /// The authority of this run.
    pub(crate) fence: Fence,
    /// How long the run may be silent before its lease ends.
    pub(crate) lease: Duration,
    /// The span of the run's log lines.
    pub(crate) span: Span,
}

impl Run {
    /// A short name for the run's own directory: sockets in it have paths of at most 107 bytes, and the end of an id is
    /// random.
    pub(crate) fn short_name(&self) -> String {
        let id = self.job.id.to_string();
        format!("{}-{}", &id[id.len() - 12..], self.job.attempt())
    }
}

/// Whether nothing of a ticket is left for another worker to clear up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Yes,
    No,
}

impl Settled {
    pub(crate) fn and(self, other: Self) -> Self {
        if self == Self::Yes { other } else { Self::No }
    }
}

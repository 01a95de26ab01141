//! A job: one accepted request to run a submission, from its queueing to its end.

mod command;
mod decide;
pub(crate) mod ending;
mod event;
mod evolve;
pub(crate) mod handover;
#[cfg(test)]
mod properties;
mod state;
#[cfg(test)]
mod tests;

pub use command::{CancelMode, JobCommand, Start};
pub use decide::{Context, Decision, Rejection, decide};
pub use event::JobEvent;
pub use evolve::evolve;
pub use state::{
    ArtifactTotals, Completed, DeadLetter, Ended, Job, JobSpec, JobState, JobStatus, Losses, Run, TrackedRun, Tracking,
    Untracked, Waiting,
};

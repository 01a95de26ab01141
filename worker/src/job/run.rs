//! A run of a job on this worker, and what its steps share.

use std::time::Duration;

use events::{Fence, Job};
use tracing::Span;

use crate::confinement::run_directory::RunDirectory;
use crate::gpu::GpuLease;
use crate::job::interrupt::{Interrupt, Reason};
use crate::job::stage_watchdog::StageWatchdog;

/// A run of a job on this worker, from its start to its recorded end.
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

/// A run under way: what its steps share.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) run: &'a Run,
    pub(crate) gpus: &'a GpuLease,
    /// The directory of the run, removed when its steps are over.
    pub(crate) directory: &'a RunDirectory,
    /// Tells when the run is to stop before its program ends by itself.
    pub(crate) interrupt: &'a Interrupt,
    /// Learns which stage the run is in, and how long that may last.
    pub(crate) watchdog: &'a StageWatchdog,
}

impl Attempt<'_> {
    /// Waits until another run is the job's. Who asks for the end of a run that has ended comes too late, and a worker
    /// that is to stop finishes what is as good as done, within its drain timeout.
    pub(crate) async fn lost(&self) {
        if self.interrupt.raised().await != Reason::Lost {
            std::future::pending::<()>().await;
        }
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

//! The progress and the curves of a run, from its program and from the machine, for its readers.
//!
//! `tee` hands what is printed to `lines`, which finds what a program tells, and `system` looks at the machine; both
//! become `series` of a `standing`, which `reporter` sends to Redis. All of it is bounded, none of it is ever
//! waited for, and no run fails by it.

mod lines;
mod reporter;
mod series;
mod shared;
mod standing;
mod system;
mod tee;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use events::ports::ProgressPort;
use events::{Fence, JobId};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::confinement::limits::LimitWatch;
use crate::gpu::GpuLease;
use shared::Shared;
use tee::Tee;

/// How long the last report may take: who looks on after the end may miss it, the end does not wait for it.
const LAST_REPORT: Duration = Duration::from_secs(1);

/// The progress of one run.
pub(crate) struct RunProgress {
    shared: Arc<Shared>,
    reporter: AbortOnDropHandle<()>,
}

impl RunProgress {
    /// Begins to tell how a run stands, whose program starts now.
    pub(crate) fn begin(port: Arc<dyn ProgressPort>, job: JobId, fence: Fence) -> Self {
        let shared = Arc::new(Shared::new());
        let reporter = AbortOnDropHandle::new(tokio::spawn(reporter::run(port, job, fence, Arc::clone(&shared))));
        Self { shared, reporter }
    }

    /// The same output; what the program tells in it is heard as it is read.
    pub(crate) fn tee<R>(&self, output: R) -> Tee<R> {
        Tee::new(output, Arc::clone(&self.shared))
    }

    /// Looks at what the run uses, again and again.
    pub(crate) async fn sample(&self, watch: &LimitWatch<'_>, gpus: &GpuLease) -> Infallible {
        system::sample(&self.shared, watch, gpus).await
    }

    /// Tells what was not told yet, and that is all.
    pub(crate) async fn close(self) {
        self.shared.closed.cancel();
        // What is not told by then is lost without harm.
        let _ = timeout(LAST_REPORT, self.reporter).await;
    }
}

//! The progress and the curves of a run, from its program and from the machine, for its readers.
//!
//! `tee` hands what is printed to `lines`, which finds what a program tells, and `system` looks at the machine; both
//! become `series` of a `standing`, which `reporter` sends to Redis. All of it is bounded, none of it is ever
//! waited for, and no run fails by it.

mod lines;
mod reporter;
mod series;
mod standing;
mod system;
mod tee;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::ports::ProgressPort;
use events::{Fence, JobId};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::confinement::limits::Watch;
use crate::gpu::GpuLease;
use lines::Marker;
use standing::Standing;
use tee::Tee;

/// How long the last report may take: who looks on after the end may miss it, the end does not wait for it.
const LAST_REPORT: Duration = Duration::from_secs(1);

/// The progress of one run.
pub(crate) struct RunProgress {
    shared: Arc<Shared>,
    reporter: AbortOnDropHandle<()>,
}

struct Shared {
    began: Instant,
    standing: Mutex<Standing>,
    news: Notify,
    /// There will be no more of it.
    closed: CancellationToken,
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
    pub(crate) async fn sample(&self, watch: &Watch<'_>, gpus: &GpuLease) -> Infallible {
        system::sample(&self.shared, watch, gpus).await
    }

    /// Tells what was not told yet, and that is all.
    pub(crate) async fn close(self) {
        self.shared.closed.cancel();
        // What is not told by then is lost without harm.
        let _ = timeout(LAST_REPORT, self.reporter).await;
    }
}

impl Shared {
    fn new() -> Self {
        let (standing, news, closed) = Default::default();
        Self { began: Instant::now(), standing, news, closed }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the program tells, and what was seen of it.
    fn change(&self, change: impl FnOnce(&mut Standing, Duration)) {
        change(&mut self.lock(), self.began.elapsed());
        self.news.notify_one();
    }

    fn hear(&self, markers: Vec<Marker>) {
        if !markers.is_empty() {
            self.change(|standing, at| markers.into_iter().for_each(|marker| standing.hear(marker, at)));
        }
    }
}

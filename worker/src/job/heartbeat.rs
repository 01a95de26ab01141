//! Keeps the lease of a run, and hears whether the run is to go on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use events::ports::{Heartbeat, JobQueuePort};
use events::{Consumer, JobId};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{MissedTickBehavior, interval};

use crate::job::interrupt::{Interrupt, Reason};
use crate::job::run::Run;
use crate::job::stage_watchdog::StageWatchdog;
use crate::outage::Outage;

/// Keeps the leases of runs.
pub(crate) struct Heartbeats {
    pub(crate) queue: Arc<dyn JobQueuePort>,
    pub(crate) consumer: Consumer,
    /// Jobs that somebody nudged about.
    pub(crate) nudged: broadcast::Sender<JobId>,
}

impl Heartbeats {
    /// Beats every quarter of the lease for as long as the future is polled.
    ///
    /// While Redis is away the run goes on: the commit of its end finds out by the fence whether the run still counts.
    ///
    /// A run that shows no sign of life beats no longer: its lease ends, and the job is run again.
    pub(crate) async fn keep(&self, run: &Run, interrupt: &Interrupt, watchdog: &StageWatchdog) -> Infallible {
        let mut beats = interval((run.lease / 4).max(Duration::from_millis(100)));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut nudged = self.nudged.subscribe();
        let mut outage = Outage::of("the heartbeat");
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                () = about(run.job.id, &mut nudged) => beats.reset(),
            }
            if let Some(stage) = watchdog.stuck_in() {
                tracing::error!(stage, "the run is stuck; it is given up, and the job is run again");
                interrupt.raise(Reason::Lost);
                return std::future::pending().await;
            }
            match self.queue.heartbeat(run.job.id, &run.fence, &self.consumer).await {
                Ok(answer) => {
                    outage.over();
                    match answer {
                        Heartbeat::Ok => {}
                        Heartbeat::Cancel => interrupt.raise(Reason::Cancel),
                        Heartbeat::Lost => interrupt.raise(Reason::Lost),
                    }
                }
                Err(error) => outage.note(&error),
            }
        }
    }
}

/// Waits for a nudge about this job. One that may have been missed counts as one.
async fn about(job: JobId, nudged: &mut broadcast::Receiver<JobId>) {
    loop {
        match nudged.recv().await {
            Ok(other) if other != job => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

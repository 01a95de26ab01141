//! Keeps the lease of a run, and hears whether the run is to go on.

use std::time::Duration;

use events::JobId;
use events::ports::Heartbeat;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{MissedTickBehavior, interval};

use crate::job::interrupt::{Interrupt, Reason};
use crate::job::stage_watchdog::Vitals;
use crate::job::start::Run;
use crate::outage::Outage;
use crate::session::Session;

/// Beats every quarter of the lease, for as long as it is polled.
///
/// While Redis is away the run goes on: whether it still counts is for the commit of its end to find out, by its fence.
///
/// A run that shows no sign of life beats no longer: its lease ends, and the job is run again.
pub(crate) async fn keep(
    session: &Session,
    run: &Run,
    interrupt: &Interrupt,
    vitals: &Vitals,
) -> std::convert::Infallible {
    let mut beats = interval((run.lease / 4).max(Duration::from_millis(100)));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut nudged = session.nudged.subscribe();
    let mut outage = Outage::of("the heartbeat");
    loop {
        tokio::select! {
            _ = beats.tick() => {}
            () = about(run.job.id, &mut nudged) => beats.reset(),
        }
        if let Some(stage) = vitals.stuck_in() {
            tracing::error!(stage, "the run is stuck; it is given up, and the job is run again");
            interrupt.raise(Reason::Lost);
            return std::future::pending().await;
        }
        match session.ports.queue.heartbeat(run.job.id, &run.fence, &session.config.consumer).await {
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

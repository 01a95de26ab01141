//! Keeps the lease of a run, and hears whether the run is to go on.

use std::time::Duration;

use events::ports::Heartbeat;
use tokio::time::{MissedTickBehavior, interval};

use crate::interrupt::{Interrupt, Reason};
use crate::outage::Outage;
use crate::session::Session;
use crate::start::Run;

/// Beats every quarter of the lease, for as long as it is polled.
///
/// While Redis is away the run goes on: whether it still counts is for the commit of its end to find out, by its fence.
pub(crate) async fn keep(session: &Session, run: &Run, interrupt: &Interrupt) -> std::convert::Infallible {
    let mut beats = interval((run.lease / 4).max(Duration::from_millis(100)));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut outage = Outage::of("the heartbeat");
    loop {
        beats.tick().await;
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

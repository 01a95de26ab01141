//! Gives delayed jobs their tickets when they are due, and tells how full the queues are.

use std::sync::Arc;
use std::time::Duration;

use events::execute::ExecuteError;
use events::{Actor, JobCommand};
use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};

use crate::outage::Outage;
use crate::session::Session;

const TICK: Duration = Duration::from_millis(500);
/// Every how many ticks the depth of the queues is read.
const DEPTH_EVERY: u32 = 10;
const AT_ONCE: usize = 128;

/// Runs until it is aborted.
pub(crate) async fn run(session: Arc<Session>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut outage = Outage::of("dispatching delayed jobs");
    for tick in 0_u32.. {
        ticks.tick().await;
        match dispatch(&session).await {
            Ok(()) => outage.over(),
            Err(error) => outage.note(&error),
        }
        if tick % DEPTH_EVERY == 0 {
            tell_depths(&session).await;
        }
    }
}

async fn dispatch(session: &Session) -> Result<(), String> {
    let longest = session.policy.get().longest_retry_wait();
    let due = session.ports.queue.due(AT_ONCE, longest).await.map_err(|error| error.to_string())?;
    let mut first_error = Ok(());
    for id in due {
        let actor = Actor::System("dispatcher".to_owned());
        match session.command_as(actor, id, &JobCommand::Dispatch, None).await {
            // Another process was first, or the job has ended meanwhile.
            Ok(_) | Err(ExecuteError::Rejected(_)) => {}
            // What is wrong with one is not to keep the others.
            Err(error) => first_error = first_error.and(Err(error.to_string())),
        }
    }
    first_error
}

async fn tell_depths(session: &Session) {
    for class in session.all_classes() {
        // An outage is told by the dispatching itself.
        if let Ok(depth) = session.ports.queue.depth(&class).await {
            let of = |state| gauge!("leadersboard_queue_depth", "class" => class.to_string(), "state" => state);
            of("waiting").set(depth.waiting as f64);
            of("claimed").set(depth.claimed as f64);
        }
    }
}

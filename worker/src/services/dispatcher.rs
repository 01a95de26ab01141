//! Gives delayed jobs their tickets when they are due, and tells how full the queues are.

use std::sync::Arc;
use std::time::Duration;

use events::execute::ExecuteError;
use events::ports::JobQueuePort;
use events::{Actor, JobCommand};
use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};

use crate::commands::Commands;
use crate::outage::Outage;
use crate::served_classes::ServedClasses;

const TICK: Duration = Duration::from_millis(500);
/// Every how many ticks the depth of the queues is read.
const DEPTH_EVERY: u32 = 10;
const AT_ONCE: usize = 128;

/// Gives delayed jobs their tickets.
pub(crate) struct Dispatcher {
    pub(crate) commands: Commands,
    pub(crate) queue: Arc<dyn JobQueuePort>,
    pub(crate) classes: ServedClasses,
}

impl Dispatcher {
    /// Runs until aborted.
    pub(crate) async fn run(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outage = Outage::of("dispatching delayed jobs");
        for tick in 0_u32.. {
            ticks.tick().await;
            match self.dispatch().await {
                Ok(()) => outage.over(),
                Err(error) => outage.note(&error),
            }
            if tick % DEPTH_EVERY == 0 {
                self.tell_depths().await;
            }
        }
    }

    async fn dispatch(&self) -> Result<(), String> {
        let longest = self.commands.policy.get().longest_retry_wait();
        let due = self.queue.due(AT_ONCE, longest).await.map_err(|error| error.to_string())?;
        let mut first_error = Ok(());
        for id in due {
            let actor = Actor::System("dispatcher".to_owned());
            match self.commands.carry_out_as(actor, id, &JobCommand::Dispatch, None).await {
                // Another process was first, or the job has ended meanwhile.
                Ok(_) | Err(ExecuteError::Rejected(_)) => {}
                // One job that can't be dispatched does not hold up the others.
                Err(error) => first_error = first_error.and(Err(error.to_string())),
            }
        }
        first_error
    }

    async fn tell_depths(&self) {
        for class in self.classes.all() {
            // The dispatching itself tells of an outage.
            if let Ok(depth) = self.queue.depth(&class).await {
                let of = |state| gauge!("leadersboard_queue_depth", "class" => class.to_string(), "state" => state);
                of("waiting").set(depth.waiting as f64);
                of("claimed").set(depth.claimed as f64);
            }
        }
    }
}

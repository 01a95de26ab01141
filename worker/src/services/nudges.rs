//! Hears nudges and passes them on to the runs of this process.

use std::convert::Infallible;
use std::sync::Arc;

use events::JobId;
use events::ports::{Ids, NudgePort};
use tokio::sync::broadcast;

use crate::outage::Outage;

/// Listens for as long as the future is polled. If nothing is heard, the heartbeats find out later.
pub(crate) async fn run(port: Arc<dyn NudgePort>, ids: Arc<dyn Ids>, runs: broadcast::Sender<JobId>) -> Infallible {
    let mut outage = Outage::of("listening for nudges");
    loop {
        let error = match port.nudges().await {
            Ok(mut nudges) => {
                outage.over();
                while let Some(job) = nudges.next().await {
                    // Nobody listens if nothing runs.
                    let _ = runs.send(job);
                }
                "the connection is gone".to_owned()
            }
            Err(error) => error.to_string(),
        };
        outage.pause(&error, ids.jitter()).await;
    }
}

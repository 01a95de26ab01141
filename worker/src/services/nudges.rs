//! Hears of nudges and passes them on to the runs of this process.

use std::convert::Infallible;
use std::sync::Arc;

use crate::outage::Outage;
use crate::session::Session;

/// Listens for as long as it is polled. While nothing is heard the heartbeats find out, later.
pub(crate) async fn run(session: Arc<Session>) -> Infallible {
    let mut outage = Outage::of("listening for nudges");
    loop {
        let error = match session.ports.nudges.nudges().await {
            Ok(mut nudges) => {
                outage.over();
                while let Some(job) = nudges.next().await {
                    // Nobody listens where nothing runs.
                    let _ = session.nudged.send(job);
                }
                "the connection is gone".to_owned()
            }
            Err(error) => error.to_string(),
        };
        outage.pause(&error, session.ports.ids.jitter()).await;
    }
}

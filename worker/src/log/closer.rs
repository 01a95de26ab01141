//! Sends the end of a run's log before the end of the run is recorded, so that nobody sees an end without its last lines.

use std::sync::Arc;
use std::time::Duration;

use events::ports::{Ids, PortError, Stage, StageName};
use tokio::time::{Instant, timeout};

use crate::job::interrupt::Reason;
use crate::job::outcome::{Outcome, RunEnd};
use crate::job::run::Attempt;
use crate::log::job_log::JobLog;
use crate::outage::Outage;
use crate::stop::Stop;

/// How long one try may take.
const TRY_LIMIT: Duration = Duration::from_mins(5);
/// How long storage may be away at the end of a run whose log nobody waits for.
const GIVEN_BACK_PATIENCE: Duration = Duration::from_secs(10);

/// Sends the ends of logs.
pub(crate) struct LogCloser {
    /// How long the end of a run waits for storage that is away.
    pub(crate) budget: Duration,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) stop: Stop,
}

impl LogCloser {
    /// Sends what is not sent yet. While storage is away the run keeps its lease, for as long as the budget is; then it
    /// counts as failed by the platform.
    pub(crate) async fn close(&self, attempt: &Attempt<'_>, log: &JobLog, mut end: RunEnd) -> RunEnd {
        let counts = matches!(end.outcome, Outcome::Completed(_) | Outcome::Failed(_));
        let patience = if counts { self.budget } else { GIVEN_BACK_PATIENCE };
        let cut = tokio::select! {
            closed = self.try_until_closed(attempt, log, patience) => {
                closed.err().map(|why| Outcome::broken(format!("the end of the log could not be stored: {why}")))
            }
            () = attempt.lost() => Some(Outcome::Lost),
            () = self.stop.patience_is_over() => Some(Outcome::stopped(Reason::Drain)),
        };
        if let Some(cut) = cut.filter(|_| counts) {
            end.outcome = cut;
        }
        end
    }

    async fn try_until_closed(&self, attempt: &Attempt<'_>, log: &JobLog, patience: Duration) -> Result<(), PortError> {
        let mut outage = Outage::of("storing the end of a log");
        let mut since = None;
        loop {
            attempt.watchdog.enter("storing the log", TRY_LIMIT);
            let silent = |_| PortError::Unavailable(format!("storage did not answer for {TRY_LIMIT:?}").into());
            let Err(error) = timeout(TRY_LIMIT, log.close()).await.unwrap_or_else(|elapsed| Err(silent(elapsed)))
            else {
                outage.over();
                return Ok(());
            };
            if since.get_or_insert_with(Instant::now).elapsed() > patience {
                return Err(error);
            }
            attempt.watchdog.show(Stage { reason: Some(error.to_string()), ..StageName::Storing.into() });
            outage.pause(&error, self.ids.jitter()).await;
        }
    }
}

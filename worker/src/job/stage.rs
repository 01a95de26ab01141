//! What a run does, its program's time included, for people who look on: live state beside its progress.

use std::convert::Infallible;
use std::time::Duration;

use events::ports::{ProgressPort, ProgressReport, Shown, Stage};
use events::{Fence, JobId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How long a stage must last to be told: most stages of a short run are over before anybody could look.
const SETTLED: Duration = Duration::from_millis(200);
/// How often more of the same stage is told, at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often a stage is told again that has not changed, so that it does not expire.
const REPEAT: Duration = Duration::from_mins(10);

/// Tells the stages of a run for as long as it is polled: each as soon as it lasts, and then how far it is. Redis being
/// away costs the run nothing.
pub(crate) async fn tell(
    port: &dyn ProgressPort,
    job: JobId,
    fence: &Fence,
    mut stages: watch::Receiver<Option<Stage>>,
) -> Infallible {
    let name = |stage: &Option<Stage>| stage.as_ref().map(|stage| stage.name);
    let mut told: Option<(Stage, Instant)> = None;
    let mut is_away = false;
    loop {
        let stage = stages.borrow_and_update().clone();
        if name(&stage) != told.as_ref().map(|(stage, _)| stage.name) {
            tokio::select! {
                () = sleep(SETTLED) => {}
                Ok(_) = stages.wait_for(|next| name(next) != name(&stage)) => continue,
            }
        }
        let is_old = |(last, at): &(Stage, Instant)| Some(last) != stage.as_ref() || at.elapsed() >= REPEAT;
        if let Some(stage) = stage.clone().filter(|_| told.as_ref().is_none_or(is_old)) {
            let report = ProgressReport { stage: Some(stage.clone()), ..ProgressReport::default() };
            match port.report(job, fence, &report).await {
                Ok(Shown::Yes) => (told, is_away) = (Some((stage, Instant::now())), false),
                Ok(Shown::Refused) => return std::future::pending().await,
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(job = %job, %error, "the stage of the job can't be shown");
                    }
                }
            }
        }
        tokio::select! {
            () = sleep(INTERVAL) => {}
            Ok(_) = stages.wait_for(|next| name(next) != name(&stage)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use events::ports::{Curve, PortError, StageName, StageSeen, Stated};

    use super::*;
    use crate::job::stage_watchdog::StageWatchdog;

    /// Keeps what is told and when, and is away the first time.
    struct Board(Instant, Mutex<Vec<(u128, Stage)>>);

    #[async_trait]
    impl ProgressPort for Board {
        async fn report(&self, _: JobId, _: &Fence, report: &ProgressReport) -> Result<Shown, PortError> {
            let mut told = self.1.lock().unwrap();
            told.push((self.0.elapsed().as_millis() / 100, report.stage.clone().unwrap()));
            if told.len() == 1 { Err(PortError::Unavailable("away".into())) } else { Ok(Shown::Yes) }
        }

        async fn progress(&self, _: JobId, _: &Fence) -> Result<Option<Stated>, PortError> {
            Ok(None)
        }

        async fn stage(&self, _: JobId, _: &Fence) -> Result<Option<StageSeen>, PortError> {
            Ok(None)
        }

        async fn curves(&self, _: JobId, _: &Fence) -> Result<Vec<Curve>, PortError> {
            Ok(Vec::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_stage_is_told_at_once_and_again_as_it_goes_on() {
        let board = Board(Instant::now(), Mutex::default());
        let watchdog = StageWatchdog::default();
        let (job, fence) = ("0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap(), "00112233445566778899aabb");
        let fence: Fence = fence.parse().unwrap();
        let storing =
            |done| Stage { name: StageName::Storing, bytes_done: Some(done), bytes_total: Some(9), reason: None };
        let preparing = Stage::from(StageName::Preparing);
        let run = async {
            sleep(Duration::from_millis(50)).await;
            watchdog.show(preparing.clone());
            sleep(Duration::from_millis(1_550)).await;
            watchdog.show(StageName::Running.into());
            sleep(Duration::from_millis(100)).await;
            for done in 0..8 {
                watchdog.show(storing(done));
                sleep(Duration::from_millis(350)).await;
            }
            sleep(REPEAT + 2 * INTERVAL).await;
        };
        tokio::select! {
            never = tell(&board, job, &fence, watchdog.stages()) => match never {},
            () = run => {}
        }
        let told = board.1.into_inner().unwrap();
        let wanted = [(2, preparing.clone()), (14, preparing), (19, storing(0)), (29, storing(3)), (39, storing(6))];
        assert_eq!(told[..5], wanted);
        // What is left of it after the last change, and once more before it would expire.
        assert_eq!(told[5..].iter().map(|(_, stage)| stage.clone()).collect::<Vec<_>>(), [storing(7), storing(7)]);
    }
}

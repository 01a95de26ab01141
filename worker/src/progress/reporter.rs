//! Reports how a run stands, at most once a second, and never delays the run.

use std::sync::Arc;
use std::time::Duration;

use events::ports::{ProgressPort, Report, Shown};
use events::{Fence, JobId};
use tokio::time::{Instant, sleep_until};

use super::shared::Shared;
use super::standing::Part;

/// How often is told how far a run is, at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many points of curves are told a second, on average: they are told whole, so long ones are told less often.
const POINTS_A_SECOND: u32 = 1_000;

/// Tells what there is until there will be no more, or the run does not count any more.
pub(super) async fn run(port: Arc<dyn ProgressPort>, job: JobId, fence: Fence, shared: Arc<Shared>) {
    let mut curves_due = Instant::now();
    let mut is_away = false;
    loop {
        let now = Instant::now();
        let is_last = shared.closed.is_cancelled();
        let news = shared.lock().news(if is_last || now >= curves_due { Part::All } else { Part::Progress });
        let Some(report) = news else {
            if is_last {
                return;
            }
            let curves_wait = shared.lock().curves_wait();
            if curves_wait {
                rest(&shared, curves_due.min(now + INTERVAL)).await;
            } else {
                tokio::select! { () = shared.news.notified() => {} () = shared.closed.cancelled() => {} }
            }
            continue;
        };
        if report.curves.is_some() {
            curves_due = now + INTERVAL.max(Duration::from_secs(1) * points(&report) / POINTS_A_SECOND);
        }
        match port.report(job, &fence, &report).await {
            Ok(Shown::Yes) => is_away = false,
            Ok(Shown::Refused) => return,
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%job, %error, "the progress of the job can't be shown");
                }
                if is_last {
                    return;
                }
                shared.lock().give_back(&report);
            }
        }
        rest(&shared, now + INTERVAL).await;
    }
}

/// Waits, but not for what will not come.
async fn rest(shared: &Shared, until: Instant) {
    tokio::select! { () = sleep_until(until) => {} () = shared.closed.cancelled() => {} }
}

fn points(report: &Report) -> u32 {
    let points = report.curves.iter().flatten().map(|curve| curve.points.len()).sum::<usize>();
    u32::try_from(points).unwrap_or(u32::MAX)
}

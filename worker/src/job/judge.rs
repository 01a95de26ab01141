//! From the end of a program to the outcome of its run. What it looks at is gathered here; `verdict.rs` decides.

pub(crate) mod metrics_file;
pub(crate) mod oom;
mod verdict;

use std::path::Path;
use std::sync::Arc;

use events::ResourceClass;
use events::submission::Manifest;
use tokio::task::spawn_blocking;

use crate::confinement::Sandbox;
use crate::confinement::limits::{Breach, Measure, largest_file};
use crate::confinement::runner::LAST_OUTPUT;
use crate::confinement::supervise::process::Ended;
use crate::job::execute::Execution;
use crate::job::judge::verdict::{Case, judge};
use crate::job::outcome::Outcome;
use crate::job::run::Attempt;
use crate::log::job_log::JobLog;

/// Judges how runs ended.
pub(crate) struct Judge {
    pub(crate) sandbox: Arc<Sandbox>,
}

impl Judge {
    /// Turns the end of a program into the outcome of its run.
    ///
    /// GPUs of a run of which something may be left are marked: nobody gets them until they are seen free again.
    pub(crate) async fn judge(
        &self,
        attempt: &Attempt<'_>,
        manifest: &Manifest,
        class: &ResourceClass,
        log: &JobLog,
        execution: Execution,
    ) -> Outcome {
        let Execution { ended, run_time, gpu_usage } = execution;
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                attempt.gpus.mark_unhealthy(&format!("what a job left on it may still be there: {error}"));
                return Outcome::broken(format!("the program could not be waited for: {error}"));
            }
        };
        let (output, disk) = (attempt.directory.output(), &self.sandbox.disk);
        let largest = match measure_of_too_much(&ended, &output) {
            Some(measure) => {
                let folders = attempt.directory.parts();
                spawn_blocking(move || largest_file(&folders, measure)).await.ok().flatten()
            }
            None => None,
        };
        let case = Case {
            entrypoint: &manifest.entrypoint,
            class: &attempt.run.job.spec.class,
            limit: class.time_limit(),
            output: &output,
            log,
            output_bytes: class.output_bytes,
            largest: largest.as_ref(),
            network: self.sandbox.network(),
            disk_was_short: disk.shortage(&output).is_some() || disk.was_short_within(run_time + LAST_OUTPUT),
        };
        let mut outcome = judge(&ended, &case);
        // The figures of the platform stand beside the job's own.
        if let Outcome::Completed(results) = &mut outcome {
            gpu_usage.add_to(&mut results.performance);
        }
        outcome
    }
}

/// The measure for the largest file, if the run may have ended because it wrote too much.
fn measure_of_too_much(ended: &Ended, output: &Path) -> Option<Measure> {
    match ended {
        Ended::Exited(status) => {
            let may_be = !status.success() || output.join("metrics.json").symlink_metadata().is_err();
            may_be.then_some(Measure::Size)
        }
        Ended::Exceeded(Breach::Disk(..)) => Some(Measure::Taken),
        Ended::Exceeded(_) | Ended::TimedOut | Ended::Interrupted(_) => None,
    }
}

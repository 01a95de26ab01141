//! What is counted.

use std::time::Duration;

use events::ClassName;
use metrics::{counter, gauge, histogram};

/// A slot that is in use until this is dropped.
pub(crate) struct BusySlot(());

impl BusySlot {
    pub(crate) fn take() -> Self {
        gauge!("leadersboard_worker_busy_slots").increment(1);
        Self(())
    }
}

impl Drop for BusySlot {
    fn drop(&mut self) {
        gauge!("leadersboard_worker_busy_slots").decrement(1);
    }
}

/// Counts the end of a run.
pub(crate) fn ended(class: &ClassName, outcome: &'static str, kind: &'static str, run_time: Option<Duration>) {
    let class = class.to_string();
    if let Some(run_time) = run_time {
        histogram!("leadersboard_job_run_seconds", "class" => class.clone(), "outcome" => outcome).record(run_time);
    }
    counter!("leadersboard_jobs_total", "outcome" => outcome, "kind" => kind, "class" => class).increment(1);
}

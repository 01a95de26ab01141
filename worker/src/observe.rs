//! What is counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use events::ClassName;
use metrics::{counter, gauge, histogram};

/// A slot that is in use until this is dropped.
pub(crate) struct BusySlot<'a>(&'a AtomicUsize);

impl<'a> BusySlot<'a> {
    pub(crate) fn take(busy: &'a AtomicUsize) -> Self {
        busy.fetch_add(1, Ordering::Relaxed);
        gauge!("leadersboard_worker_busy_slots").increment(1);
        Self(busy)
    }
}

impl Drop for BusySlot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        gauge!("leadersboard_worker_busy_slots").decrement(1);
    }
}

/// Tells what confines the jobs of this worker.
pub(crate) fn confined(applied: &str) {
    gauge!("leadersboard_worker_sandbox_info", "applied" => applied.to_owned()).set(1);
}

/// Counts the end of a run.
pub(crate) fn ended(class: &ClassName, outcome: &'static str, kind: &'static str, run_time: Option<Duration>) {
    let class = class.to_string();
    if let Some(run_time) = run_time {
        histogram!("leadersboard_job_run_seconds", "class" => class.clone(), "outcome" => outcome).record(run_time);
    }
    counter!("leadersboard_jobs_total", "outcome" => outcome, "kind" => kind, "class" => class).increment(1);
}

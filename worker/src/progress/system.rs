//! Samples what a run uses of the machine.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::shared::Shared;
use crate::confinement::limits::LimitWatch;
use crate::gpu::GpuLease;
use crate::machine::process_snapshot::TreeUsage;

/// The sampling interval.
const EVERY: Duration = Duration::from_secs(2);
/// How old a count of all processes may be: they are counted once for all runs of a worker.
const FRESH: Duration = Duration::from_millis(100);

/// Samples the run and its GPUs until dropped.
pub(super) async fn sample(shared: &Shared, watch: &LimitWatch<'_>, gpus: &GpuLease) -> Infallible {
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<(Instant, TreeUsage)> = None;
    loop {
        looks.tick().await;
        let (usage, memory_bytes) = watch.usage(FRESH).await;
        let now = Instant::now();
        let percent = before.map(|(then, earlier)| cpu_percent(earlier, usage, now - then));
        before = Some((now, usage));
        let gpu = gpus.now();
        let seen = [
            ("system/cpu_percent", percent),
            ("system/memory_bytes", Some(memory_bytes as f64)),
            ("system/processes", Some(usage.processes as f64)),
            ("system/gpu_utilisation_percent", gpu.map(|gpu| gpu.utilisation_percent)),
            ("system/gpu_memory_bytes", gpu.map(|gpu| gpu.memory_used_bytes as f64)),
        ];
        shared.change(|standing, at| {
            for (name, value) in seen {
                if let Some(value) = value {
                    standing.see(name, at, value);
                }
            }
        });
    }
}

/// The use of the processors between two samples, in percent of one core.
fn cpu_percent(earlier: TreeUsage, usage: TreeUsage, between: Duration) -> f64 {
    // The time of a process is lost with it where its parent does not wait for it.
    let used = usage.processor_time.saturating_sub(earlier.processor_time);
    if between.is_zero() { 0.0 } else { 100.0 * used.as_secs_f64() / between.as_secs_f64() }
}

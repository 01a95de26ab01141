//! Looks at the GPUs for as long as the worker lives, and tells what they do under the names that dashboards know.

use std::time::Duration;

use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};

use super::driver::{Device, Sample};
use super::inventory::Inventory;

/// How often is looked: also how short a peak of memory may be missed.
const EVERY: Duration = Duration::from_secs(1);
/// How often, where there is no GPU.
const EVERY_WITHOUT: Duration = Duration::from_secs(30);

/// Looks for as long as it is polled.
pub(crate) async fn watch(gpus: Inventory, host: String) {
    loop {
        let mut ticks = interval(if gpus.len() > 0 { EVERY } else { EVERY_WITHOUT });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        ticks.tick().await;
        gpus.look().await;
        for (device, sample) in gpus.samples() {
            tell(&device, &sample, &host);
        }
    }
}

/// Tells it as NVIDIA's own exporter does: the names and units of DCGM.
fn tell(device: &Device, sample: &Sample, host: &str) {
    const MIB: f64 = 1_048_576.0;
    let used = sample.memory_used_bytes.map(|bytes| bytes as f64 / MIB);
    let total = device.memory_bytes as f64 / MIB;
    let values = [
        ("DCGM_FI_DEV_GPU_UTIL", sample.utilisation_percent.map(f64::from)),
        ("DCGM_FI_DEV_FB_USED", used),
        ("DCGM_FI_DEV_FB_FREE", used.map(|used| (total - used).max(0.0))),
        ("DCGM_FI_DEV_GPU_TEMP", sample.temperature_c.map(f64::from)),
        ("DCGM_FI_DEV_POWER_USAGE", sample.power_mw.map(|mw| f64::from(mw) / 1_000.0)),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", sample.energy_mj.map(|mj| mj as f64)),
    ];
    for (name, value) in values {
        let Some(value) = value else { continue };
        let labels = [
            ("gpu", device.index.to_string()),
            ("UUID", device.uuid.clone()),
            ("modelName", device.name.clone()),
            ("Hostname", host.to_owned()),
        ];
        gauge!(name, &labels).set(value);
    }
}

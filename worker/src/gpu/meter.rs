//! What a run takes of its GPUs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::driver::Driver;
use super::inventory::Inventory;
use super::lease::GpuLease;

/// What the GPUs of a run had told when it began.
#[derive(Debug)]
pub(crate) struct Meter {
    began: BTreeMap<String, Reading>,
}

/// What one GPU tells at one moment.
#[derive(Debug, Clone, Default)]
struct Reading {
    energy_mj: Option<u64>,
    /// The peaks of processes by accounting, where that is on.
    accounted: Option<BTreeMap<u32, u64>>,
}

/// What a run took of its GPUs.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct GpuUsage {
    /// The sum over its GPUs of the most memory in use on each, in bytes.
    peak_memory: Option<(u64, PeakSource)>,
    energy_j: Option<f64>,
}

/// How a peak is known, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PeakSource {
    /// The driver kept it for each process.
    Accounting,
    /// The most that was seen of its processes, about once a second.
    Sampled,
    /// The peak use of the device, by all processes.
    Device,
}

impl Meter {
    /// Begins right before the run's program does.
    pub(crate) async fn begin(lease: &GpuLease) -> Self {
        Self { began: readings(lease).await }
    }

    /// What was taken since.
    pub(crate) async fn end(self, lease: &GpuLease) -> GpuUsage {
        let Some(gpus) = lease.gpus().filter(|_| !self.began.is_empty()) else { return GpuUsage::default() };
        let now = readings(lease).await;
        let peaks = self.began.iter().map(|(uuid, began)| peak(gpus, uuid, began, now.get(uuid)));
        let peak_memory = peaks.reduce(|sum, one| {
            let ((sum, source), (bytes, other)) = (sum?, one?);
            Some((sum + bytes, source.max(other)))
        });
        // The counter of a GPU that several jobs share is nobody's.
        let energy = self.began.iter().filter(|_| !gpus.are_shared()).map(|(uuid, began)| {
            let mj = now.get(uuid)?.energy_mj?.checked_sub(began.energy_mj?)?;
            Some(mj as f64 / 1_000.0)
        });
        let energy_j = energy.reduce(|sum, one| Some(sum? + one?)).flatten();
        GpuUsage { peak_memory: peak_memory.flatten(), energy_j }
    }
}

/// The most memory that the run had on one GPU, and how that is known.
fn peak(gpus: &Inventory, uuid: &str, began: &Reading, now: Option<&Reading>) -> Option<(u64, PeakSource)> {
    let (of_processes, of_device) = gpus.peaks(uuid);
    let seen = if gpus.are_shared() { None } else { of_processes };
    let accounted = now.filter(|_| !gpus.are_shared()).and_then(|now| {
        let before: BTreeSet<u32> = began.accounted.as_ref()?.keys().copied().collect();
        now.accounted.as_ref()?.iter().filter(|(pid, _)| !before.contains(pid)).map(|(_, bytes)| *bytes).max()
    });
    match (accounted, seen) {
        // Several processes together may have had more than each of them.
        (Some(accounted), seen) => Some((accounted.max(seen.unwrap_or(0)), PeakSource::Accounting)),
        (None, Some(seen)) => Some((seen, PeakSource::Sampled)),
        (None, None) => of_device.map(|bytes| (bytes, PeakSource::Device)),
    }
}

async fn readings(lease: &GpuLease) -> BTreeMap<String, Reading> {
    let uuids = lease.uuids();
    let Some(gpus) = lease.gpus().filter(|_| !uuids.is_empty()) else { return BTreeMap::new() };
    let read = move |driver: &dyn Driver| {
        let reading = |uuid: String| {
            let energy_mj = driver.sample(&uuid).ok().and_then(|sample| sample.energy_mj);
            let accounted = driver.accounted(&uuid).ok().flatten();
            (uuid, Reading { energy_mj, accounted })
        };
        Ok(uuids.into_iter().map(reading).collect())
    };
    gpus.ask(read).await.unwrap_or_default()
}

impl GpuUsage {
    /// Puts it beside what the run reported of itself, whose own words stand.
    pub(crate) fn add_to(self, performance: &mut Map<String, Value>) {
        if let Some((bytes, source)) = self.peak_memory
            && !performance.contains_key("gpu_peak_memory_bytes")
        {
            performance.insert("gpu_peak_memory_bytes".to_owned(), json!(bytes));
            performance.entry("gpu_peak_memory_source").or_insert_with(|| json!(source.as_str()));
        }
        if let Some(joules) = self.energy_j {
            performance.entry("gpu_energy_joules").or_insert_with(|| json!(joules));
        }
    }
}

impl PeakSource {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accounting => "accounting",
            Self::Sampled => "sampled",
            Self::Device => "device",
        }
    }
}

//! The GPUs that can be had, and those of one run.

use std::path::PathBuf;

use events::JobId;

use super::driver::{Device, Sample};
use super::inventory::Inventory;
use super::lock::Lock;

/// GPUs that can be had now, with their free slots; nobody else can have them until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    gpus: Option<Inventory>,
    seats: Vec<(Device, Vec<Lock>)>,
}

impl Offer {
    pub(super) fn new(gpus: Inventory, seats: Vec<(Device, Vec<Lock>)>) -> Self {
        Self { gpus: Some(gpus), seats }
    }

    /// How many slots of each GPU are free.
    pub(crate) fn free_slots(&self) -> Vec<usize> {
        self.seats.iter().map(|(_, locks)| locks.len()).collect()
    }

    /// Takes `count` GPUs for a job, from those with the most free slots; `None` if there are not enough.
    pub(crate) fn take(&mut self, count: usize, job: JobId) -> Option<GpuLease> {
        self.seats.sort_by_key(|(device, locks)| (std::cmp::Reverse(locks.len()), device.index));
        let free = self.seats.iter().take_while(|(_, locks)| !locks.is_empty()).count();
        if free < count {
            return None;
        }
        let chosen = self.seats.iter_mut().take(count);
        let held: Vec<(Device, Lock)> =
            chosen.filter_map(|(device, locks)| locks.pop().map(|lock| (device.clone(), lock))).collect();
        let lease = GpuLease { gpus: self.gpus.clone(), job: job.to_string(), held };
        lease.each(|gpus, device| gpus.begin(&device.uuid, &lease.job));
        Some(lease)
    }
}

/// The GPUs of one run, which may be none. They are free again when this is dropped: not before the run's tree is gone.
#[derive(Debug)]
pub(crate) struct GpuLease {
    gpus: Option<Inventory>,
    job: String,
    held: Vec<(Device, Lock)>,
}

impl GpuLease {
    /// Their UUIDs.
    pub(crate) fn uuids(&self) -> Vec<String> {
        self.held.iter().map(|(device, _)| device.uuid.clone()).collect()
    }

    /// What shows a job its GPUs and no others.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        environment(self.devices())
    }

    /// The device nodes that a job needs for its GPUs; empty if it has none.
    pub(crate) fn device_nodes(&self) -> Vec<PathBuf> {
        device_nodes(self.devices())
    }

    fn devices(&self) -> impl Iterator<Item = &Device> {
        self.held.iter().map(|(device, _)| device)
    }

    /// Has nobody get them until they are seen free again: something of this run may still be on them.
    pub(crate) fn mark_unhealthy(&self, why: &str) {
        self.each(|gpus, device| gpus.mark_unhealthy(&device.uuid, why));
    }

    /// What they do now, as they were last seen; none without a GPU.
    pub(crate) fn now(&self) -> Option<GpuNow> {
        let gpus = self.gpus.as_ref()?;
        let samples: Vec<Sample> = self.held.iter().filter_map(|(device, _)| gpus.sample(&device.uuid)).collect();
        let count = u32::try_from(samples.len()).ok().filter(|count| *count > 0)?;
        let sum: u32 = samples.iter().filter_map(|sample| sample.utilisation_percent).sum();
        Some(GpuNow {
            utilisation_percent: f64::from(sum) / f64::from(count),
            memory_used_bytes: samples.iter().filter_map(|sample| sample.memory_used_bytes).sum(),
        })
    }

    pub(super) const fn gpus(&self) -> Option<&Inventory> {
        self.gpus.as_ref()
    }

    fn each(&self, what: impl Fn(&Inventory, &Device)) {
        if let Some(gpus) = &self.gpus {
            self.held.iter().for_each(|(device, _)| what(gpus, device));
        }
    }
}

impl Drop for GpuLease {
    fn drop(&mut self) {
        self.each(|gpus, device| gpus.end(&device.uuid, &self.job));
    }
}

/// What shows a program these GPUs and no others. It guards nothing: that is for the sandbox to do.
pub(super) fn environment<'a>(devices: impl Iterator<Item = &'a Device>) -> Vec<(String, String)> {
    let uuids: Vec<&str> = devices.map(|device| device.uuid.as_str()).collect();
    let variables = [("CUDA_VISIBLE_DEVICES", uuids.join(",")), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned())];
    variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// The device nodes that a program needs for these GPUs; none for none.
pub(super) fn device_nodes<'a>(devices: impl Iterator<Item = &'a Device>) -> Vec<PathBuf> {
    const SHARED: [&str; 5] =
        ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", "/dev/nvidia-caps"];
    let mut nodes: Vec<PathBuf> = devices.map(|device| PathBuf::from(format!("/dev/nvidia{}", device.minor))).collect();
    if !nodes.is_empty() {
        nodes.extend(SHARED.map(PathBuf::from));
    }
    nodes.retain(|node| node.exists());
    nodes
}

/// What the GPUs of a run do at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GpuNow {
    /// On average.
    pub(crate) utilisation_percent: f64,
    /// In all.
    pub(crate) memory_used_bytes: u64,
}

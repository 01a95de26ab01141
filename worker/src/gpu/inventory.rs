//! Which GPUs there are, and what each of them does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::ports::{GpuPresence, GpuState};
use tokio::time::timeout;

use super::driver::{Device, Driver, DriverError, GpuProcess, Sample};
use super::selection::Selection;

/// How long the driver may take to tell all that it is asked.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a GPU may hold of its memory and still count as free: drivers keep a little for themselves.
const LITTLE_BYTES: u64 = 512 << 20;

/// The GPUs of this machine as this worker knows them. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Inventory(Arc<Known>);

#[derive(Debug)]
struct Known {
    driver: Arc<dyn Driver>,
    selection: Selection,
    slots_per_gpu: usize,
    /// By UUID.
    gpus: Mutex<BTreeMap<String, Gpu>>,
    /// Held by the task that asks the driver: nobody else asks a driver that hangs.
    asking: Arc<tokio::sync::Mutex<()>>,
    /// What was said last of the driver, so that it is said once.
    said: Mutex<String>,
}

/// One GPU.
#[derive(Debug)]
struct Gpu {
    device: Device,
    /// The leases of this process, each with its job.
    jobs: Vec<String>,
    /// Why it is not offered before it was seen free again.
    unhealthy: Option<String>,
    /// Why frameworks can't begin on it, as far as was tried.
    no_cuda: Option<String>,
    /// Why no job can use it now.
    lost: Option<String>,
    /// Who else uses it, so that a job would not have it for itself.
    taken: Option<String>,
    sample: Sample,
    /// The most memory that processes had on it together since its lease began, as far as was seen.
    peak_of_processes: Option<u64>,
    /// The most memory in use on it since its lease began, as far as was seen.
    peak_of_device: Option<u64>,
}

/// What one look at a GPU shows.
struct Look {
    device: Device,
    seen: Result<(Sample, Vec<GpuProcess>), DriverError>,
}

impl Inventory {
    /// The GPUs of this driver that are selected, after a first look at them.
    pub(super) async fn over(driver: Arc<dyn Driver>, selection: Selection, slots_per_gpu: usize) -> Self {
        let inventory = Self(Arc::new(Known {
            driver,
            selection,
            slots_per_gpu,
            gpus: Mutex::default(),
            asking: Arc::default(),
            said: Mutex::default(),
        }));
        inventory.look().await;
        let known: Vec<Device> = inventory.table().values().map(|gpu| gpu.device.clone()).collect();
        for name in inventory.0.selection.missing(&known) {
            tracing::warn!("GPUS names {name}, which this machine does not have");
        }
        inventory
    }

    /// Whether no GPU is ever to be used.
    pub(super) fn is_closed(&self) -> bool {
        self.0.selection == Selection::None
    }

    /// The GPUs that a job can have as far as was seen, each with those of its slots that `free` yields.
    pub(super) fn usable<L>(&self, free: impl Fn(&str) -> Vec<L>) -> Vec<(Device, Vec<L>)> {
        let usable = |gpu: &Gpu| {
            let free = free(&gpu.device.uuid);
            // The load seen on it is then another job's of ours.
            let is_shared = free.len() < self.0.slots_per_gpu;
            let is_usable = gpu.unhealthy.is_none() && gpu.lost.is_none() && (gpu.taken.is_none() || is_shared);
            is_usable.then(|| (gpu.device.clone(), free))
        };
        self.table().values().filter_map(usable).collect()
    }

    /// How many jobs of one GPU each there is room for when all is free.
    pub(super) fn capacity(&self) -> usize {
        self.len() * self.0.slots_per_gpu
    }

    /// How many GPUs there are.
    pub(super) fn len(&self) -> usize {
        self.table().values().filter(|gpu| gpu.device.unfit.is_none()).count()
    }

    /// Offers a GPU to nobody until it is seen free again.
    pub(super) fn mark_unhealthy(&self, uuid: &str, why: &str) {
        tracing::error!(gpu = uuid, why, "the GPU gets no jobs until it is free again");
        if let Some(gpu) = self.table().get_mut(uuid) {
            gpu.unhealthy = Some(why.to_owned());
        }
    }

    /// Each GPU.
    pub(super) fn devices(&self) -> Vec<Device> {
        self.table().values().map(|gpu| gpu.device.clone()).collect()
    }

    /// What a program is to run to see whether frameworks can begin on a GPU.
    pub(super) fn cuda_script(&self, uuid: &str) -> String {
        self.0.driver.cuda_script(uuid)
    }

    /// Offers a GPU to nobody, for frameworks can't begin on it; or again, if they can.
    pub(super) fn tried_out(&self, uuid: &str, no_cuda: Option<String>) {
        if let Some(gpu) = self.table().get_mut(uuid) {
            if let Some(why) = &no_cuda {
                gpu.lose(why);
            }
            gpu.no_cuda = no_cuda;
        }
    }

    /// What is told of them.
    pub(super) fn presence(&self) -> Vec<GpuPresence> {
        let mut gpus: Vec<(u32, GpuPresence)> =
            self.table().values().map(|gpu| (gpu.device.index, gpu.presence())).collect();
        gpus.sort_by_key(|(index, _)| *index);
        gpus.into_iter().map(|(_, gpu)| gpu).collect()
    }

    /// Which job has which GPU, for Prometheus to join with a GPU's own series.
    pub(super) fn job_info(&self) -> String {
        let table = self.table();
        let mut lines: Vec<String> = Vec::new();
        for gpu in table.values() {
            let (index, uuid) = (gpu.device.index, &gpu.device.uuid);
            let line = |job: &String| {
                format!("leadersboard_gpu_job_info{{gpu=\"{index}\",UUID=\"{uuid}\",job=\"{job}\"}} 1\n")
            };
            lines.extend(gpu.jobs.iter().map(line));
        }
        if lines.is_empty() {
            return String::new();
        }
        let header =
            "# HELP leadersboard_gpu_job_info Which job has which GPU now\n# TYPE leadersboard_gpu_job_info gauge\n";
        format!("{header}{}", lines.concat())
    }

    /// Each GPU with what it does, for its series.
    pub(super) fn samples(&self) -> Vec<(Device, Sample)> {
        let table = self.table();
        let living = table.values().filter(|gpu| gpu.lost.is_none());
        living.map(|gpu| (gpu.device.clone(), gpu.sample)).collect()
    }

    pub(super) fn sample(&self, uuid: &str) -> Option<Sample> {
        self.table().get(uuid).map(|gpu| gpu.sample)
    }

    /// The most memory seen in use since the lease began: by its processes, and on the device as a whole.
    pub(super) fn peaks(&self, uuid: &str) -> (Option<u64>, Option<u64>) {
        self.table().get(uuid).map_or((None, None), |gpu| (gpu.peak_of_processes, gpu.peak_of_device))
    }

    /// Whether several jobs may share a GPU: what it tells is then no single job's.
    pub(super) fn are_shared(&self) -> bool {
        self.0.slots_per_gpu > 1
    }

    pub(super) fn begin(&self, uuid: &str, job: &str) {
        if let Some(gpu) = self.table().get_mut(uuid) {
            gpu.jobs.push(job.to_owned());
            (gpu.peak_of_processes, gpu.peak_of_device) = (None, None);
        }
    }

    pub(super) fn end(&self, uuid: &str, job: &str) {
        if let Some(gpu) = self.table().get_mut(uuid)
            && let Some(place) = gpu.jobs.iter().position(|held| held == job)
        {
            gpu.jobs.swap_remove(place);
        }
    }

    /// Asks the driver something, on a thread of its own; none if it fails or takes too long.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Driver) -> Result<T, DriverError> + Send + 'static,
    ) -> Option<T> {
        let driver = Arc::clone(&self.0.driver);
        let asked = async {
            let turn = Arc::clone(&self.0.asking).lock_owned().await;
            let answer = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                ask(driver.as_ref())
            });
            answer.await.ok()?.ok()
        };
        timeout(PATIENCE, asked).await.ok().flatten()
    }

    /// Looks at every GPU, and puts down what there is to see.
    pub(super) async fn look(&self) {
        if self.is_closed() {
            return;
        }
        let selection = self.0.selection.clone();
        let looked = self.ask(move |driver| Ok(look_at_all(driver, &selection))).await;
        match looked {
            Some(Ok(looks)) => {
                self.say(format!("{} GPUs", looks.len()));
                self.put_down(looks);
            }
            Some(Err(error)) => {
                self.say(error.to_string());
                self.lose_all(&error.to_string());
            }
            None => {
                let why = format!("the driver did not answer within {PATIENCE:?}");
                self.say(why.clone());
                self.lose_all(&why);
            }
        }
    }

    fn put_down(&self, looks: Vec<Look>) {
        let mut table = self.table();
        let seen: BTreeSet<String> = looks.iter().map(|look| look.device.uuid.clone()).collect();
        for (_, gpu) in table.iter_mut().filter(|(uuid, _)| !seen.contains(*uuid)) {
            gpu.lose("it is gone");
        }
        for look in looks {
            table.entry(look.device.uuid.clone()).or_insert_with(|| Gpu::new(look.device.clone())).put_down(look);
        }
    }

    fn lose_all(&self, why: &str) {
        self.table().values_mut().for_each(|gpu| gpu.lose(why));
    }

    /// Says how it stands with the driver, where that is news.
    fn say(&self, how: String) {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != how {
            tracing::info!("GPUs: {how}");
            *said = how;
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Gpu>> {
        self.0.gpus.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look_at_all(driver: &dyn Driver, selection: &Selection) -> Result<Vec<Look>, DriverError> {
    let devices = driver.devices()?.into_iter().filter(|device| selection.takes(device));
    let look = |device: Device| {
        let seen = driver.sample(&device.uuid).and_then(|sample| Ok((sample, driver.processes(&device.uuid)?)));
        Look { device, seen }
    };
    Ok(devices.map(look).collect())
}

impl Gpu {
    fn new(device: Device) -> Self {
        Self {
            device,
            jobs: vec![],
            unhealthy: None,
            no_cuda: None,
            lost: None,
            taken: None,
            sample: Sample::default(),
            peak_of_processes: None,
            peak_of_device: None,
        }
    }

    fn put_down(&mut self, look: Look) {
        self.device = look.device;
        let (sample, processes) = match look.seen {
            Ok(seen) => seen,
            Err(error) => return self.lose(&error.to_string()),
        };
        match self.device.unfit.clone().or_else(|| self.no_cuda.clone()) {
            Some(why) => self.lose(&why),
            None => self.lost = None,
        }
        self.sample = sample;
        let of_processes = processes.iter().filter_map(|process| process.memory_bytes).reduce(|sum, more| sum + more);
        self.peak_of_processes = self.peak_of_processes.max(of_processes);
        self.peak_of_device = self.peak_of_device.max(sample.memory_used_bytes);
        self.taken = self.who_is_on_it(&processes);
        if self.taken.is_none() {
            self.unhealthy = None;
        }
    }

    fn who_is_on_it(&self, processes: &[GpuProcess]) -> Option<String> {
        if let Some(process) = processes.first() {
            return Some(format!("process {} computes on it", process.pid));
        }
        let used = self.sample.memory_used_bytes.unwrap_or(0);
        (used > LITTLE_BYTES).then(|| format!("{} MiB of its memory are in use", used >> 20))
    }

    /// Says so once.
    fn lose(&mut self, why: &str) {
        if self.lost.as_deref() != Some(why) {
            tracing::warn!(gpu = self.device.uuid, why, "no job can use the GPU");
        }
        self.lost = Some(why.to_owned());
    }

    fn presence(&self) -> GpuPresence {
        let (state, reason) = match (self.unhealthy.as_ref().or(self.lost.as_ref()), &self.taken) {
            (Some(why), _) => (GpuState::Unhealthy, Some(why.clone())),
            (None, _) if !self.jobs.is_empty() => (GpuState::Leased, None),
            (None, Some(why)) => (GpuState::Taken, Some(why.clone())),
            (None, None) => (GpuState::Free, None),
        };
        let (uuid, name) = (self.device.uuid.clone(), self.device.name.clone());
        GpuPresence { uuid, name, memory_bytes: self.device.memory_bytes, state, reason }
    }
}

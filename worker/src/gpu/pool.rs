//! Which GPUs a job can have.

use std::path::PathBuf;
use std::sync::Arc;

use events::ports::GpuPresence;

use super::driver::Driver;
use super::inventory::Inventory;
use super::lease::Offer;
use super::lock::Locks;
use super::nvml::Nvml;
use super::selection::Selection;

/// Which GPUs a worker uses, and how.
#[derive(Debug, Clone)]
pub struct GpuOptions {
    /// Which of the machine's GPUs jobs may have.
    pub selection: Selection,
    /// How many jobs may have one GPU at once.
    pub slots_per_gpu: usize,
    /// Where leases are marked, for all workers of this machine.
    pub locks: PathBuf,
    /// A file that describes made-up GPUs, for tests.
    #[cfg(feature = "faults")]
    pub fake: Option<PathBuf>,
}

/// The GPUs of this machine, of which jobs can have those that are free. Clones share them.
#[derive(Debug, Clone)]
pub struct Gpus {
    inventory: Inventory,
    locks: Arc<Locks>,
}

impl Gpus {
    /// The GPUs that these options name. Without a driver there are none.
    pub async fn open(options: GpuOptions) -> Self {
        #[cfg(feature = "faults")]
        let driver: Arc<dyn Driver> = match &options.fake {
            Some(file) => Arc::new(super::fake::Fake(file.clone())),
            None => Arc::new(Nvml::default()),
        };
        #[cfg(not(feature = "faults"))]
        let driver = Arc::new(Nvml::default());
        Self::over(driver, options).await
    }

    pub(super) async fn over(driver: Arc<dyn Driver>, options: GpuOptions) -> Self {
        let GpuOptions { selection, slots_per_gpu, locks, .. } = options;
        let inventory = Inventory::over(driver, selection, slots_per_gpu).await;
        Self { inventory, locks: Arc::new(Locks::new(locks, slots_per_gpu)) }
    }

    /// The GPUs that a job can have now, after a look at them. Nobody else can have them until the offer is dropped.
    pub(crate) async fn offer(&self) -> Offer {
        if self.inventory.is_closed() {
            return Offer::default();
        }
        self.inventory.look().await;
        let seats = self.inventory.usable(|uuid| self.locks.free_slots(uuid));
        Offer::new(self.inventory.clone(), seats)
    }

    pub(crate) const fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// How many jobs of one GPU each there is room for when all is free.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inventory.capacity()
    }

    /// How many GPUs there are.
    pub(crate) fn len(&self) -> usize {
        self.inventory.len()
    }

    /// The GPUs as a worker announces them.
    pub(crate) fn presence(&self) -> Vec<GpuPresence> {
        self.inventory.presence()
    }

    /// Which job has which GPU, for Prometheus to join with a GPU's own series.
    #[must_use]
    pub fn job_info(&self) -> String {
        self.inventory.job_info()
    }
}

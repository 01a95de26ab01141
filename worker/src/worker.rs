//! One worker process, from taking its directory to leaving it.

use std::path::PathBuf;
use std::sync::Arc;

use events::policy::LivePolicy;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::assembly::Assembly;
use crate::config::{Ports, WorkerConfig};
use crate::gpu::{self, Gpus};
use crate::job::run::Settled;
use crate::observe;
use crate::recovery::orphans;
use crate::recovery::worker_directory::WorkerDirectory;
use crate::services::fitness::Fitness;
use crate::stop::Stop;

/// Why a worker could not work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its directory can't be used.
    #[error("the work directory {path} can't be used: {source}", path = path.display())]
    WorkRoot {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A worker that has not begun.
pub struct Worker {
    config: WorkerConfig,
    ports: Ports,
    policy: Arc<LivePolicy>,
    fitness: Arc<Fitness>,
}

impl Worker {
    /// A worker by this configuration, over these ports, under this policy.
    #[must_use]
    pub fn new(config: WorkerConfig, ports: Ports, policy: Arc<LivePolicy>) -> Self {
        Self { config, ports, policy, fitness: Arc::default() }
    }

    /// How many jobs it runs at once.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.config.slots
    }

    /// The GPUs that it gives to jobs.
    #[must_use]
    pub fn gpus(&self) -> Gpus {
        self.config.gpus.clone()
    }

    /// Whether it can set jobs up.
    #[must_use]
    pub fn fitness(&self) -> Arc<Fitness> {
        Arc::clone(&self.fitness)
    }

    /// Works until it is asked to stop.
    ///
    /// After `stop` it claims nothing more, lets its jobs finish for the drain timeout, and gives the rest back
    /// without costing them a try. From then on it waits for nothing that does not answer within two seconds, and after
    /// `stop_now`, when it kills and gives back at once, for nothing at all. A Redis that is away never ends it.
    ///
    /// # Errors
    /// If its work directory can't be used.
    pub async fn run(self, stop: CancellationToken, stop_now: CancellationToken) -> Result<(), WorkerError> {
        let name = self.ports.ids.fence().as_str()[..8].to_owned();
        let directory = WorkerDirectory::take(&self.config.work_root, &name, &self.config.consumer)
            .map_err(|source| WorkerError::WorkRoot { path: self.config.work_root.clone(), source })?;
        let WorkerConfig { gpus, sandbox, python, host, .. } = &self.config;
        if let Err(error) = orphans::adopt() {
            tracing::warn!(%error, "processes of a job that kills its supervisor may not be found");
        }
        observe::confined(&sandbox.to_string());
        gpus.inventory().try_out(sandbox, python, directory.path()).await;
        let gpu_watch = gpu::watch(gpus.inventory().clone(), host.clone());
        let stop = Stop { claiming: stop, running: stop_now.child_token(), waiting: stop_now };
        let assembly = Assembly::new(
            self.config,
            self.ports,
            self.policy,
            self.fitness,
            directory.path().to_owned(),
            stop.clone(),
        );
        let services = [
            in_background(assembly.dispatcher().run()),
            in_background(assembly.reaper().run()),
            in_background(assembly.reconciler()),
            in_background(assembly.expirer()),
            in_background(assembly.announcer().run()),
            in_background(assembly.nudges()),
            in_background(assembly.self_test().run()),
            in_background(assembly.recorder()),
            in_background(gpu_watch),
        ];
        let recovery = assembly.crash_recovery();
        let inherited = tokio::select! {
            inherited = recovery.take_over() => Some(inherited),
            () = stop.begun() => None,
        };
        let settled = match inherited {
            Some(inherited) => assembly.claimer().run(inherited).await,
            None => Settled::No,
        };
        drop(services);
        assembly.leaver().leave(directory, settled).await;
        Ok(())
    }
}

fn in_background<T: Send + 'static>(service: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        service.await;
    }))
}

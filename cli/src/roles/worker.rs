//! `leadersboard worker`: runs jobs, alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use adapters::ids::random_hex;
use anyhow::{Context, Result, bail};
use api::RenderMetrics;
use bytesize::ByteSize;
use clap::Args;
use events::policy::LivePolicy;
use events::{ClassName, Consumer};
use worker::{ArtifactLimits, GpuOptions, Gpus, Graces, JobVariables, Selection, TrackingConfig, Worker, WorkerConfig};

use super::api::{listen_for_metrics, serve_metrics};
use super::doctor::find_python;
use super::stop::Stop;
use crate::client::Output;
use crate::open_files::OpenFiles;
use crate::options::packages::RequirementsOptions;
use crate::options::policy;
use crate::options::policy::PolicyOptions;
use crate::options::sandbox::{ConfinementOptions, Site};
use crate::options::shared::{RedisOptions, StorageOptions, StrictOption};
use crate::options::tracking::TrackingOptions;
use crate::telemetry::{LogOptions, install_metrics};
use crate::wiring::Ports;

/// Run jobs, with a shared Redis.
#[derive(Debug, Args)]
pub(crate) struct WorkerCommand {
    #[command(flatten)]
    redis: RedisOptions,
    #[command(flatten)]
    strict: StrictOption,
    #[command(flatten)]
    storage: StorageOptions,
    #[command(flatten)]
    policy: PolicyOptions,
    #[command(flatten)]
    jobs: JobOptions,
    #[command(flatten)]
    tracking: TrackingOptions,
    /// How long running jobs may continue after SIGTERM, SIGINT or SIGHUP; then they return to the queue
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration)]
    drain_timeout: Duration,
    /// Serve /metrics on this address
    #[arg(long, env = "METRICS_ADDR")]
    metrics_addr: Option<SocketAddr>,
    #[command(flatten)]
    log: LogOptions,
}

/// How jobs are run.
#[derive(Debug, Args)]
pub(crate) struct JobOptions {
    /// Jobs that run at once [default: one for each place on a GPU, at least 1]
    #[arg(long, env = "WORKER_SLOTS")]
    slots: Option<usize>,
    /// GPUs for jobs: all, none, or PCI bus addresses and UUIDs, separated by commas
    #[arg(long, env = "GPUS", default_value = "all")]
    gpus: Selection,
    /// Jobs that share one GPU
    #[arg(long, env = "GPU_SLOTS", default_value_t = 1)]
    gpu_slots: usize,
    /// A file that tells of GPUs to make up
    #[cfg(feature = "faults")]
    #[arg(long, env = "LEADERSBOARD_FAKE_GPUS", hide = true)]
    fake_gpus: Option<PathBuf>,
    /// The only resource classes to serve, separated by commas [default: all, also new ones]
    #[arg(long, env = "WORKER_CLASSES", value_delimiter = ',')]
    classes: Vec<ClassName>,
    /// The worker's name in events and lists [default: the host's name]
    #[arg(long, env = "WORKER_NAME")]
    worker_name: Option<String>,
    /// The interpreter for jobs: a path, or a name on PATH [default: the first of python3, python on PATH, then
    /// /usr/bin/python3]
    #[arg(long, env = "JOB_PYTHON")]
    job_python: Option<PathBuf>,
    /// Environment variables for jobs, separated by commas: NAME passes a variable of the worker, NAME=value sets one
    #[arg(long, env = "JOB_ENV", hide_env_values = true, default_value = "", hide_default_value = true)]
    job_env: String,
    #[command(flatten)]
    confinement: ConfinementOptions,
    #[command(flatten)]
    requirements: RequirementsOptions,
    /// How often to reconcile open jobs with the queue
    #[arg(long, env = "RECONCILE_INTERVAL", default_value = "30s", value_parser = humantime::parse_duration)]
    reconcile_interval: Duration,
    /// How often to delete expired jobs and submissions, see `RETENTION` and `SUBMISSION_TTL`
    #[arg(long, env = "EXPIRE_INTERVAL", default_value = "1m", value_parser = humantime::parse_duration)]
    expire_interval: Duration,
    /// Time for a program to end after SIGINT; then it gets SIGTERM
    #[arg(long, env = "INTERRUPT_GRACE", default_value = "2s", value_parser = humantime::parse_duration)]
    interrupt_grace: Duration,
    /// Time for a program to end after SIGTERM; then it gets SIGKILL
    #[arg(long, env = "TERMINATE_GRACE", default_value = "2s", value_parser = humantime::parse_duration)]
    terminate_grace: Duration,
    /// Maximum bytes of a job's artifacts, such as 5GiB; the rest is not kept
    #[arg(long, env = "ARTIFACT_LIMIT", default_value = "5GiB")]
    artifact_limit: ByteSize,
    /// Maximum number of a job's artifacts
    #[arg(long, env = "ARTIFACT_FILES", default_value_t = ArtifactLimits::default().files)]
    artifact_files: usize,
}

impl WorkerCommand {
    pub(crate) async fn run(self, _output: Output) -> Result<ExitCode> {
        self.log.install()?;
        let files = OpenFiles::raise();
        let render = install_metrics()?;
        let stop = Stop::on_signals()?;
        let given = self.policy.given()?;
        self.jobs.clear_leftovers(&self.redis.data).await;
        let started = stop.unless_stopped(async {
            let role = format!("worker.{}", self.jobs.name());
            let ports = Ports::shared(&self.redis, &self.strict, &self.storage, &role).await?;
            let policy = policy::follow(ports.redis(), &given).await?;
            let storage = (self.redis.data.as_path(), &self.storage);
            let tracking = self.tracking.config(&ports)?;
            let metrics = listen_for_metrics(self.metrics_addr).await?;
            Ok((self.jobs.worker(&ports, policy, storage, tracking, self.drain_timeout).await?, metrics))
        });
        let Some((worker, metrics)) = started.await? else { return Ok(ExitCode::SUCCESS) };
        files.warn_if_few(worker.slots());
        let render = with_gpu_jobs(render, worker.gpus());
        let metrics = async {
            serve_metrics(metrics, render, stop.orderly.clone()).await;
            Ok(())
        };
        let work = async { worker.run(stop.orderly.clone(), stop.now.clone()).await.context("the worker ended") };
        tokio::try_join!(work, metrics)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl JobOptions {
    /// The worker's name, without what tells its starts apart.
    fn name(&self) -> String {
        self.worker_name.clone().unwrap_or_else(host_name)
    }

    /// Ends and removes what dead workers left on this machine. Redis may need the room.
    pub(super) async fn clear_leftovers(&self, data: &Path) {
        self.confinement.clear_leftovers(data).await;
    }

    /// A worker by these options.
    ///
    /// # Errors
    /// If a class is unknown or no interpreter runs.
    pub(super) async fn worker(
        &self,
        ports: &Ports,
        policy: Arc<LivePolicy>,
        (data, storage): (&Path, &StorageOptions),
        tracking: Option<TrackingConfig>,
        drain_timeout: Duration,
    ) -> Result<Worker> {
        if self.slots == Some(0) {
            bail!("WORKER_SLOTS must be at least 1");
        }
        if !(1..=64).contains(&self.gpu_slots) {
            bail!("GPU_SLOTS must be 1 to 64");
        }
        let rules = policy.get();
        if let Some(unknown) = self.classes.iter().find(|class| rules.class(class).is_none()) {
            bail!("WORKER_CLASSES names {unknown}, which RESOURCE_CLASSES does not");
        }
        let variables = JobVariables::read(&self.job_env, |name| std::env::var_os(name))?;
        let variables = self.confinement.with_folders(variables);
        let name = self.name();
        let consumer: Consumer = format!("{name}-{}", random_hex::<4>()).parse().context("WORKER_NAME")?;
        let python = find_python(self.job_python.as_deref()).await?;
        let gpus = Gpus::open(self.gpu_options(data)).await;
        let slots = self.slots.unwrap_or_else(|| gpus.capacity().max(1));
        let site = self.confinement.prepare(&python, (data, storage), consumer.as_str(), slots).await?;
        let installer = self.requirements.installer(&site, &python).await?;
        let Site { sandbox, work_root } = site;
        let slots = sandbox.usable_slots(slots);
        tracing::info!(%consumer, slots, python = %python, sandbox = %sandbox, "the worker is ready");
        let config = WorkerConfig {
            consumer,
            host: host_name(),
            slots,
            classes: self.classes.clone(),
            python,
            variables,
            installer,
            sandbox,
            work_root,
            reconcile_interval: self.reconcile_interval.max(Duration::from_millis(100)),
            expire_interval: self.expire_interval.max(Duration::from_millis(100)),
            drain_timeout,
            graces: Graces { interrupt: self.interrupt_grace, terminate: self.terminate_grace },
            gpus,
            artifacts: self.artifact_limits(),
            tracking,
        };
        let ports = worker::Ports {
            log: Arc::clone(&ports.log),
            queue: Arc::clone(&ports.queue),
            workers: Arc::clone(&ports.workers),
            durations: Arc::clone(&ports.durations),
            nudges: Arc::clone(&ports.nudges),
            work_state: Arc::clone(&ports.work_state),
            records: Arc::clone(&ports.records),
            status: Arc::clone(&ports.status),
            storage: Arc::clone(&ports.storage),
            logs: Arc::clone(&ports.logs),
            artifacts: Arc::clone(&ports.artifacts),
            live_log: Arc::clone(&ports.live_log),
            progress: Arc::clone(&ports.progress),
            tracking_notes: Arc::clone(&ports.tracking_notes),
            ids: Arc::clone(&ports.ids),
        };
        Ok(Worker::new(config, ports, policy))
    }
}

impl JobOptions {
    fn artifact_limits(&self) -> ArtifactLimits {
        ArtifactLimits { bytes: self.artifact_limit.as_u64(), files: self.artifact_files }
    }

    fn gpu_options(&self, data: &Path) -> GpuOptions {
        GpuOptions {
            selection: self.gpus.clone(),
            slots_per_gpu: self.gpu_slots,
            locks: self.confinement.work_root(data).join("gpus"),
            #[cfg(feature = "faults")]
            fake: self.fake_gpus.clone(),
        }
    }
}

/// The metrics with the jobs that have a GPU now: their series end with them.
pub(super) fn with_gpu_jobs(render: RenderMetrics, gpus: Gpus) -> RenderMetrics {
    Arc::new(move || render() + &gpus.job_info())
}

/// The host's name, with what a consumer's name may not hold left out.
fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let fits = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let name: String = name.to_string_lossy().chars().filter(fits).take(64).collect();
    if name.is_empty() { "worker".to_owned() } else { name }
}

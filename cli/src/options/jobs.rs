//! How a worker runs jobs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adapters::ids::random_hex;
use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use clap::Args;
use events::{ClassName, Consumer, Policy};
use worker::{ArtifactLimits, Gpus, Graces, Installer, JobVariables, Python, Sandbox, TrackingConfig, WorkerConfig};

use super::gpus::GpuOptions;
use super::packages::RequirementsOptions;
use super::python::PythonOption;
use super::sandbox::{ConfinementOptions, Site};
use super::storage::StorageOptions;
use crate::bad_usage::Given;
use crate::value;

/// The shortest interval between two runs of a background task.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// How jobs are run.
#[derive(Debug, Args)]
pub(crate) struct JobOptions {
    /// Jobs that run at once [default: one for each place on a GPU, at least 1]
    #[arg(long, env = "WORKER_SLOTS", value_name = "N", value_parser = value::count::<usize>)]
    slots: Option<usize>,
    #[command(flatten)]
    gpus: GpuOptions,
    /// The only resource classes to serve, separated by commas [default: all, also new ones]
    #[arg(long, env = "WORKER_CLASSES", value_delimiter = ',')]
    classes: Vec<ClassName>,
    /// The worker's name in events and lists [default: the host's name]
    #[arg(long, env = "WORKER_NAME")]
    worker_name: Option<String>,
    #[command(flatten)]
    python: PythonOption,
    /// Environment variables for jobs, separated by commas: NAME passes a variable of the worker, NAME=value sets one
    #[arg(long, env = "JOB_ENV", hide_env_values = true, default_value = "", hide_default_value = true)]
    job_env: String,
    #[command(flatten)]
    confinement: ConfinementOptions,
    #[command(flatten)]
    requirements: RequirementsOptions,
    /// How often to reconcile open jobs with the queue
    #[arg(long, env = "RECONCILE_INTERVAL", default_value = "30s", value_name = "TIME", value_parser = value::time)]
    reconcile_interval: Duration,
    /// How often to delete expired jobs and submissions, see `RETENTION` and `SUBMISSION_TTL`
    #[arg(long, env = "EXPIRE_INTERVAL", default_value = "1m", value_name = "TIME", value_parser = value::time)]
    expire_interval: Duration,
    /// Time for a program to end after SIGINT; then it gets SIGTERM
    #[arg(long, env = "INTERRUPT_GRACE", default_value = "2s", value_name = "TIME", value_parser = value::time)]
    interrupt_grace: Duration,
    /// Time for a program to end after SIGTERM; then it gets SIGKILL
    #[arg(long, env = "TERMINATE_GRACE", default_value = "2s", value_name = "TIME", value_parser = value::time)]
    terminate_grace: Duration,
    /// How long the end of a run waits for S3 when it does not answer, see `STORAGE_URL`; then the run counts as failed
    /// by the platform
    #[arg(long, env = "STORAGE_BUDGET", default_value = "1h", value_name = "TIME", value_parser = value::time)]
    storage_budget: Duration,
    /// Maximum size of a job's artifacts; the rest is not kept
    #[arg(long, env = "ARTIFACT_LIMIT", value_name = "SIZE", default_value = "5GiB", value_parser = value::size)]
    artifact_limit: ByteSize,
    /// Maximum number of a job's artifacts
    #[arg(long, env = "ARTIFACT_FILES", value_name = "N", default_value_t = ArtifactLimits::default().files,
          value_parser = value::count::<usize>)]
    artifact_files: usize,
}

/// What this machine has for jobs.
struct Machine {
    slots: usize,
    python: Python,
    gpus: Gpus,
    installer: Option<Installer>,
    sandbox: Arc<Sandbox>,
    work_root: PathBuf,
}

impl JobOptions {
    /// The worker's name. Unlike the consumer's name it is the same at each start.
    pub(crate) fn name(&self) -> String {
        self.worker_name.clone().unwrap_or_else(host_name)
    }

    /// Ends and removes what dead workers left on this machine. Redis may need the room.
    pub(crate) async fn clear_leftovers(&self, data: &Path) {
        self.confinement.clear_leftovers(data).await;
    }

    /// The configuration of a worker on this machine, under a policy.
    ///
    /// # Errors
    /// If an option can't be used, or the machine can't run jobs.
    pub(crate) async fn config(
        &self,
        policy: &Policy,
        (data, storage): (&Path, &StorageOptions),
        tracking: Option<TrackingConfig>,
        drain_timeout: Duration,
    ) -> Result<WorkerConfig> {
        self.check(policy).or_bad_usage()?;
        let is_in_bucket = storage.bucket().or_bad_usage()?.is_some();
        if is_in_bucket {
            self.keep_account()?;
        }
        let variables = self.variables().or_bad_usage()?;
        let consumer = self.consumer().or_bad_usage()?;
        let machine = self.machine(&consumer, (data, storage)).await?;
        let Machine { slots, python, gpus, installer, sandbox, work_root } = machine;
        tracing::info!(%consumer, slots, python = %python, sandbox = %sandbox, "the worker is ready");
        Ok(WorkerConfig {
            consumer,
            host: host_name(),
            slots,
            classes: self.classes.clone(),
            python,
            variables,
            installer,
            sandbox,
            work_root,
            reconcile_interval: self.reconcile_interval.max(SHORTEST_INTERVAL),
            expire_interval: self.expire_interval.max(SHORTEST_INTERVAL),
            drain_timeout,
            graces: Graces { interrupt: self.interrupt_grace, terminate: self.terminate_grace },
            gpus,
            artifacts: ArtifactLimits { bytes: self.artifact_limit.as_u64(), files: self.artifact_files },
            storage_budget: is_in_bucket.then_some(self.storage_budget),
            tracking,
        })
    }

    /// Refuses numbers out of range, and classes that the policy does not have.
    fn check(&self, policy: &Policy) -> Result<()> {
        if self.slots == Some(0) {
            bail!("WORKER_SLOTS must be at least 1, not 0");
        }
        if !(1..=64).contains(&self.gpus.gpu_slots) {
            bail!("GPU_SLOTS must be 1 to 64, not {}", self.gpus.gpu_slots);
        }
        if let Some(unknown) = self.classes.iter().find(|class| policy.class(class).is_none()) {
            bail!("WORKER_CLASSES names {unknown}, which RESOURCE_CLASSES does not");
        }
        Ok(())
    }

    /// Refuses to pass the account of the storage on to jobs.
    fn keep_account(&self) -> Result<()> {
        let mut passed_on = self.job_env.split(',').map(str::trim).filter(|entry| !entry.contains('='));
        match passed_on.find(|name| name.starts_with("AWS_")) {
            Some(name) => bail!(
                "JOB_ENV passes on {name}, which belongs to the account of STORAGE_URL: with it jobs could read and \
                 change all files. Give jobs an account of their own as NAME=value"
            ),
            None => Ok(()),
        }
    }

    /// The environment variables of jobs.
    fn variables(&self) -> Result<JobVariables> {
        let variables = JobVariables::read(&self.job_env, |name| std::env::var_os(name))?;
        Ok(self.confinement.with_folders(variables))
    }

    /// A consumer's name for this start.
    fn consumer(&self) -> Result<Consumer> {
        format!("{}-{}", self.name(), random_hex::<4>()).parse().context("WORKER_NAME")
    }

    /// Finds out what this machine has for the jobs of a consumer.
    async fn machine(&self, consumer: &Consumer, (data, storage): (&Path, &StorageOptions)) -> Result<Machine> {
        let python = self.python.find().await?;
        let gpus = self.gpus.open(self.confinement.work_root(data).join("gpus")).await;
        let slots = self.slots.unwrap_or_else(|| gpus.capacity().max(1));
        let site = self.confinement.prepare(&python, (data, storage), consumer.as_str(), slots).await?;
        let installer = self.requirements.installer(&site, &python).await?;
        let Site { sandbox, work_root } = site;
        Ok(Machine { slots: sandbox.usable_slots(slots), python, gpus, installer, sandbox, work_root })
    }
}

/// The host's name, without characters that a consumer's name can't have.
fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let fits = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let name: String = name.to_string_lossy().chars().filter(fits).take(64).collect();
    if name.is_empty() { "worker".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        jobs: JobOptions,
    }

    fn jobs(args: &[&str]) -> JobOptions {
        Cli::try_parse_from(["worker"].iter().chain(args)).unwrap().jobs
    }

    #[test]
    fn an_option_that_can_not_work_is_named() {
        for (args, told) in [
            (["--slots", "0"], "WORKER_SLOTS must be at least 1, not 0"),
            (["--gpu-slots", "65"], "GPU_SLOTS must be 1 to 64, not 65"),
            (["--gpu-slots", "0"], "GPU_SLOTS must be 1 to 64, not 0"),
            (["--classes", "small,huge"], "WORKER_CLASSES names huge, which RESOURCE_CLASSES does not"),
        ] {
            assert_eq!(jobs(&args).check(&Policy::default()).unwrap_err().to_string(), told);
        }
        jobs(&["--slots", "1", "--gpu-slots", "64", "--classes", "small"]).check(&Policy::default()).unwrap();
        let name = jobs(&["--worker-name", "a b"]).consumer().unwrap_err();
        assert!(format!("{name:#}").starts_with("WORKER_NAME: "), "{name:#}");
    }

    #[test]
    fn the_account_of_the_storage_is_not_passed_on_to_jobs() {
        for (given, kept) in [("A=1,AWS_ACCESS_KEY_ID", false), (" AWS_PROFILE ,B", false), ("AWS_REGION=x,A", true)] {
            assert_eq!(jobs(&["--job-env", given]).keep_account().is_ok(), kept, "{given}");
        }
    }

    #[test]
    fn each_start_has_a_consumer_of_its_own() {
        let jobs = jobs(&["--worker-name", "gpu-1"]);
        let (first, second) = (jobs.consumer().unwrap(), jobs.consumer().unwrap());
        assert_ne!(first, second);
        assert!(first.as_str().starts_with("gpu-1-"), "{first}");
    }
}

//! `leadersboard worker`: runs jobs, alone.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::RenderMetrics;
use clap::Args;
use worker::{Gpus, Worker};

use super::api::{listen_for_metrics, serve_metrics};
use super::stop::Stop;
use crate::bad_usage::Given;
use crate::client::Output;
use crate::open_files::OpenFiles;
use crate::options::jobs::JobOptions;
use crate::options::log::LogOptions;
use crate::options::policy::PolicyOptions;
use crate::options::redis::{RedisOptions, StrictOption};
use crate::options::storage::StorageOptions;
use crate::options::tracking::TrackingOptions;
use crate::shared_policy;
use crate::telemetry::{install_log, install_metrics};
use crate::value;
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
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "60s", value_name = "TIME", value_parser = value::time)]
    drain_timeout: Duration,
    /// Serve /metrics on this address
    #[arg(long, env = "METRICS_ADDR", value_name = "ADDR", value_parser = value::address)]
    metrics_addr: Option<SocketAddr>,
    #[command(flatten)]
    log: LogOptions,
}

impl WorkerCommand {
    pub(crate) async fn run(self, _output: Output) -> Result<ExitCode> {
        install_log(&self.log)?;
        let files = OpenFiles::raise();
        let render = install_metrics()?;
        let stop = Stop::on_signals()?;
        let given = self.policy.given().or_bad_usage()?;
        self.jobs.clear_leftovers(&self.redis.data).await;
        let started = stop.unless_stopped(async {
            let role = format!("worker.{}", self.jobs.name());
            let ports = Ports::shared(&self.redis, &self.strict, &self.storage, &role).await?;
            let policy = shared_policy::follow(ports.redis(), &given).await?;
            let storage = (self.redis.data.as_path(), &self.storage);
            let tracking = self.tracking.config(&ports).or_bad_usage()?;
            let metrics = listen_for_metrics(self.metrics_addr)?;
            let config = self.jobs.config(&policy.get(), storage, tracking, self.drain_timeout).await?;
            Ok((Worker::new(config, ports.of_worker(), policy), metrics))
        });
        let Some((worker, metrics)) = started.await? else { return Ok(ExitCode::SUCCESS) };
        files.warn_if_few(worker.slots());
        let render = with_gpu_jobs(render, worker.gpus());
        let metrics = async {
            serve_metrics(metrics, render, &stop).await;
            Ok(())
        };
        let work = async { worker.run(stop.orderly.clone(), stop.now.clone()).await.context("the worker ended") };
        tokio::try_join!(work, metrics)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The metrics with the jobs that have a GPU now: their series end with them.
pub(super) fn with_gpu_jobs(render: RenderMetrics, gpus: Gpus) -> RenderMetrics {
    Arc::new(move || render() + &gpus.job_info())
}

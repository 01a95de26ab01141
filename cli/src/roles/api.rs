//! `leadersboard api`: the HTTP interface, alone.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use api::{Api, Crews, RenderMetrics, Tokens};
use clap::Args;
use events::policy::LivePolicy;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::stop::Stop;
use crate::client::Output;
use crate::options::{AccessOptions, RedisOptions, StorageOptions, StrictOption, archive_limits};
use crate::policy::{self, PolicyOptions};
use crate::telemetry::{LogOptions, install_metrics};
use crate::tracking::TrackerAddress;
use crate::wiring::{Ports, listen};

/// Serve the API alone, against a shared Redis.
#[derive(Debug, Args)]
pub(crate) struct ApiCommand {
    /// Where to listen
    #[arg(long = "listen", env = "LISTEN_ADDR", default_value = "127.0.0.1:8010")]
    listen: SocketAddr,
    #[command(flatten)]
    redis: RedisOptions,
    #[command(flatten)]
    strict: StrictOption,
    #[command(flatten)]
    storage: StorageOptions,
    #[command(flatten)]
    policy: PolicyOptions,
    #[command(flatten)]
    access: AccessOptions,
    #[command(flatten)]
    tracker: TrackerAddress,
    #[command(flatten)]
    log: LogOptions,
}

impl ApiCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        self.log.install()?;
        let render = install_metrics()?;
        let stop = Stop::on_signals()?;
        let tokens = Tokens::parse(&self.access.api_tokens, &self.access.admin_tokens)?;
        let tokens = if self.access.api_tokens.is_empty() && self.access.admin_tokens.is_empty() {
            if !self.listen.ip().is_loopback() {
                bail!("API_TOKENS is empty, so any token would do: give tokens, or listen on a loopback address");
            }
            tracing::warn!("API_TOKENS is empty: any token is taken");
            Tokens::any()
        } else {
            tokens
        };
        let given = self.policy.given()?;
        let links = self.tracker.links()?;
        let ports = Ports::shared(&self.redis, &self.strict, &self.storage, "api").await?;
        let policy = policy::follow(ports.redis(), &given).await?;
        let listener = listen(self.listen).await?;
        let address = listener.local_addr().context("the listener has no address")?;
        let url = format!("http://{address}");
        answer(output, &format!("serving on {url}"), &json!({ "address": url }))?;
        let access = (&self.access, links);
        serve(&ports, policy, tokens, access, listener, render, None, stop.orderly).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Serves until `stop`, and the metrics beside it or on their own address.
pub(super) async fn serve(
    ports: &Ports,
    policy: Arc<LivePolicy>,
    tokens: Tokens,
    (access, mlflow): (&AccessOptions, Option<api::MlflowLinks>),
    listener: TcpListener,
    render: RenderMetrics,
    worker: Option<api::WorkerState>,
    stop: CancellationToken,
) -> Result<()> {
    let metrics_text = access.metrics_addr.is_none().then(|| Arc::clone(&render));
    let router = api::router(Api {
        log: Arc::clone(&ports.log),
        feed: Arc::clone(&ports.feed),
        nudges: Arc::clone(&ports.nudges),
        status: Arc::clone(&ports.status),
        crews: Crews::new(Arc::clone(&ports.workers), Arc::clone(&ports.durations)),
        storage: Arc::clone(&ports.storage),
        logs: Arc::clone(&ports.logs),
        artifacts: api::Artifacts::new(Arc::clone(&ports.artifacts)),
        log_feed: Arc::clone(&ports.log_feed),
        progress: Arc::clone(&ports.progress),
        tracking_notes: Arc::clone(&ports.tracking_notes),
        ids: Arc::clone(&ports.ids),
        policy,
        tokens,
        under_way: api::UnderWay::default(),
        upload_limits: access.upload_limits(),
        archive_limits: archive_limits(),
        leaderboard: Arc::clone(&ports.leaderboard),
        board_metrics: access.leaderboard_metrics.clone(),
        board_reads: api::BoardReads::default(),
        mlflow,
        metrics_text,
        worker,
        stop: stop.clone(),
    });
    let metrics = serve_metrics(access.metrics_addr, render, stop.clone());
    tokio::try_join!(
        async {
            api::serve(listener, router, stop).await;
            Ok(())
        },
        metrics
    )?;
    Ok(())
}

/// Serves `/metrics` on an address of its own, if there is one.
pub(super) async fn serve_metrics(
    address: Option<SocketAddr>,
    render: RenderMetrics,
    stop: CancellationToken,
) -> Result<()> {
    let Some(address) = address else { return Ok(()) };
    let listener = listen(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving metrics");
    api::serve(listener, api::metrics_router(render), stop).await;
    Ok(())
}

//! `leadersboard api`: the HTTP interface, alone.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::oidc::Oidc;
use anyhow::{Context, Result, bail};
use api::{Api, Authenticator, Connections, RenderMetrics, Serving, Tls, TokenFiles, Tokens};
use clap::Args;
use events::policy::LivePolicy;
use serde_json::json;
use tokio::net::TcpListener;

use super::answer;
use super::stop::Stop;
use crate::bad_usage::Given;
use crate::client::Output;
use crate::memory;
use crate::open_files::OpenFiles;
use crate::options::access::{AccessOptions, archive_limits};
use crate::options::log::LogOptions;
use crate::options::policy::PolicyOptions;
use crate::options::redis::{RedisOptions, StrictOption};
use crate::options::storage::StorageOptions;
use crate::options::tracking::TrackerAddress;
use crate::shared_policy;
use crate::telemetry::{install_log, install_metrics};
use crate::value;
use crate::wiring::{Ports, bind};

/// How many may read the metrics at once on their own address.
const METRICS_CONNECTIONS: usize = 32;

/// Serve the API, with a shared Redis.
#[derive(Debug, Args)]
pub(crate) struct ApiCommand {
    /// Address of the API
    #[arg(long, env = "LISTEN_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8010", value_parser = value::address)]
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
    /// How long requests in flight may take after a signal to stop; then they are cut off
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = value::time)]
    drain_timeout: Duration,
    #[command(flatten)]
    log: LogOptions,
}

impl ApiCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        install_log(&self.log)?;
        let files = OpenFiles::raise();
        let render = install_metrics()?;
        let stop = Stop::on_signals()?;
        let provider = self.access.provider().or_bad_usage()?;
        let tokens = self.access.tokens(|| Ok(None)).or_bad_usage()?;
        let given = self.policy.given().or_bad_usage()?;
        let links = self.tracker.links().or_bad_usage()?;
        let tls = self.access.http.tls().or_bad_usage()?;
        // It may warn, which is of no use beside an error of the options.
        refuse_open(&tokens.live.get(), self.listen).or_bad_usage()?;
        let socket = bind(self.listen, "--listen")?;
        let started = stop.unless_stopped(async {
            let ports = Ports::shared(&self.redis, &self.strict, &self.storage, "api").await?;
            let policy = shared_policy::follow(ports.redis(), &given).await?;
            let metrics = listen_for_metrics(self.access.metrics_addr)?;
            Ok((ports, policy, metrics, socket.listen()?))
        });
        let Some((ports, policy, metrics, listener)) = started.await? else { return Ok(ExitCode::SUCCESS) };
        let address = listener.local_addr().context("the listener has no address")?;
        let url = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
        let public = self.access.public_url.as_ref().map(ToString::to_string);
        let told = public.as_ref().map_or_else(String::new, |public| format!(", for browsers {public}"));
        answer(output, &format!("serving on {url}{told}"), &json!({ "address": url, "public_url": public }))?;
        let authenticator = self.access.authenticator(tokens.live, provider.clone());
        let access = (&self.access, links);
        let api = ApiListener { listener, tls: tls.map(|files| files.tls), connections: files.connections(0) };
        let who = (authenticator, tokens.files, provider);
        let ending = (&stop, self.drain_timeout);
        serve(&ports, policy, who, access, (api, metrics), (render, None), ending).await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Refuses to accept every token on an address that other machines can reach; warns on a loopback address.
///
/// # Errors
/// If every token is accepted and `listen` is not a loopback address.
pub(super) fn refuse_open(tokens: &Tokens, listen: SocketAddr) -> Result<()> {
    if !tokens.takes_any() {
        return Ok(());
    }
    if !listen.ip().is_loopback() {
        bail!(
            "API_TOKENS and ADMIN_TOKENS are empty, so every token would be accepted on {listen}: set API_TOKENS or \
             API_TOKENS_FILE, or listen on a loopback address such as 127.0.0.1"
        );
    }
    tracing::warn!("API_TOKENS and ADMIN_TOKENS are empty: every token is accepted");
    Ok(())
}

/// Where the API is served.
pub(super) struct ApiListener {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Tls>,
    pub(super) connections: Connections,
}

/// Serves until it is stopped and the requests in flight are answered, and the metrics beside it or on a listener of their
/// own.
pub(super) async fn serve(
    ports: &Ports,
    policy: Arc<LivePolicy>,
    (authenticator, token_files, provider): (Arc<Authenticator>, TokenFiles, Option<Oidc>),
    (access, mlflow): (&AccessOptions, Option<api::MlflowLinks>),
    (api, metrics): (ApiListener, Option<TcpListener>),
    (render, worker): (RenderMetrics, Option<api::WorkerState>),
    (stop, drain): (&Stop, Duration),
) {
    let ApiListener { listener, tls, connections } = api;
    let is_public_by_tls = access.public_url.as_ref().is_some_and(api::PublicUrl::is_secure);
    let metrics_text = metrics.is_none().then(|| Arc::clone(&render));
    let router = api::router(Api {
        ports: api::Ports {
            log: Arc::clone(&ports.log),
            feed: Arc::clone(&ports.feed),
            nudges: Arc::clone(&ports.nudges),
            status: Arc::clone(&ports.status),
            workers: Arc::clone(&ports.workers),
            durations: Arc::clone(&ports.durations),
            storage: Arc::clone(&ports.storage),
            logs: Arc::clone(&ports.logs),
            artifacts: Arc::clone(&ports.artifacts),
            log_feed: Arc::clone(&ports.log_feed),
            progress: Arc::clone(&ports.progress),
            tracking_notes: Arc::clone(&ports.tracking_notes),
            uploads: Arc::clone(&ports.uploads),
            leaderboard: Arc::clone(&ports.leaderboard),
            ids: Arc::clone(&ports.ids),
        },
        policy,
        authenticator,
        upload_limits: access.upload_limits(),
        archive_limits: archive_limits(),
        board_metrics: access.leaderboard_metrics.clone(),
        mlflow,
        metrics_text,
        worker,
        exposure: access.http.exposure(tls.is_some() || is_public_by_tls, memory::watch()),
        stop: stop.orderly.clone(),
    });
    let tokens = token_files.follow(stop.orderly.clone());
    let serving = Serving { tls, drain, ..serving(connections, stop) };
    let metrics = serve_metrics(metrics, render, stop);
    tokio::join!(api::serve(listener, router, serving), metrics, tokens, greet(provider));
}

/// Gets the keys of the provider before the first token needs them.
async fn greet(provider: Option<Oidc>) {
    if let Some(provider) = provider {
        // What it can't do it says itself. Until it can, its users get 503.
        let _ = provider.warm_up().await;
    }
}

/// Without TLS and without waiting for requests in flight.
fn serving(connections: Connections, stop: &Stop) -> Serving {
    let (stop, now) = (stop.orderly.clone(), stop.now.clone());
    Serving { connections, tls: None, ids: Arc::new(SystemIds), stop, now, drain: Duration::ZERO }
}

/// Takes the address of `METRICS_ADDR`, if there is one, before the role says that it is up.
///
/// # Errors
/// If the address is taken or not this machine's.
pub(super) fn listen_for_metrics(address: Option<SocketAddr>) -> Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = bind(address, "--metrics-addr")?.listen()?;
    tracing::info!(address = %listener.local_addr()?, "serving metrics");
    Ok(Some(listener))
}

/// Serves `/metrics` on a listener of its own, if there is one.
pub(super) async fn serve_metrics(listener: Option<TcpListener>, render: RenderMetrics, stop: &Stop) {
    if let Some(listener) = listener {
        let serving = serving(Connections::at_most(METRICS_CONNECTIONS), stop);
        api::serve(listener, api::metrics_router(render), serving).await;
    }
}

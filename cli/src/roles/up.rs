//! `leadersboard up`: everything in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::Tokens;
use clap::Args;
use events::Actor;
use events::problem::chain;
use serde_json::json;
use tokio::time::timeout;
use worker::{Fitness, Worker};

use super::answer;
use super::api::listen_for_metrics;
use super::stop::Stop;
use super::worker::with_gpu_jobs;
use crate::client::{ClientFile, Output};
use crate::data_dir::DataDir;
use crate::embedded::{PrivateRedis, check_path};
use crate::open_files::OpenFiles;
use crate::options::access::AccessOptions;
use crate::options::jobs::JobOptions;
use crate::options::log::LogOptions;
use crate::options::policy::PolicyOptions;
use crate::options::redis::NamespaceOption;
use crate::options::storage::StorageOptions;
use crate::options::tracking::TrackingOptions;
use crate::roles::policy_change;
use crate::shared_policy;
use crate::telemetry::{install_log, install_metrics};
use crate::wiring::{Ports, listen, migrate, position_file};

const DEFAULT_DATA: &str = "./data";
/// How long all may take to end once Redis is gone for good.
const END_WITHIN: Duration = Duration::from_secs(20);

/// Run everything in one process: a private Redis, the API, a worker.
#[derive(Debug, Args)]
#[command(after_help = "\
The data directory holds all data, for the next start too.
Ctrl-C, SIGTERM and a closed terminal stop it gracefully: running jobs may continue for DRAIN_TIMEOUT. Jobs that
don't finish run again at the next start. A second Ctrl-C stops it at once.")]
pub(crate) struct UpCommand {
    /// Address of the API
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8010")]
    listen: SocketAddr,
    /// The data directory
    #[arg(long, env = "DATA_DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    #[command(flatten)]
    namespace: NamespaceOption,
    #[command(flatten)]
    storage: StorageOptions,
    #[command(flatten)]
    policy: PolicyOptions,
    #[command(flatten)]
    access: AccessOptions,
    #[command(flatten)]
    jobs: JobOptions,
    #[command(flatten)]
    tracking: TrackingOptions,
    /// How long running jobs may continue after Ctrl-C; then they return to the queue
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    drain_timeout: Duration,
    #[command(flatten)]
    log: LogOptions,
}

impl UpCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        install_log(&self.log)?;
        let mut data = DataDir::lock(&self.data)?;
        let done = self.run_in(&mut data, output).await;
        if done.is_err() {
            data.discard_if_new();
        }
        done
    }

    async fn run_in(&self, data: &mut DataDir, output: Output) -> Result<ExitCode> {
        check_path(data.path())?;
        let files = OpenFiles::raise();
        let render = install_metrics()?;
        let given = self.policy.given()?;
        let links = self.tracking.address.links()?;
        let stop = Stop::on_signals()?;
        self.jobs.clear_leftovers(data.path()).await;
        let access = self.tokens(data)?;

        let mut redis = PrivateRedis::in_folder_of(data.path())?;
        let url = redis.url().to_owned();
        let up = Box::pin(async {
            let started = stop.unless_stopped(async {
                migrate(&url, &self.namespace.namespace).await?;
                let ports = self.open(&url, data).await?;
                for left in policy_change::set_at_start(ports.redis(), Actor::System("up".to_owned()), &given).await? {
                    tracing::warn!("{left}");
                }
                let policy = shared_policy::follow(ports.redis(), &given).await?;
                let storage = (data.path(), &self.storage);
                let tracking = self.tracking.config(&ports)?;
                let config = self.jobs.config(&policy.get(), storage, tracking, self.drain_timeout).await?;
                let worker = Worker::new(config, ports.of_worker(), Arc::clone(&policy));
                let metrics = listen_for_metrics(self.access.metrics_addr).await?;
                // Not before everything behind it is there: a client that is let in is answered.
                Ok((ports, policy, worker, (listen(self.listen).await?, metrics)))
            });
            let Some((ports, policy, worker, (listener, metrics))) = Box::pin(started).await? else { return Ok(()) };
            let server = format!("http://{}", listener.local_addr()?);
            // Before the address is told: who finds it finds the token too.
            ClientFile { server: server.clone(), token: access.token.clone() }.write(data.path())?;
            data.tell(Some(server.clone()))?;
            answer(
                output,
                &greeting(&server, &access, &self.data),
                &json!({ "server": server, "token": access.token }),
            )?;
            let fitness = worker.fitness();
            let serve = super::api::serve(
                &ports,
                Arc::clone(&policy),
                access.tokens,
                (&self.access, links),
                (listener, files.connections(worker.slots()), metrics),
                (with_gpu_jobs(render, worker.gpus()), Some(worker_state(fitness))),
                stop.orderly.clone(),
            );
            let serve = async {
                serve.await;
                Ok(())
            };
            let work = async { worker.run(stop.orderly.clone(), stop.now.clone()).await.context("the worker ended") };
            tokio::try_join!(serve, work).map(drop)
        });
        let done = run_on(&mut redis, &stop, up).await;
        redis.stop().await;
        done.map(|()| ExitCode::SUCCESS)
    }

    async fn open(&self, url: &str, data: &DataDir) -> Result<Ports> {
        let keys = &self.namespace.namespace;
        Ports::open(url, keys, position_file(data.path(), keys, "up"), &self.storage, data.path()).await
    }

    /// The tokens that were given; else one of its own for the user `me`.
    fn tokens(&self, data: &DataDir) -> Result<Access> {
        let given = [&self.access.api_tokens, &self.access.admin_tokens];
        if let Some(first) = given.iter().flat_map(|list| list.split(',')).map(str::trim).find(|part| !part.is_empty())
        {
            let tokens = Tokens::parse(&self.access.api_tokens, &self.access.admin_tokens)?;
            let token = first.split_once(':').map_or(first, |(_, token)| token).to_owned();
            return Ok(Access { tokens, token, origin: Origin::Given });
        }
        let token = data.token()?;
        let tokens = Tokens::parse(&format!("me:{token}"), "")?;
        Ok(Access { tokens, token, origin: Origin::Made })
    }
}

/// Starts Redis, and then what works on it; ends what works on it when there is no Redis any more.
async fn run_on(
    redis: &mut PrivateRedis,
    stop: &Stop,
    mut up: Pin<Box<impl Future<Output = Result<()>>>>,
) -> Result<()> {
    if stop.unless_stopped(redis.start()).await?.is_none() {
        return Ok(());
    }
    let error = tokio::select! {
        done = &mut up => return done,
        error = redis.keep() => error,
    };
    tracing::error!(error = chain(error.as_ref()), "ending: nothing works without Redis");
    stop.orderly.cancel();
    stop.now.cancel();
    // The programs of jobs end with it; that there was no Redis is all there is to tell of the rest.
    let _ = timeout(END_WITHIN, up).await;
    Err(error)
}

/// Who may use this server.
struct Access {
    tokens: Tokens,
    /// The one that the commands on this machine use.
    token: String,
    origin: Origin,
}

enum Origin {
    Given,
    Made,
}

/// Says why the worker takes no jobs, to the API.
fn worker_state(fitness: Arc<Fitness>) -> api::WorkerState {
    Arc::new(move || fitness.unfit().map(|worker::Unfit { cause, why }| api::Unfit { cause, why }))
}

fn greeting(server: &str, access: &Access, data: &Path) -> String {
    let token = match access.origin {
        Origin::Made => format!("token    {} (user me)\n", access.token),
        Origin::Given => String::new(),
    };
    let program = std::env::args().next().unwrap_or_else(|| "leadersboard".to_owned());
    // Where other commands look by themselves need not be said.
    let place = if data == Path::new(DEFAULT_DATA) { String::new() } else { format!(" --data {}", data.display()) };
    format!(
        "LeadersBoard is up.\n\n\
         server   {server}\n{token}\n\
         Submit something:  {program} submit{place} examples/quickstart --watch\n\
         Stop with Ctrl-C; everything is kept."
    )
}

//! `leadersboard up`: everything in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::{PublicUrl, Role, TokensAtStart};
use clap::Args;
use events::problem::chain;
use events::{Actor, UserId};
use serde_json::json;
use tokio::time::timeout;
use worker::{Fitness, Worker};

use super::api::{ApiListener, listen_for_metrics, refuse_open};
use super::stop::Stop;
use super::worker::with_gpu_jobs;
use super::{answer, tell};
use crate::bad_usage::Given;
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
use crate::value;
use crate::wiring::{Ports, bind, migrate, position_file};

const DEFAULT_DATA: &str = "./data";
/// How long the API and the worker may take to end after Redis ended for good.
const END_WITHIN: Duration = Duration::from_secs(20);
/// How long counting the jobs that wait may take at the end.
const COUNT_WITHIN: Duration = Duration::from_secs(1);

/// Run everything in one process: a private Redis, the API, a worker.
#[derive(Debug, Args)]
#[command(after_help = "\
The data directory holds all data, for the next start too.
Ctrl-C, SIGTERM and a closed terminal stop it gracefully: running jobs may continue for DRAIN_TIMEOUT. \
Jobs that don't finish run again at the next start. A second Ctrl-C stops it at once.")]
pub(crate) struct UpCommand {
    /// Address of the API
    #[arg(long, env = "LISTEN_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8010", value_parser = value::address)]
    listen: SocketAddr,
    /// The data directory
    #[arg(long, env = "DATA_DIR", value_name = "DIR", default_value = DEFAULT_DATA)]
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
    /// How long running jobs and requests in flight may continue after Ctrl-C; then jobs return to the queue
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = value::time)]
    drain_timeout: Duration,
    #[command(flatten)]
    log: LogOptions,
}

impl UpCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        install_log(&self.log)?;
        let mut data = DataDir::lock(&self.data)?;
        self.run_in(&mut data, output).await
    }

    async fn run_in(&self, data: &mut DataDir, output: Output) -> Result<ExitCode> {
        check_path(data.path())?;
        let files = OpenFiles::raise();
        let render = install_metrics()?;
        let given = self.policy.given().or_bad_usage()?;
        let links = self.tracking.address.links().or_bad_usage()?;
        let stop = Stop::on_signals()?;
        self.jobs.clear_leftovers(data.path()).await;
        let access = self.tokens(data)?;
        let provider = self.access.provider().or_bad_usage()?;
        let tls = self.access.http.tls().or_bad_usage()?;
        refuse_open(&access.tokens.live.get(), self.listen).or_bad_usage()?;

        // Before anything is set up: a taken address is the most frequent fault. Nobody can connect before `listen`.
        let socket = bind(self.listen, "--listen")?;
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
                let tracking = self.tracking.config(&ports).or_bad_usage()?;
                let config = self.jobs.config(&policy.get(), storage, tracking, self.drain_timeout).await?;
                let worker = Worker::new(config, ports.of_worker(), Arc::clone(&policy));
                let metrics = listen_for_metrics(self.access.metrics_addr)?;
                // Not before everything behind it is there: a client that is let in is answered.
                Ok((ports, policy, worker, (socket.listen()?, metrics)))
            });
            let Some((ports, policy, worker, (listener, metrics))) = Box::pin(started).await? else { return Ok(None) };
            let certificate = tls.as_ref().map(|files| files.certificate.clone());
            let scheme = if tls.is_some() { "https" } else { "http" };
            let server = format!("{scheme}://{}", listener.local_addr()?);
            // Before the address is told: who finds it finds the token too.
            ClientFile { server: server.clone(), token: access.token().map(str::to_owned), certificate }
                .write(data.path())?;
            if access.is_given {
                data.remove_token()?;
            }
            data.tell(Some(server.clone()))?;
            answer(
                output,
                &greeting(&server, self.access.public_url.as_ref(), &access, &self.data),
                &json!({
                    "server": server,
                    "public_url": self.access.public_url.as_ref().map(ToString::to_string),
                    "token": access.token(),
                    "user": access.user(),
                    "role": access.role(),
                }),
            )?;
            let fitness = worker.fitness();
            let authenticator = self.access.authenticator(access.tokens.live, provider.clone());
            let connections = files.connections(worker.slots());
            let api = ApiListener { listener, tls: tls.map(|files| files.tls), connections };
            let serve = super::api::serve(
                &ports,
                Arc::clone(&policy),
                (authenticator, access.tokens.files, provider),
                (&self.access, links),
                (api, metrics),
                (with_gpu_jobs(render, worker.gpus()), Some(worker_state(fitness))),
                (&stop, self.drain_timeout),
            );
            let serve = async {
                serve.await;
                Ok(())
            };
            let work = async { worker.run(stop.orderly.clone(), stop.now.clone()).await.context("the worker ended") };
            tokio::try_join!(serve, work)?;
            Ok(timeout(COUNT_WITHIN, ports.redis().count_open_jobs()).await.ok().and_then(Result::ok))
        });
        let done = run_on(&mut redis, &stop, up).await;
        redis.stop().await;
        let waiting = done?;
        // Programs get one document, and they see the process end.
        if output == Output::Human {
            tell(&farewell(waiting))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn open(&self, url: &str, data: &DataDir) -> Result<Ports> {
        let keys = &self.namespace.namespace;
        Ports::open(url, keys, position_file(data.path(), keys, "up"), &self.storage, data.path()).await
    }

    /// The given tokens. If none was given, a token for the user `me`.
    fn tokens(&self, data: &DataDir) -> Result<Access> {
        let mut is_given = true;
        let tokens = self.access.tokens(|| {
            is_given = false;
            data.token().map(Some)
        });
        Access::of(tokens.or_bad_usage()?, is_given)
    }
}

/// Starts Redis, then the API and the worker. Ends both if Redis ends for good. Returns how many jobs wait at the end, if
/// that is known.
async fn run_on(
    redis: &mut PrivateRedis,
    stop: &Stop,
    mut up: Pin<Box<impl Future<Output = Result<Option<u64>>>>>,
) -> Result<Option<u64>> {
    if stop.unless_stopped(redis.start()).await?.is_none() {
        return Ok(None);
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
    tokens: TokensAtStart,
    /// The token that the commands on this machine use, and whose it is; `None` if only hashes of tokens are known.
    own: Option<(String, UserId, Role)>,
    /// Whether the operator gave the tokens. If not, `up` made one for the user `me`.
    is_given: bool,
}

impl Access {
    fn of(tokens: TokensAtStart, is_given: bool) -> Result<Self> {
        let own = tokens.first.clone().map(|token| {
            let (user, role) = tokens.live.get().user_of(&token).context("the first token is unknown")?;
            anyhow::Ok((token, user, role))
        });
        Ok(Self { own: own.transpose()?, tokens, is_given })
    }

    fn token(&self) -> Option<&str> {
        self.own.as_ref().map(|(token, ..)| token.as_str())
    }

    fn user(&self) -> Option<&UserId> {
        self.own.as_ref().map(|(_, user, _)| user)
    }

    fn role(&self) -> Option<&'static str> {
        self.own.as_ref().map(|(_, _, role)| match role {
            Role::User => "user",
            Role::Admin => "admin",
        })
    }
}

/// Says why the worker takes no jobs, to the API.
fn worker_state(fitness: Arc<Fitness>) -> api::WorkerState {
    Arc::new(move || fitness.unfit().map(|worker::Unfit { cause, why }| api::Unfit { cause, why }))
}

/// The last line of `up`.
fn farewell(waiting: Option<u64>) -> String {
    match waiting {
        None | Some(0) => "LeadersBoard has stopped.".to_owned(),
        Some(1) => "LeadersBoard has stopped. 1 job waits for the next start.".to_owned(),
        Some(jobs) => format!("LeadersBoard has stopped. {jobs} jobs wait for the next start."),
    }
}

fn greeting(server: &str, public_url: Option<&PublicUrl>, access: &Access, data: &Path) -> String {
    let who = match (&access.own, access.role()) {
        (Some((_, user, _)), Some(role)) if access.is_given => format!("you are {user} ({role})"),
        (Some((token, user, _)), _) => format!("token    {token} (user {user})"),
        (None, _) => "set LEADERSBOARD_TOKEN to your token: the server knows only hashes".to_owned(),
    };
    let public = match public_url {
        Some(url) => format!("public   {url}\n"),
        // No certificate names an address such as 0.0.0.0.
        None if server.starts_with("https://") => {
            "public   set PUBLIC_URL to an address of the certificate\n".to_owned()
        }
        None => String::new(),
    };
    let program = std::env::args().next().unwrap_or_else(|| "leadersboard".to_owned());
    // Where other commands look by themselves need not be said.
    let place = if data == Path::new(DEFAULT_DATA) { String::new() } else { format!(" --data {}", data.display()) };
    format!(
        "LeadersBoard is up.\n\n\
         server   {server}\n{public}{who}\n\n\
         Submit something:  {program} submit{place} examples/quickstart --watch\n\
         Stop with Ctrl-C; everything is kept."
    )
}

#[cfg(test)]
mod tests {
    use api::TokenSources;

    use super::*;

    #[test]
    fn the_last_line_counts_the_jobs_that_wait() {
        for (waiting, told) in [
            (None, "LeadersBoard has stopped."),
            (Some(0), "LeadersBoard has stopped."),
            (Some(1), "LeadersBoard has stopped. 1 job waits for the next start."),
            (Some(2), "LeadersBoard has stopped. 2 jobs wait for the next start."),
        ] {
            assert_eq!(farewell(waiting), told);
        }
    }

    #[test]
    fn the_greeting_shows_a_token_that_was_made_and_not_one_that_was_given() {
        let access = |is_given| {
            let sources = TokenSources { api_tokens: "me:t0ken".to_owned(), ..TokenSources::default() };
            Access::of(sources.read().unwrap(), is_given).unwrap()
        };
        let made = greeting("http://127.0.0.1:1", None, &access(false), Path::new(DEFAULT_DATA));
        assert!(made.contains("server   http://127.0.0.1:1\ntoken    t0ken (user me)\n"), "{made}");
        assert!(made.contains(" submit examples/quickstart --watch"), "{made}");
        let public = "https://lb.example/b".parse().unwrap();
        let given = greeting("http://127.0.0.1:1", Some(&public), &access(true), Path::new("/srv/lb"));
        assert!(!given.contains("t0ken") && given.contains(" submit --data /srv/lb "), "{given}");
        assert!(given.contains("\npublic   https://lb.example/b\nyou are me (user)\n"), "{given}");
        let by_tls = greeting("https://0.0.0.0:1", None, &access(true), Path::new("/srv/lb"));
        assert!(by_tls.contains("\npublic   set PUBLIC_URL"), "{by_tls}");
    }

    #[test]
    fn a_server_that_knows_only_hashes_has_no_token_to_leave() {
        let hashed = format!("me:sha256:{}", "0".repeat(64));
        let sources = TokenSources { api_tokens: hashed, ..TokenSources::default() };
        let access = Access::of(sources.read().unwrap(), true).unwrap();
        assert_eq!((access.token(), access.role()), (None, None));
        let told = greeting("http://127.0.0.1:1", None, &access, Path::new(DEFAULT_DATA));
        assert!(told.contains("set LEADERSBOARD_TOKEN"), "{told}");
    }
}

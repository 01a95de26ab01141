//! The processes of a campaign, and how they are started again.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Process};
use leadersboard_tests::client::Client;
use leadersboard_tests::preload::{Clock, Disk};
use leadersboard_tests::proxy::Proxy;
use leadersboard_tests::redis_server::{Persistence, RedisServer};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use crate::programs;

/// How long a worker may be silent.
const LEASE: &str = "2s";
const SLOTS: &str = "4";
/// Fewer of the client's jobs have a ticket than are open, so that most get the slot of one that ends.
const LIMITS: [(&str, &str); 2] = [("MAX_CONCURRENT_RUNNING", "8"), ("CONCURRENCY_POLICY", "queue")];
const PATIENCE: Duration = Duration::from_secs(2);

/// A worker, by its work root.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) state: State,
    process: Process,
    starts: usize,
    /// Whether something else stands where its work root was.
    rootless: bool,
}

/// What a worker is doing as far as its faults go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    Asleep,
    Draining,
    Down,
}

/// A Redis with a clock of its own, a network before it, an API and some workers.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) roles: Roles,
    pub(crate) clock: Clock,
    /// What workers and the API write on.
    pub(crate) disk: Disk,
    pub(crate) workers: Vec<Crew>,
    pub(crate) redis_is_up: bool,
    pub(crate) api_is_up: bool,
    api: Process,
    python: PathBuf,
    listen: String,
}

impl Site {
    /// Starts everything. The data stays when it is dropped, unless [`Site::remove`] is called.
    ///
    /// # Panics
    /// If something does not come up.
    pub(crate) async fn start(workers: usize) -> Self {
        let clock = Clock::new();
        let mut roles = Roles::on(RedisServer::start_with(Persistence::Always, clock.environment()).await);
        roles.data.disable_cleanup(true);
        roles.limits.extend(LIMITS);
        roles.network = Some(Proxy::before(&roles.redis.socket()));
        std::fs::create_dir(said(roles.data.path())).expect("the data directory is writable");
        let migrate = ["migrate", "--json", "--lease", LEASE, "--retry-backoff", "200ms,500ms"];
        let migrated = roles.command(&migrate).output().expect("the binary runs");
        assert!(migrated.status.success(), "{migrated:?}");
        let python = programs::interpreter(roles.data.path());
        // With the slash, what processes say is not on it: a line that is cut there would be taken for a panic's.
        let disk = Disk::under(format!("{}/", roles.data.path().display()));
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let listen = free.to_string();
        let api = Process::spawn(api(&roles, &disk, &listen));
        let starts = (0..workers).map(|number| Process::spawn(worker(&roles, &disk, &python, number, 0)));
        let workers = starts.map(|process| Crew { state: State::Up, process, starts: 1, rootless: false }).collect();
        let site = Self { roles, clock, disk, workers, redis_is_up: true, api_is_up: true, api, python, listen };
        let client = site.client();
        until("the API serves", Duration::from_secs(30), async || {
            client.request(reqwest::Method::GET, "/jobs").send().await.ok().filter(|answer| answer.status() == 200)
        })
        .await;
        site
    }

    /// A client of its API.
    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.listen), ALICE)
    }

    /// A connection to its Redis past the network, if it answers.
    pub(crate) async fn redis(&self) -> Option<MultiplexedConnection> {
        let client = redis::Client::open(self.roles.redis.url()).ok()?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        timeout(PATIENCE, client.get_multiplexed_async_connection_with_config(&config)).await.ok()?.ok()
    }

    /// The files that processes said something in.
    pub(crate) fn said(&self) -> PathBuf {
        said(self.roles.data.path())
    }

    /// Sends a worker a signal.
    pub(crate) fn signal(&mut self, worker: usize, signal: Signal, state: State) {
        self.workers[worker].process.signal(signal);
        self.workers[worker].state = state;
    }

    /// Starts a worker again, under the same work root.
    pub(crate) fn start_worker(&mut self, number: usize) {
        let next = worker(&self.roles, &self.disk, &self.python, number, self.workers[number].starts);
        let crew = &mut self.workers[number];
        crew.process = Process::spawn(next);
        crew.starts += 1;
        crew.state = State::Up;
    }

    /// Kills the API.
    pub(crate) fn kill_api(&mut self) {
        self.api.signal(Signal::SIGKILL);
        self.api_is_up = false;
    }

    /// Starts the API again, on the same address.
    pub(crate) fn start_api(&mut self) {
        self.api.signal(Signal::SIGKILL);
        self.api.wait();
        self.api = Process::spawn(api(&self.roles, &self.disk, &self.listen));
        self.api_is_up = true;
    }

    /// Kills Redis.
    pub(crate) fn kill_redis(&mut self) {
        let _ = kill(self.roles.redis.pid(), Signal::SIGKILL);
        self.redis_is_up = false;
    }

    /// Starts Redis again, on the same data.
    pub(crate) async fn start_redis(&mut self) {
        self.roles.redis.restart().await;
        self.redis_is_up = true;
    }

    /// Starts again whatever ended without being asked to, as an init system would: a role that starts while Redis is
    /// away gives up. How many these were.
    pub(crate) fn tend(&mut self) -> usize {
        if !self.redis_is_up {
            return 0;
        }
        let ended = |crew: &mut Crew| {
            !crew.rootless && matches!(crew.state, State::Up | State::Draining) && crew.process.has_ended()
        };
        let numbers = 0..self.workers.len();
        let ended: Vec<usize> = numbers.filter(|number| ended(&mut self.workers[*number])).collect();
        let asked = ended.iter().filter(|number| self.workers[**number].state == State::Draining).count();
        for number in &ended {
            self.start_worker(*number);
        }
        let api_ended = self.api_is_up && self.api.has_ended();
        if api_ended {
            self.start_api();
        }
        ended.len() - asked + usize::from(api_ended)
    }

    /// The processes of the workers that are up, and of the API.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let up = self.workers.iter().filter(|crew| crew.state == State::Up).map(|crew| crew.process.pid());
        up.chain(self.api_is_up.then(|| self.api.pid())).collect()
    }

    /// Puts a plain file where a worker's work root is. Nothing if one is there already.
    pub(crate) fn take_work_root(&mut self, worker: usize) -> Option<()> {
        let root = work_root(&self.roles, worker);
        if self.workers[worker].rootless {
            return None;
        }
        std::fs::rename(&root, aside(&root)).ok()?;
        std::fs::write(&root, b"").expect("the data directory is writable");
        self.workers[worker].rootless = true;
        Some(())
    }

    /// Puts a worker's work root back.
    pub(crate) fn bring_back_work_root(&mut self, worker: usize) {
        let root = work_root(&self.roles, worker);
        std::fs::remove_file(&root).expect("the file that stands there");
        std::fs::rename(aside(&root), &root).expect("the data directory is writable");
        self.workers[worker].rootless = false;
    }

    /// Removes its data.
    pub(crate) fn remove(mut self) {
        // Nothing depends on it any more.
        let _ = std::fs::remove_dir_all(self.said());
        self.roles.data.disable_cleanup(false);
    }
}

fn work_root(roles: &Roles, worker: usize) -> PathBuf {
    roles.data.path().join(format!("w{worker}"))
}

fn aside(root: &Path) -> PathBuf {
    root.with_extension("aside")
}

fn said(data: &Path) -> PathBuf {
    data.with_extension("said")
}

fn api(roles: &Roles, disk: &Disk, listen: &str) -> Command {
    let mut command = roles.command(&["api", "--json", "--listen", listen]);
    command.env("LOG_FORMAT", "json").envs(disk.environment());
    command.stdout(Stdio::null()).stderr(into_file(roles, "api"));
    command
}

fn worker(roles: &Roles, disk: &Disk, python: &Path, number: usize, start: usize) -> Command {
    let name = format!("w{number}");
    let mut command = roles.command(&["worker", "--reconcile-interval", "500ms", "--drain-timeout", "1s"]);
    command.arg("--worker-name").arg(&name).arg("--work-root").arg(work_root(roles, number));
    command.envs(disk.environment());
    command.env("WORKER_SLOTS", SLOTS).env("JOB_PYTHON", python).env("LOG_FORMAT", "json");
    command.env("INTERRUPT_GRACE", "500ms").env("TERMINATE_GRACE", "500ms");
    command.stdout(Stdio::null()).stderr(into_file(roles, &format!("{name}.{start}")));
    command
}

fn into_file(roles: &Roles, name: &str) -> Stdio {
    let file = File::options().create(true).append(true).open(said(roles.data.path()).join(name));
    file.expect("the data directory is writable").into()
}

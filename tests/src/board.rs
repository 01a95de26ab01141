//! `leadersboard` as a user runs it: the real binary, in directories of its own.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown, geteuid};
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tempfile::TempDir;

use crate::redis_server::connect;
use crate::roomy::ROOMY;
use crate::wait::until;

/// The path of the built `leadersboard`: the one that `LEADERSBOARD_BINARY` names, else the one beside the test's own
/// binary.
///
/// # Panics
/// If it was not built.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "which program is tested is an argument of the run")]
pub fn binary() -> PathBuf {
    if let Some(given) = std::env::var_os("LEADERSBOARD_BINARY") {
        return given.into();
    }
    let here = std::env::current_exe().expect("a test has a path");
    let found = here.ancestors().map(|folder| folder.join("leadersboard")).find(|file| file.is_file());
    found.expect("`cargo build -p leadersboard-cli` comes first: `make test` does it")
}

/// The root of the repository.
///
/// # Panics
/// Never: the tests are a folder of it.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the repository")
}

/// A running `leadersboard up` in a data directory of its own.
#[derive(Debug)]
pub struct Board {
    data: TempDir,
    options: Vec<(String, String)>,
    user: Option<u32>,
    process: Process,
    server: String,
}

/// The users of boards without privileges.
const USERS: Range<u32> = 12_345..57_145;

/// Two users of every board.
pub const ALICE: &str = "alice-token-0123456789";
/// The second user.
pub const BOB: &str = "bob-token-0123456789";
/// An admin.
pub const ROOT: &str = "root-token-0123456789";

impl Board {
    /// Starts one with the users of this module, roomy limits, and these environment variables beside or instead.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(options: &[(&str, &str)]) -> Self {
        Self::start_as(None, options).await
    }

    /// The same as a user who is nobody on this machine and owns nothing but the data directory.
    ///
    /// # Panics
    /// If it does not come up, or who runs the tests may not become another user.
    pub async fn start_unprivileged(options: &[(&str, &str)]) -> Self {
        assert!(geteuid().is_root(), "only root can start a worker as another user: run these tests as root");
        Self::start_as(Some(user_of_its_own()), options).await
    }

    async fn start_as(user: Option<u32>, options: &[(&str, &str)]) -> Self {
        let data = tempfile::Builder::new().prefix("lb-up-").tempdir().expect("a temporary directory");
        Self::start_in(data, user, options).await
    }

    /// The same with this data directory and as this user, if one is given.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_in(data: TempDir, user: Option<u32>, options: &[(&str, &str)]) -> Self {
        chown(data.path(), user.map(Uid::from_raw), user.map(Gid::from_raw)).expect("its owner may");
        let mut all = vec![
            ("DATASET_ROOT".to_owned(), gates(data.path()).display().to_string()),
            ("API_TOKENS".to_owned(), format!("alice:{ALICE},bob:{BOB}")),
            ("ADMIN_TOKENS".to_owned(), format!("root:{ROOT}")),
        ];
        all.extend(ROOMY.map(|(name, value)| (name.to_owned(), value.to_owned())));
        all.extend(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let (process, server) = up(data.path(), user, &all).await;
        Self { data, options: all, user, process, server }
    }

    /// Its address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The user that it runs as, where that is not who runs the tests.
    #[must_use]
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    /// A path that jobs see too, and can't write.
    #[must_use]
    pub fn gate(&self, name: &str) -> PathBuf {
        gates(self.data()).join(name)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// The address of its private Redis, password and all.
    ///
    /// # Panics
    /// If it left none.
    #[must_use]
    pub fn redis_url(&self) -> String {
        std::fs::read_to_string(self.data().join("redis.url")).expect("`up` leaves it").trim().to_owned()
    }

    /// A connection to its private Redis.
    pub async fn redis(&self) -> MultiplexedConnection {
        connect(&self.redis_url()).await
    }

    /// Runs `leadersboard` as the user whose token it left, and waits for its end.
    ///
    /// # Panics
    /// If the binary does not run.
    #[must_use]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Finished {
        let mut command = command(self.data());
        command.args(arguments).env("LEADERSBOARD_URL", &self.server).env("LEADERSBOARD_TOKEN", ALICE);
        Finished::of(command.output().expect("the binary runs"))
    }

    /// The same with the user and the settings of this board itself, as its operator.
    ///
    /// # Panics
    /// If the binary does not run.
    #[must_use]
    pub fn run_alike<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Finished {
        let mut command = as_user(command(self.data()), self.user);
        command.args(arguments).envs(self.options.iter().map(|(name, value)| (name, value)));
        Finished::of(command.output().expect("the binary runs"))
    }

    /// Kills it as a crash would, and starts it again on the same data.
    pub async fn crash_and_restart(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait();
        let (process, server) = up(self.data.path(), self.user, &self.options).await;
        self.process = process;
        self.server = server;
    }

    /// Ends it by SIGTERM and gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.process.signal(Signal::SIGTERM);
        self.process.wait()
    }

    /// Waits until it ends by itself, and gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.process.wait()
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data().join("up.stderr")).unwrap_or_default()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the board's log ---\n{}", self.log());
        }
        // The first asks for an orderly end, the second, a signal of its own so that none swallows it, for one at once.
        self.process.signal(Signal::SIGINT);
        self.process.signal(Signal::SIGTERM);
        // A test that failed may have left it stopped.
        self.process.signal(Signal::SIGCONT);
        self.process.wait();
        if let Some(user) = self.user {
            kill_all_of(user);
            // The locks of a user whom no other test has. There may be none.
            let _ = std::fs::remove_dir_all(format!("/run/lock/leadersboard-{user}"));
        }
    }
}

/// A user whom no other test of this machine has while this process lives: boards that run side by side have users of
/// their own, for those of one user take turns, and each test kills all that its user has.
fn user_of_its_own() -> u32 {
    static TAKEN: Mutex<Vec<Flock<File>>> = Mutex::new(Vec::new());
    let folder = Path::new("/run/lock/leadersboard-tests");
    std::fs::create_dir_all(folder).expect("root may");
    let take = |user: &u32| {
        let file = File::create(folder.join(user.to_string())).expect("root may");
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map(|lock| (*user, lock)).ok()
    };
    let (user, lock) = USERS.clone().find_map(|user| take(&user)).expect("a user that no test has");
    TAKEN.lock().expect("no test fails meanwhile").push(lock);
    // What a test left that was killed.
    kill_all_of(user);
    user
}

/// Kills all processes of a user that only one test has, at once: none of them can fork and get away.
///
/// # Panics
/// If that user is root.
pub fn kill_all_of(user: u32) {
    assert_ne!(user, 0, "root has more than the processes of a test");
    // A command that becomes that user can signal nobody else. It kills itself as well.
    let mut command = Command::new("/bin/sh");
    let _ = command.args(["-c", "kill -KILL -1"]).uid(user).gid(user).stderr(Stdio::null()).status();
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Finished {
    /// The ending of a process.
    #[must_use]
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its stdout as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a command in a process group of its own.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        Self(command.process_group(0).spawn().expect("the binary runs"))
    }

    /// Its id.
    ///
    /// # Panics
    /// Never: process ids fit.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("process ids fit"))
    }

    /// Sends it a signal; it may have ended.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.pid(), signal);
    }

    /// Waits for its end and gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.0.wait().ok().and_then(|status| status.code())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(Some(_)))
    }

    /// What is on its piped stderr, once it has ended.
    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = &mut self.0.stderr {
            // What can't be read was not said.
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }

    /// The first line on its piped stdout.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        if let Some(stdout) = &mut self.0.stdout {
            // An empty line says that there was none.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        line
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `leadersboard` with an environment of its own: nothing of the developer's settings leaks in.
#[must_use]
pub fn command(data: &Path) -> Command {
    with_own_environment(Command::new(binary()), data)
}

/// `leadersboard`, with such an environment, that the kernel ends with the thread that starts it.
#[must_use]
pub fn mortal_command(data: &Path) -> Command {
    // `setpriv` asks for that signal and becomes it.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(binary());
    with_own_environment(command, data)
}

fn with_own_environment(mut command: Command, data: &Path) -> Command {
    let kept: HashMap<_, _> = std::env::vars()
        .filter(|(name, _)| ["PATH", "HOME", "JOB_PYTHON", "TMPDIR", "LLVM_PROFILE_FILE"].contains(&name.as_str()))
        .collect();
    command.env_clear().envs(kept).env("DATA_DIR", data).env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    command
}

/// The folder of what jobs wait for, which they see as data.
///
/// # Panics
/// If it can't be made.
#[must_use]
pub fn gates(data: &Path) -> PathBuf {
    let folder = data.join("gates");
    std::fs::create_dir_all(&folder).expect("the data directory is writable");
    folder
}

fn as_user(mut command: Command, user: Option<u32>) -> Command {
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command
}

async fn up(data: &Path, user: Option<u32>, options: &[(String, String)]) -> (Process, String) {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(data.join("up.stderr"))
        .expect("the data directory is writable");
    let lock = data.join("lock");
    // The lock still names the process before this one.
    let _ = std::fs::remove_file(data.join("client.json"));
    let mut up = as_user(command(data), user);
    up.args(["up", "--listen", "127.0.0.1:0"])
        .envs(options.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(log);
    let mut process = Process::spawn(up);
    let server = until("`up` serves", Duration::from_mins(1), async || {
        assert!(
            !process.has_ended(),
            "`up` ended: {}",
            std::fs::read_to_string(data.join("up.stderr")).unwrap_or_default()
        );
        let held: Value = serde_json::from_slice(&std::fs::read(&lock).ok()?).ok()?;
        let address = held["address"].as_str()?;
        (held["pid"].as_u64() == Some(process.pid().as_raw().unsigned_abs().into())).then(|| address.to_owned())
    })
    .await;
    (process, server)
}

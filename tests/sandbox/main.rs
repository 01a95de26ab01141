//! Programs that attack the machine they run on, and programs that must work all the same, at both levels of
//! confinement.
//!
//! *Full* is what root has on a machine with namespaces: `make test`. *Floor* is what any user has anywhere, with the
//! oldest Landlock in use and no control group: `make test-faults`, whose binary can be told to do without the rest.
//! Some are tried at the floor of a worker that is root as well.
//!
//! A program of `programs` prints one line an attempt, `name: denied EPERM` or `name: DONE …`; its test says what may
//! stand there. Each is written so that without a sandbox it would succeed or show what it saw.

mod archives;
mod attempts;
mod bombs;
mod doctor;
mod endings;
mod kernel;
mod logs;
mod memory;
mod neighbour;
mod network;
mod reading;
mod results;
mod sharing;
mod workloads;
mod writing;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board, kill_all_of};
use leadersboard_tests::client::{Client, files};
use leadersboard_tests::invariants::{Expect, Folded, check};
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use projections::Keyspace;
use serde_json::{Value, json};

/// How long any job may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The interpreter of attacks: one that every user may run.
const PYTHON: &str = "/usr/bin/python3";

/// How far jobs are confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Full,
    Floor,
    /// The floor of a worker that is root: jobs have users of their own.
    FloorOfRoot,
}

impl Level {
    /// Starts a board that confines jobs so far.
    async fn board(self, options: &[(&str, &str)]) -> Board {
        assert!(geteuid().is_root(), "only root can have all of the sandbox, or become another user: run this as root");
        let mut all = vec![("JOB_PYTHON", PYTHON), ("WORKER_SLOTS", "2"), ("LEASE", "2s")];
        all.push(match self {
            Self::Full => ("SANDBOX", "strict"),
            Self::Floor | Self::FloorOfRoot => ("LEADERSBOARD_SANDBOX_FLOOR", "true"),
        });
        all.extend([("INTERRUPT_GRACE", "100ms"), ("TERMINATE_GRACE", "100ms")]);
        all.extend(options);
        match self {
            Self::Full => Board::start(&all).await,
            Self::Floor => Board::start_unprivileged(&all).await,
            Self::FloorOfRoot => {
                let board = Board::start(&all).await;
                // The gates lie in it, and nobody binds them for a job.
                std::fs::set_permissions(board.data(), Permissions::from_mode(0o711)).expect("it is the test's");
                board
            }
        }
    }

    /// What holds at this level.
    fn pick<T>(self, full: T, floor: T) -> T {
        match self {
            Self::Full => full,
            Self::Floor | Self::FloorOfRoot => floor,
        }
    }
}

/// A board under attack, and its attacker.
struct Site {
    board: Board,
    alice: Client,
}

impl Site {
    async fn new(level: Level, options: &[(&str, &str)]) -> Self {
        let board = level.board(options).await;
        let alice = Client::new(board.server(), ALICE);
        Self { board, alice }
    }

    /// Has Alice submit a program of `programs`, with what it is to try.
    async fn submit(&self, program: &str, targets: &Value) -> String {
        self.submit_to("small", program, targets).await
    }

    async fn submit_to(&self, class: &str, program: &str, targets: &Value) -> String {
        let program = format!("{}\n\n{program}", include_str!("programs/prelude.py"));
        let form = files(&[("main.py", &program), ("config.yaml", &targets.to_string())]);
        let answer = self.alice.upload(form).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let submission = answer.body["submission_id"].as_str().expect("an id");
        self.alice.enqueue(submission, json!({ "resource_class": class })).await
    }

    /// Waits for a job's end, whatever it is, and gives all of the job.
    async fn ended(&self, job: &str) -> Value {
        until(&format!("job {job} ends"), PATIENCE, async || {
            let shown = self.alice.get(&format!("/jobs/{job}")).await.body;
            ["completed", "failed", "cancelled"].contains(&shown["status"].as_str()?).then_some(shown)
        })
        .await
    }

    /// Waits for a failure of this kind.
    async fn failed(&self, job: &str, kind: &str) -> Value {
        let shown = self.ended(job).await;
        assert_eq!(shown["failure"]["kind"], kind, "{shown:#}\n{}", self.log(job).await);
        shown
    }

    async fn completed(&self, job: &str) -> Value {
        let shown = self.ended(job).await;
        assert_eq!(shown["status"], "completed", "{shown:#}\n{}", self.log(job).await);
        shown
    }

    async fn log(&self, job: &str) -> String {
        let answer = self.alice.get(&format!("/jobs/{job}/logs")).await;
        answer.body["logs"].as_str().unwrap_or_else(|| panic!("no log: {answer:?}")).to_owned()
    }

    /// Waits until a job has printed that it has begun.
    async fn begun(&self, job: &str) {
        until("it has begun", PATIENCE, async || self.log(job).await.contains("begun").then_some(())).await;
    }

    async fn cancel(&self, job: &str) {
        let answer = self.alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// The worker lives and works, nothing of any job is left, and every job took one attempt.
    async fn unharmed(&self) -> Folded {
        let job = self.submit("complete(done=1)\n", &json!({})).await;
        self.completed(&job).await;
        let work = self.board.data().join("work");
        until_equal("folders of runs", PATIENCE, Vec::<String>::new(), async || run_folders(&work)).await;
        let folded = check(&self.board.redis_url(), &Keyspace::default(), Expect::AllEnded).await;
        let again = folded.jobs.values().filter(|job| job.attempt() > 1);
        assert_eq!(again.map(|job| job.id.to_string()).collect::<Vec<_>>(), Vec::<String>::new(), "tried again");
        folded
    }
}

/// The folders of runs below a work root.
fn run_folders(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path());
    folders.flat_map(|path| if is_run(&path) { vec![path.display().to_string()] } else { run_folders(&path) }).collect()
}

/// The folder of a job's run below a work root, which is named after the end of its id.
fn run_folder(work: &Path, job: &str) -> Option<PathBuf> {
    let name = &job[job.len() - 12..];
    let runs = run_folders(work).into_iter().map(PathBuf::from);
    runs.into_iter().find(|path| path.file_name().is_some_and(|found| found.to_string_lossy().starts_with(name)))
}

fn is_run(folder: &Path) -> bool {
    ["work", "output", "home"].iter().all(|part| folder.join(part).is_dir())
}

/// A word of this test alone: what another left on the machine is not its concern.
fn token(name: &str) -> String {
    format!("leadersboard-{name}-{}-", std::process::id())
}

/// Kills what has a token on its command line when a test ends, however it ends: a job that hides would run for ever.
struct Killed(String);

impl Drop for Killed {
    fn drop(&mut self) {
        for _ in 0..100 {
            let left = found_with(&self.0);
            if left.is_empty() {
                return;
            }
            for process in left {
                let user = std::fs::metadata(&process).map_or(0, |found| std::os::unix::fs::MetadataExt::uid(&found));
                if user == 0 {
                    let pid = process.file_name().and_then(|name| name.to_str()?.parse().ok());
                    // It may have ended.
                    let _ = pid.map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
                } else {
                    kill_all_of(user);
                }
            }
        }
    }
}

/// How many processes have this text on their command line, as any of their threads tells it.
fn processes_with(text: &str) -> usize {
    found_with(text).len()
}

/// The folders of these in `/proc`.
fn found_with(text: &str) -> Vec<PathBuf> {
    let has_it = |thread: &Path| {
        std::fs::read(thread.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    };
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let threads = |process: &PathBuf| std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    processes.filter(|process| threads(process).any(|thread| has_it(&thread.path()))).collect()
}

/// One test of each for the level that this build tests.
macro_rules! tests {
    ($($name:ident),+ $(,)? $(; at_the_floor_of_root: $($of_root:ident),+ $(,)?)?) => {
        #[cfg(not(feature = "faults"))]
        mod full {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::Level::Full).await;
            })+
        }

        #[cfg(feature = "faults")]
        mod floor {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::Level::Floor).await;
            })+
        }

        $(#[cfg(feature = "faults")]
        mod floor_of_root {
            $(#[tokio::test]
            async fn $of_root() {
                super::$of_root($crate::Level::FloorOfRoot).await;
            })+
        })?
    };
}
use tests;

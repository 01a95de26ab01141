//! Processes that a run left: found by the mark that every process of a run bears.
//!
//! With `SANDBOX=off` a job can drop its mark, so the variable that tells the same is looked at too.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::confinement::supervise::mark::Mark;
use crate::machine::procfs;
use crate::machine::procfs::Stat;

/// The variable that marks every process of a run. Its value begins with the worker's name.
pub(crate) const MARKER: &str = "LEADERSBOARD_RUN";

const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
/// How many walks in a row must find nothing: a process that forks and ends, again and again, has another number each
/// time, and numbers begin anew at the lowest.
const CALM_WALKS: u32 = 2;

/// Kills every process whose marker is `marker`, or begins with it if it ends with a slash, and waits until none is
/// left, for at most five seconds.
///
/// Gives the ids of those that would not die.
pub(crate) async fn kill_marked(marker: &str) -> Vec<i32> {
    let deadline = Instant::now() + PATIENCE;
    let (mut calm, mut dead) = (0, BTreeSet::new());
    loop {
        let text = marker.to_owned();
        let Walk { killed, complete, dead: dead_now } =
            spawn_blocking(move || Walk::over(&text)).await.unwrap_or_default();
        // One that died since the last walk may have left a child that began behind this one's back.
        let is_calm = killed.is_empty() && complete && dead_now.is_subset(&dead);
        (calm, dead) = (if is_calm { calm + 1 } else { 0 }, dead_now);
        if calm == CALM_WALKS || Instant::now() > deadline {
            return killed;
        }
        sleep(POLL).await;
    }
}

/// One walk over all processes.
#[derive(Debug, Default)]
struct Walk {
    killed: Vec<i32>,
    /// Whether no process ended before it could be looked at: its child may have been passed over.
    complete: bool,
    /// Those that bear the mark, have ended, and were not waited for yet.
    dead: BTreeSet<i32>,
}

impl Walk {
    /// Kills each process that bears this marker, as soon as it is seen.
    fn over(marker: &str) -> Self {
        let mark = Mark::of(marker);
        let variable = format!("{MARKER}={marker}");
        let is_ours = |entry: &[u8]| {
            if marker.ends_with('/') { entry.starts_with(variable.as_bytes()) } else { entry == variable.as_bytes() }
        };
        let mut walk = Self { killed: vec![], complete: true, dead: BTreeSet::new() };
        for pid in procfs::pids() {
            match mark.is_on(pid) {
                Ok(false) if !environment(pid).split(|byte| *byte == 0).any(is_ours) => {}
                // A dead process that nobody has waited for yet bears its mark still.
                Ok(_) if Stat::of(pid).is_ok_and(|stat| !stat.is_alive()) => {
                    walk.dead.insert(pid);
                }
                Ok(_) => {
                    // It may have ended since it was seen.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    walk.killed.push(pid);
                }
                Err(error) if procfs::has_ended(&error) => walk.complete = false,
                Err(error) => tracing::debug!(pid, %error, "a process can't be looked at"),
            }
        }
        walk
    }
}

/// The environment of a process: empty if it can't be read, as another user's, or that of a zombie.
fn environment(pid: i32) -> Vec<u8> {
    fs::read(procfs::root(pid).join("environ")).unwrap_or_default()
}

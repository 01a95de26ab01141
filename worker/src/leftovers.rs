//! Processes that a run left: found by the marker that every process of a run has in its environment.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// The variable that marks every process of a run. Its value begins with the worker's name.
pub(crate) const MARKER: &str = "LEADERSBOARD_RUN";

const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// Kills every process whose marker begins with `prefix`, and waits until none is left, for at most five seconds.
///
/// Gives the ids of those that would not die.
pub(crate) async fn kill_marked(prefix: &str) -> Vec<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = marked(prefix);
        if left.is_empty() || Instant::now() > deadline {
            return left.into_iter().map(Pid::as_raw).collect();
        }
        for pid in left {
            // It may have ended since it was seen.
            let _ = kill(pid, Signal::SIGKILL);
        }
        sleep(POLL).await;
    }
}

fn marked(prefix: &str) -> Vec<Pid> {
    let wanted = format!("{MARKER}={prefix}");
    let Ok(processes) = fs::read_dir("/proc") else { return vec![] };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // What can't be read is another user's or has ended; a zombie's environment is empty.
    let is_marked = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry.starts_with(wanted.as_bytes())))
    };
    pids.filter(is_marked).map(Pid::from_raw).collect()
}

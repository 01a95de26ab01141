//! Processes of a job whose supervisor is gone before them.
//!
//! Where a job is the worker's user and has no namespaces it may kill its supervisor. What it started then becomes the
//! worker's own child, whatever it calls itself: a child under more seccomp filters than the worker is a job's, for
//! supervisors have none of their own.

use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::machine::process_snapshot::ProcessSnapshot;
use crate::machine::procfs;

const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// From now on orphans of this process's descendants are its children.
pub(crate) fn adopt() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Kills them with all below them, and waits until none is left, for at most five seconds. Gives those that are.
pub(crate) async fn kill_orphans() -> Vec<i32> {
    let deadline = Instant::now() + PATIENCE;
    let mut killed: Vec<Pid> = Vec::new();
    loop {
        let orphans = spawn_blocking(orphans).await.unwrap_or_default();
        for (orphan, tree) in &orphans {
            for pid in tree {
                // It may have ended since it was seen.
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            killed.push(Pid::from_raw(*orphan));
        }
        // Nobody else waits for them.
        killed.retain(|pid| matches!(waitpid(*pid, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_none()));
        if (orphans.is_empty() && killed.is_empty()) || Instant::now() > deadline {
            return orphans.into_iter().map(|(orphan, _)| orphan).collect();
        }
        sleep(POLL).await;
    }
}

/// Each orphan with itself and all below it.
fn orphans() -> Vec<(i32, Vec<i32>)> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let (snapshot, Some(filters)) = (ProcessSnapshot::take(), filters_of(own)) else { return vec![] };
    let children = snapshot.children(own).into_iter();
    let is_orphan = |pid: &i32| filters_of(*pid).is_some_and(|more| more > filters);
    children.filter(is_orphan).map(|pid| (pid, snapshot.tree(pid))).collect()
}

/// How many seccomp filters a process is under. (proc(5), since Linux 5.9)
fn filters_of(pid: i32) -> Option<u64> {
    procfs::number(&procfs::root(pid).join("status"), "Seccomp_filters:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ordinary_child_is_none() {
        let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        assert_eq!(kill_orphans().await, Vec::<i32>::new());
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

//! What a supervisor has below it, and how all of it is reached by signals.

use std::collections::HashMap;
use std::fs;
use std::io;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use crate::confinement::floor::privileges;
use crate::confinement::floor::privileges::Identity;
use crate::confinement::floor::system_calls::{Forked, fork_single_threaded};
use crate::confinement::{Isolation, Spec};
use crate::machine::procfs;
use crate::machine::procfs::Stat;

/// How many walks look for processes that were not stopped yet, before those that were are killed.
const WALKS: usize = 16;
/// How often the supervisor's own children are killed after that.
const CHASES: usize = 500;
/// Everybody that the caller may signal, itself apart. (kill(2))
const ALL: Pid = Pid::from_raw(-1);

/// How a supervisor reaches all that is below it. The kernel knows two groups that nothing leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descendants {
    /// All processes of its namespace, of which it is the first.
    Namespace,
    /// All processes of this user, who is the run's own.
    User(Identity),
    /// Those that `/proc` shows below it.
    Tree,
}

impl Descendants {
    /// Those of a supervisor of this program.
    pub(crate) fn of(spec: &Spec) -> Self {
        match (&spec.isolation, spec.identity) {
            (Isolation::Full(_), _) if getpid().as_raw() == 1 => Self::Namespace,
            (Isolation::Floor(_), Some(identity)) => Self::User(identity),
            _ => Self::Tree,
        }
    }

    /// Sends a signal to each.
    pub(crate) fn signal(self, signal: Signal) {
        // Where nobody is left, or one has ended since it was seen, there is nothing to be done about it.
        let everybody = || {
            let _ = kill(ALL, signal);
        };
        match self {
            Self::Namespace => everybody(),
            Self::User(identity) if as_user(identity, everybody).is_ok() => {}
            Self::User(_) | Self::Tree => {
                for pid in tree() {
                    let _ = kill(pid, signal);
                }
            }
        }
    }

    /// Kills each. To be repeated until no child is left: what forks meanwhile may be missed.
    pub(crate) fn kill(self) {
        match self {
            Self::Namespace | Self::User(_) => self.signal(Signal::SIGKILL),
            Self::Tree => kill_tree(),
        }
    }
}

/// Does something in a process of this user, and waits for it.
fn as_user(identity: Identity, act: impl FnOnce()) -> io::Result<()> {
    match fork_single_threaded()? {
        Forked::Child => {
            let became = privileges::drop_to(Some(identity));
            if became.is_ok() {
                act();
            }
            std::process::exit(i32::from(became.is_err()));
        }
        Forked::Parent(child) => loop {
            match waitpid(child, Some(WaitPidFlag::WUNTRACED)) {
                // The user's own processes may stop or kill it: it is tried again.
                Ok(WaitStatus::Stopped(..)) => kill(child, Signal::SIGKILL)?,
                Ok(WaitStatus::Exited(_, 0) | WaitStatus::Signaled(..)) => return Ok(()),
                Ok(WaitStatus::Exited(..)) => return Err(io::ErrorKind::PermissionDenied.into()),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        },
    }
}

/// Kills what `/proc` shows below this process. All are stopped first, so that none forks during the search.
fn kill_tree() {
    let mut stopped = Vec::new();
    for _ in 0..WALKS {
        let new: Vec<Pid> = tree().into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            let _ = kill(pid, Signal::SIGSTOP);
            stopped.push(pid);
        }
    }
    for pid in stopped {
        let _ = kill(pid, Signal::SIGKILL);
    }
    // A process that forks and ends, again and again, is gone before a walk comes to it. Each time its child becomes
    // this process's own, and the list of those is short.
    for _ in 0..CHASES {
        let children = own_children();
        if children.is_empty() {
            break;
        }
        for pid in children {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// The children of this process, which has one thread. Empty if the kernel does not list them.
fn own_children() -> Vec<Pid> {
    let listed = fs::read("/proc/thread-self/children").unwrap_or_default();
    let ids = listed.split(|byte| *byte == b' ').filter_map(|id| str::from_utf8(id).ok()?.parse().ok());
    ids.map(Pid::from_raw).collect()
}

/// Every process below this one that lives. One whose parent dies becomes this one's own child, so none leaves.
fn tree() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in procfs::pids() {
        // What can't be read is seen once it is this process's own child.
        if let Ok(stat) = Stat::of(pid)
            && stat.is_alive()
        {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![getpid().as_raw()];
    while let Some(pid) = next.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(below.iter().copied().map(Pid::from_raw));
        next.extend(below);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found() {
        let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        let id = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert!(tree().contains(&id));
        assert!(own_children().contains(&id));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

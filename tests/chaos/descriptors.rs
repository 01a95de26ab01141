//! Processes that have no descriptor left.

use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};

/// A process whose limit of open files is what it has open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limited {
    pid: Pid,
    before: Rlimit,
}

impl Limited {
    /// Limits a process to what it has open now. Nothing if it has gone.
    pub(crate) fn now(pid: Pid) -> Option<Self> {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        let before = rustix::process::getrlimit(Resource::Nofile);
        let at_most = Rlimit { current: Some(open), maximum: before.maximum };
        let before = prlimit(rustix_pid(pid), Resource::Nofile, at_most).ok()?;
        Some(Self { pid, before })
    }

    /// Gives the limit back, if the process is still there.
    pub(crate) fn free(self) {
        let _ = prlimit(rustix_pid(self.pid), Resource::Nofile, self.before);
    }
}

fn rustix_pid(pid: Pid) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(pid.as_raw())
}

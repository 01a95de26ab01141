//! The mark of a run: a limit that the kernel keeps for each of its processes, and that bounds nothing.
//!
//! Linux has not looked at `RLIMIT_LOCKS` since 2.4.25, and still hands it on by `fork` and `exec`. Only a privileged
//! process can raise it, `seccomp` lets no job set it, and `/proc/<pid>/limits` shows it of every process. So a process
//! bears the mark of its run whatever it calls itself and whatever its environment holds.

use std::fs;
use std::io;

use sha2::{Digest, Sha256};

use crate::machine::procfs;

/// The mark of a run, or what the marks of all runs of a worker have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    worker: u32,
    run: Option<u32>,
}

impl Mark {
    /// The mark for this text: `<worker>/<run>`, or `<worker>/` for all runs of a worker.
    pub(crate) fn of(text: &str) -> Self {
        let (worker, run) = text.split_once('/').unwrap_or((text, "-"));
        Self { worker: digest(worker), run: (!run.is_empty()).then(|| digest(run)) }
    }

    /// The limit that marks a process.
    pub(crate) fn limit(self) -> u64 {
        u64::from(self.worker) << 32 | u64::from(self.run.unwrap_or(0))
    }

    /// Whether a process bears it.
    ///
    /// # Errors
    /// If the process can't be read.
    pub(crate) fn is_on(self, pid: i32) -> io::Result<bool> {
        let limits = fs::read(procfs::root(pid).join("limits"))?;
        Ok(limit_in(&limits).is_some_and(|limit| self.covers(limit)))
    }

    fn covers(self, limit: u64) -> bool {
        let worker = u32::try_from(limit >> 32).ok();
        worker == Some(self.worker) && (self.run.is_none() || limit == self.limit())
    }
}

fn digest(text: &str) -> u32 {
    let hash = Sha256::digest(text);
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// The limit of locks in a file `limits`: both parts of it are the same number. (`proc_pid_limits(5)`)
fn limit_in(limits: &[u8]) -> Option<u64> {
    let line = limits.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Max file locks"))?;
    let mut fields = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (soft, hard) = (fields.next()?, fields.next()?);
    if soft == hard { soft.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_covers_its_run_and_that_of_a_worker_all_runs_of_it() {
        let mark = Mark::of("w-1/job-1");
        assert!(mark.covers(mark.limit()) && Mark::of("w-1/").covers(mark.limit()));
        for other in ["w-1/job-2", "w-2/job-1", "w-2/", "w-1"] {
            assert!(!Mark::of(other).covers(mark.limit()), "{other}");
        }
    }

    #[test]
    fn only_a_number_is_a_limit() {
        let file = |soft: &str, hard: &str| format!("Limit  Soft\nMax file locks   {soft}   {hard}   locks \n");
        assert_eq!(limit_in(file("17", "17").as_bytes()), Some(17));
        for (soft, hard) in [("unlimited", "unlimited"), ("17", "unlimited"), ("17", "18")] {
            assert_eq!(limit_in(file(soft, hard).as_bytes()), None);
        }
        assert_eq!(limit_in(b""), None);
        assert!(!Mark::of("w-1/").is_on(i32::try_from(std::process::id()).unwrap()).unwrap());
    }
}

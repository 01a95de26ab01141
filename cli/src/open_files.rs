//! The file descriptors of this process: as many as it may have, shared out between clients and all else.

use api::Connections;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::memory;

/// More than this is of no use, and some programs count through all that they may have.
const ENOUGH: u64 = 1 << 20;
/// What Redis, the listener, files of the platform and whatever begins take.
const RESERVE: u64 = 160;
/// What one slot of a worker takes: the streams of a program, and the files that are on their way to the disk at once.
const PER_SLOT: u64 = 160;
/// What one connection takes: itself, and the file that it reads or writes.
const PER_CONNECTION: u64 = 2;
/// Each connection takes memory, too: at most so much until its request is complete.
const CONNECTION_BYTES: u64 = 64 << 10;
const MOST_CONNECTIONS: u64 = 10_000;
/// With fewer connections a few browsers keep each other out.
const FEW_CONNECTIONS: u64 = 64;

/// How many files this process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenFiles(u64);

impl OpenFiles {
    /// Raises the soft limit to the hard one. Jobs have a limit of their own, which this does not change.
    pub(crate) fn raise() -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Self(1024) };
        let wanted = hard.min(ENOUGH).max(soft);
        match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
            Ok(()) => Self(wanted),
            Err(error) => {
                tracing::warn!(%error, soft, hard, "the limit of open files can't be raised");
                Self(soft)
            }
        }
    }

    /// How many clients may be connected to a process that also runs so many jobs at once.
    pub(crate) fn connections(self, slots: usize) -> Connections {
        self.warn_if_few(slots);
        let most = self.count(slots).min(most_by_memory(memory::total_bytes()));
        Connections::at_most(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// Warns if the rest of the process takes nearly all.
    pub(crate) fn warn_if_few(self, slots: usize) {
        let needed = needed(slots) + FEW_CONNECTIONS * PER_CONNECTION;
        if self.0 < needed {
            let limit = self.0;
            tracing::warn!(
                limit,
                needed,
                slots,
                "this process may open few files: raise its hard limit (`ulimit -Hn`, or LimitNOFILE= of its unit), or \
                 lower WORKER_SLOTS"
            );
        }
    }

    fn count(self, slots: usize) -> u64 {
        (self.0.saturating_sub(needed(slots)) / PER_CONNECTION).clamp(FEW_CONNECTIONS / 4, MOST_CONNECTIONS)
    }
}

/// All connections together take at most a quarter of the memory, even if each sends the head of a request up to its limit.
fn most_by_memory(total_bytes: Option<u64>) -> u64 {
    total_bytes.map_or(MOST_CONNECTIONS, |bytes| (bytes / 4 / CONNECTION_BYTES).max(FEW_CONNECTIONS))
}

fn needed(slots: usize) -> u64 {
    RESERVE + PER_SLOT * slots as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_enough_for_all_else() {
        for (limit, slots, connections) in
            [(1024, 0, 432), (1024, 1, 352), (1024, 8, 16), (20_000, 4, 9_600), (1 << 20, 8, 10_000)]
        {
            assert_eq!(OpenFiles(limit).count(slots), connections, "{limit} files, {slots} slots");
        }
    }

    #[test]
    fn connections_take_a_quarter_of_the_memory_at_most() {
        for (total, connections) in [(Some(1 << 20), 64), (Some(512 << 20), 2_048), (None, 10_000)] {
            assert_eq!(most_by_memory(total), connections);
        }
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
        let OpenFiles(limit) = OpenFiles::raise();
        assert_eq!(limit, hard.min(ENOUGH));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (limit, hard));
    }
}

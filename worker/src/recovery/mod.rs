//! Clears up what dead worker processes left under the same work root. Each process has a directory of its own there.

pub(crate) mod crash_recovery;
pub(crate) mod leave;
pub(crate) mod leftovers;
pub(crate) mod orphans;
pub(crate) mod worker_directory;

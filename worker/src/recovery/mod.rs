//! What earlier processes under the same work root left behind, and the directory that tells whose is whose.

pub(crate) mod crash_recovery;
pub(crate) mod leave;
pub(crate) mod leftovers;
pub(crate) mod orphans;
pub(crate) mod worker_directory;

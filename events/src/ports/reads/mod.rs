//! What is read: the projections of the log, pages of them, boards.

pub(crate) mod job_status;
pub(crate) mod leaderboard;
pub(crate) mod page;
pub(crate) mod records;

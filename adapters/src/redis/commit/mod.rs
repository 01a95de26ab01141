//! The one write path: commits as the script reads them, grouped, and how far this process has seen the log.

pub(crate) mod committer;
pub(crate) mod position;
pub(crate) mod regress;
pub(crate) mod wire;

//! Carries commands out: loads an aggregate, decides, commits, and tries again after a conflict.

mod job;
mod policy;
mod submission;
mod tries;

pub use job::{JobExecutor, dispatch_held, job};
pub use policy::policy;
pub use submission::submission;
pub use tries::{ExecuteError, MAX_TRIES, Origin};

//! The adapters: the only code that names Redis, and the implementations of the domain's ports.
#![expect(clippy::disallowed_methods, reason = "this is where the operating system's clock and chance come in")]

pub mod artifact_files;
pub mod copy;
pub mod faults;
pub mod ids;
pub mod log_files;
pub mod mlflow;
pub mod object;
pub mod oidc;
pub mod redis;
mod removal;
pub mod storage;

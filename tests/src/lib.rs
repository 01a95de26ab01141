//! The harness of the integration tests and benchmarks: real processes, on free ports and in directories of their own,
//! that are gone when the test is.

pub mod age;
pub mod board;
mod checks;
pub mod client;
pub mod finished;
pub mod preload;
pub mod processes;
pub mod programs;
pub mod roles;
pub mod roomy;
mod servers;
pub mod sse;
pub mod tracked;
pub mod wait;

pub use checks::{invariants, read_back};
pub use servers::{certificate, http_faults, mlflow, oidc, proxy, redis_server, s3};

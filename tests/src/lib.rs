//! The harness of the integration tests and benchmarks: real processes, on free ports and in directories of their own,
//! that are gone when the test is.

pub mod age;
pub mod board;
pub mod certificate;
pub mod client;
pub mod finished;
pub mod http_faults;
pub mod invariants;
pub mod mlflow;
pub mod preload;
pub mod processes;
pub mod programs;
pub mod proxy;
pub mod read_back;
pub mod redis_server;
pub mod roles;
pub mod roomy;
mod slots;
pub mod sse;
pub mod tracked;
pub mod wait;

//! MLflow's REST interface: requests, answers, and what a failure means.

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod wire;

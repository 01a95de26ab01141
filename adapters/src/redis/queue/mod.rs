//! The work streams: tickets, claims, leases, and the workers that hold them.

pub(crate) mod job_queue;
pub(crate) mod reader;
pub(crate) mod workers;

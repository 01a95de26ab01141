//! Tickets, leases, workers, and work state that is put right.

pub(crate) mod dead_letters;
pub(crate) mod durations;
pub(crate) mod job_queue;
pub(crate) mod permits;
pub(crate) mod work_state;
pub(crate) mod workers;

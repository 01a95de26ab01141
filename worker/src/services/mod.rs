//! What a worker does beside its jobs: tasks that run from its start to its end.

pub(crate) mod clock_guard;
pub(crate) mod dispatcher;
pub(crate) mod expirer;
pub(crate) mod fitness;
pub(crate) mod leader_lease;
pub(crate) mod nudges;
pub(crate) mod presence;
pub(crate) mod reaper;
pub(crate) mod reconciler;
pub(crate) mod self_test;

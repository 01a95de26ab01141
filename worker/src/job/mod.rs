//! One job, from its ticket to its recorded end. `life` takes the steps in their order; the other files have the steps
//! and what they share.

pub(crate) mod artifacts;
pub(crate) mod claim;
pub(crate) mod execute;
pub(crate) mod heartbeat;
pub(crate) mod interrupt;
pub(crate) mod judge;
pub(crate) mod life;
pub(crate) mod outcome;
pub(crate) mod prepare;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod stage;
pub(crate) mod stage_watchdog;
pub(crate) mod start;

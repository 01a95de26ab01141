//! The slot that a job gives back: the next held job of its user gets it, in the same commit. Pure.

use crate::guard::{Guard, WorkChange};
use crate::job::event::JobEvent;
use crate::job::state::Job;
use crate::policy::Limits;
use crate::quota::Usage;

/// What follows when a job gives its slot back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Handover {
    /// The held job that gets it, and what happens to that one.
    pub(crate) next: Option<(Job, JobEvent)>,
    /// What this depends on. If one of them does not hold, the slot is given back alone.
    pub(crate) guards: Vec<Guard>,
    /// What it does to the work streams.
    pub(crate) work: Vec<WorkChange>,
}

/// Returns whether a change of a job gives its slot back.
pub(crate) fn frees_slot(before: Option<&Job>, after: Option<&Job>) -> bool {
    before.is_some_and(Job::holds_slot) && !after.is_some_and(Job::holds_slot)
}

/// Decides who gets the slot that `job` gives back. `usage` and the next held job were read while `job` had the slot.
pub(crate) fn hand_over(job: &Job, usage: &Usage, next_held: Option<&Job>, limits: &Limits) -> Handover {
    let user = &job.spec.user;
    // The slot that is given back still counts when guards are checked.
    let with_own = limits.running.saturating_add(1);
    if usage.active >= with_own {
        // A lowered limit leaves more slots in use than there are: no job gets this one.
        let guards = vec![Guard::SlotsFull { user: user.clone(), limit: with_own }];
        return Handover { next: None, guards, work: vec![] };
    }
    let Some(held) = next_held else {
        // A job that is held from now on would not be seen here.
        return Handover { next: None, guards: vec![Guard::NoneHeld(user.clone())], work: vec![] };
    };
    let guards = vec![
        Guard::JobAt { job: held.id, version: held.version },
        Guard::SlotsBelow { user: user.clone(), limit: with_own },
    ];
    let work = vec![WorkChange::AddTicket { class: held.spec.class.clone(), job: held.id }];
    Handover { next: Some((held.clone(), JobEvent::Dispatched {})), guards, work }
}

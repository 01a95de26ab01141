//! The slot that a job gives back: the next held job of its user's gets it, in the same commit. Pure.

use crate::commit::{Guard, WorkChange};
use crate::job::{Job, JobEvent};
use crate::policy::Limits;
use crate::quota::Usage;

/// What follows from a slot that is given back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Handover {
    /// The held job that gets it, and what happens to that one.
    pub(crate) next: Option<(Box<Job>, JobEvent)>,
    /// What this depends on. Where one of them does not hold, the slot is given back alone.
    pub(crate) guards: Vec<Guard>,
    /// What it does to the work streams.
    pub(crate) work: Vec<WorkChange>,
}

/// Whether a change of a job gives its slot back.
pub(crate) fn frees_slot(before: Option<&Job>, after: Option<&Job>) -> bool {
    before.is_some_and(Job::holds_slot) && !after.is_some_and(Job::holds_slot)
}

/// Who gets the slot that `job` gives back. `usage` was read before it did.
pub(crate) fn hand_over(job: &Job, usage: &Usage, limits: &Limits) -> Handover {
    let user = &job.spec.user;
    // The slot that is given back still counts when guards are checked.
    let with_own = limits.running.saturating_add(1);
    if usage.active >= with_own {
        // A limit that was lowered leaves more in use than there are: nobody gets this one.
        let guards = vec![Guard::SlotsFull { user: user.clone(), limit: with_own }];
        return Handover { next: None, guards, work: vec![] };
    }
    let Some(held) = &usage.next_held else {
        // Whoever is held from now on would not be seen here.
        return Handover { next: None, guards: vec![Guard::NoneHeld(user.clone())], work: vec![] };
    };
    let guards = vec![
        Guard::JobAt { job: held.id, version: held.version },
        Guard::SlotsBelow { user: user.clone(), limit: with_own },
    ];
    let work = vec![WorkChange::AddTicket { class: held.spec.class.clone(), job: held.id }];
    Handover { next: Some((held.clone(), JobEvent::Dispatched {})), guards, work }
}

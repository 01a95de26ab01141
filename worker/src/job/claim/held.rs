//! The tickets that this process is busy with, each of them once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::Ticket;
use events::ports::Claim;

/// The tickets this process is busy with. A reader that reconnects hands them out again, and so does a Redis that came
/// back without their claims: those are tried again once this process is done with them.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Tally>>);

#[derive(Default)]
struct Tally {
    /// Each ticket, and its claim if it was handed out again meanwhile.
    busy: HashMap<Ticket, Option<Claim>>,
    /// Claims that were handed out again of tickets that this process is done with.
    again: Vec<Claim>,
}

/// A ticket this process is busy with until this is dropped.
pub(crate) struct HeldClaim {
    pub(crate) claim: Claim,
    held: Held,
}

impl Held {
    /// Takes a ticket up, unless it is held already.
    pub(crate) fn hold(&self, claim: Claim) -> Option<HeldClaim> {
        let mut tally = self.tally();
        if let Some(again) = tally.busy.get_mut(&claim.ticket) {
            *again = Some(claim);
            return None;
        }
        tally.busy.insert(claim.ticket.clone(), None);
        Some(HeldClaim { claim, held: self.clone() })
    }

    /// The claims to try again.
    pub(crate) fn take_handed_out_again(&self) -> Vec<Claim> {
        std::mem::take(&mut self.tally().again)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        let mut tally = self.held.tally();
        let again = tally.busy.remove(&self.claim.ticket).flatten();
        tally.again.extend(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_held_once_until_it_is_let_go() {
        let claim = Claim {
            ticket: Ticket { class: "small".parse().unwrap(), id: events::StreamId { ms: 1, seq: 0 } },
            job: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap(),
        };
        let held = Held::default();
        let first = held.hold(claim.clone());
        assert!(first.is_some());
        assert!(held.hold(claim.clone()).is_none());
        assert_eq!(held.take_handed_out_again(), vec![], "it is still held");
        drop(first);
        assert_eq!(held.take_handed_out_again(), vec![claim.clone()]);
        drop(held.hold(claim));
        assert_eq!(held.take_handed_out_again(), vec![]);
    }
}

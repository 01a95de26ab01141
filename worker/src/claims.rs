//! The loop: take free slots and GPUs, claim as many tickets, run each in a task that owns its own; at the end, drain.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::ports::{Claim, Permits, PortError, TicketReader};
use events::{ClassName, Ticket, seeded_bug};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::Instrument;

use crate::gpu::{GpuLease, Offer};
use crate::outage::Outage;
use crate::sandbox::Turn;
use crate::session::{Session, Settled};
use crate::start::{Answer, start};
use crate::{observe, pipeline};

/// How long a claim waits for a ticket; also the most by which an idle worker's end is delayed.
const CLAIM_WAIT: Duration = Duration::from_millis(500);
/// How long it waits where a class has too few free GPUs for a job: they may be free at any moment.
const SHORT_WAIT: Duration = Duration::from_millis(100);
/// How long a claim under way may still take once the worker is to stop.
const LAST_CLAIM_PATIENCE: Duration = Duration::from_secs(2);

/// Claims and runs until the worker is to stop, then waits for what is under way.
pub(crate) async fn run(session: &Arc<Session>, inherited: Vec<Claim>) -> Settled {
    let slots = Arc::new(Semaphore::new(session.config.slots));
    let held = Held::default();
    // Claimed, and not begun yet for want of a slot or of GPUs.
    let mut waiting: VecDeque<HeldClaim> = inherited.into_iter().filter_map(|claim| held.hold(claim)).collect();
    let mut tickets = Tickets::new(session);
    let mut runs = JoinSet::new();
    let mut settled = Settled::Yes;

    warn_of_classes_never_claimed(session);
    while let Some(mut slots) = free_slots(&slots, session).await {
        let needs = gpus_needed(session);
        let mut offer = if needs.is_empty() { Offer::default() } else { session.config.gpus.offer().await };
        let mut begin = |waiting: &mut VecDeque<HeldClaim>, slots: &mut Vec<Slot>| {
            for _ in 0..waiting.len() {
                let (Some(slot), Some(claim)) = (slots.pop(), waiting.pop_front()) else { break };
                let need = needs.get(&claim.claim.ticket.class).copied().unwrap_or(0);
                if let Some(gpus) = offer.take(need, claim.claim.job) {
                    runs.spawn(attend(Arc::clone(session), claim, slot, gpus));
                } else {
                    waiting.push_back(claim);
                    slots.push(slot);
                }
            }
            offer.free_slots()
        };
        let free_gpus = begin(&mut waiting, &mut slots);
        if !slots.is_empty() {
            let claims = tickets.claim(Permits::new(slots.len(), free_gpus, needs.clone())).await;
            waiting.extend(claims.into_iter().filter_map(|claim| held.hold(claim)));
            begin(&mut waiting, &mut slots);
        }
        while let Some(ended) = runs.try_join_next() {
            settled = settled.and(settled_by(ended));
        }
    }
    if !waiting.is_empty() {
        settled = Settled::No;
    }
    settled.and(drain(session, runs).await)
}

/// Room for one run.
struct Slot {
    _permit: OwnedSemaphorePermit,
    /// The turn of this worker among those of its machine, if jobs must not run beside each other.
    _turn: Option<Turn>,
}

/// All the slots that are free, at least one; none once the worker is to stop.
async fn free_slots(slots: &Arc<Semaphore>, session: &Session) -> Option<Vec<Slot>> {
    let first = async {
        let permit = Arc::clone(slots).acquire_owned().await.ok()?;
        // Before a ticket is claimed: no job waits claimed for the job of another worker.
        Some(Slot { _permit: permit, _turn: session.config.sandbox.turn().await })
    };
    let first = tokio::select! {
        biased;
        () = session.stop.begun() => return None,
        slot = first => slot?,
    };
    let more = std::iter::from_fn(|| Arc::clone(slots).try_acquire_owned().ok());
    // There is one slot where there are turns.
    Some(std::iter::once(first).chain(more.map(|permit| Slot { _permit: permit, _turn: None })).collect())
}

/// How many GPUs a job of each class needs that needs any.
fn gpus_needed(session: &Session) -> BTreeMap<ClassName, usize> {
    let policy = session.policy.get();
    let need = |name: &ClassName| Some((name.clone(), usize::try_from(policy.class(name)?.gpus).ok()?));
    session.config.classes.iter().filter_map(need).filter(|(_, gpus)| *gpus > 0).collect()
}

fn warn_of_classes_never_claimed(session: &Session) {
    let here = session.config.gpus.len();
    for (class, needed) in gpus_needed(session) {
        if needed > here {
            tracing::warn!(%class, needed, here, "too few GPUs for a job of this class: none is claimed");
        }
    }
}

/// Takes one ticket to its end.
async fn attend(session: Arc<Session>, claim: HeldClaim, slot: Slot, gpus: GpuLease) -> Settled {
    let _busy = observe::BusySlot::take(&session.busy);
    let settled = match start(&session, &claim.claim, gpus.uuids()).await {
        Answer::Started(run) => {
            let span = run.span.clone();
            pipeline::run(&session, &run, gpus).instrument(span).await
        }
        Answer::NotOurs => Settled::Yes,
        Answer::Unanswered => Settled::No,
    };
    // The ticket is let go of before the slot, so that the slot's next claim never meets it as held.
    drop(claim);
    drop(slot);
    settled
}

/// Lets jobs finish for the drain timeout, then has the rest given back.
async fn drain(session: &Session, mut runs: JoinSet<Settled>) -> Settled {
    let (busy, patience) = (runs.len(), session.config.drain_timeout);
    if busy > 0 {
        tracing::info!(jobs = busy, ?patience, "waiting for jobs to finish");
    }
    let mut rest = pin!(async {
        let mut settled = Settled::Yes;
        while let Some(ended) = runs.join_next().await {
            settled = settled.and(settled_by(ended));
        }
        settled
    });
    tokio::select! {
        settled = &mut rest => return settled,
        () = tokio::time::sleep(patience) => {}
        () = session.stop.running.cancelled() => {}
    }
    session.stop.running.cancel();
    rest.await
}

fn settled_by(ended: Result<Settled, JoinError>) -> Settled {
    ended.unwrap_or_else(|error| {
        tracing::error!(%error, "a run's task broke off");
        Settled::No
    })
}

/// Where tickets come from: a reader that is opened anew for as long as Redis is away.
struct Tickets<'a> {
    session: &'a Session,
    reader: Option<Box<dyn TicketReader>>,
    outage: Outage,
}

impl<'a> Tickets<'a> {
    const fn new(session: &'a Session) -> Self {
        Self { session, reader: None, outage: Outage::of("claiming tickets") }
    }

    /// The tickets that there are permits for; none after an error, a quiet while, or a stop.
    ///
    /// A claim under way when the worker is to stop is waited for: its answer may hold tickets.
    async fn claim(&mut self, permits: Permits) -> Vec<Claim> {
        let session = self.session;
        let claimed = {
            let mut claim = pin!(Self::try_claim(session, &mut self.reader, permits));
            tokio::select! {
                claimed = &mut claim => Some(claimed),
                () = session.stop.begun() => timeout(LAST_CLAIM_PATIENCE, claim).await.ok(),
            }
        };
        match claimed {
            Some(Ok(claims)) => {
                self.outage.over();
                claims
            }
            Some(Err(error)) => {
                tokio::select! {
                    () = self.outage.pause(&error, session.ports.ids.jitter()) => {}
                    () = session.stop.begun() => {}
                }
                vec![]
            }
            None => vec![],
        }
    }

    async fn try_claim(
        session: &Session,
        reader: &mut Option<Box<dyn TicketReader>>,
        permits: Permits,
    ) -> Result<Vec<Claim>, PortError> {
        let room = session.config.classes.iter().map(|class| permits.for_class(class));
        let (least, most) = room.fold((usize::MAX, 0), |(least, most), room| (room.min(least), room.max(most)));
        if most == 0 {
            tokio::time::sleep(SHORT_WAIT).await;
            return Ok(vec![]);
        }
        let wait = if least == 0 { SHORT_WAIT } else { CLAIM_WAIT };
        let reader = if let Some(reader) = reader {
            reader
        } else {
            let (consumer, classes) = (&session.config.consumer, &session.config.classes);
            reader.insert(session.ports.queue.reader(consumer, classes).await?)
        };
        reader.claim_within(permits, wait).await
    }
}

/// The tickets this process is busy with. A reader that reconnects hands them out again.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<HashSet<Ticket>>>);

/// A ticket this process is busy with until this is dropped.
struct HeldClaim {
    claim: Claim,
    held: Held,
}

impl Held {
    /// Takes a ticket up, unless it is held already.
    fn hold(&self, claim: Claim) -> Option<HeldClaim> {
        let new = self.tickets().insert(claim.ticket.clone()) || seeded_bug!("held_ticket_started_again");
        new.then(|| HeldClaim { claim, held: self.clone() })
    }

    fn tickets(&self) -> std::sync::MutexGuard<'_, HashSet<Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        self.held.tickets().remove(&self.claim.ticket);
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
        drop(first);
        assert!(held.hold(claim).is_some());
    }
}

//! The loop: take free slots and GPUs, claim as many tickets, run each in a task that owns its own; at the end, drain.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use events::ports::{Claim, Permits, PortError, TicketReader};
use events::{ClassName, JobId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::Instrument;

use crate::confinement::Turn;
use crate::gpu::{GpuLease, Offer};
use crate::job::held::{Held, HeldClaim};
use crate::job::life;
use crate::job::start::{Answer, start};
use crate::observe;
use crate::outage::Outage;
use crate::services::fitness::{look_for_room, others_take};
use crate::session::{Session, Settled};

/// How long a claim waits for a ticket; also the most by which an idle worker's end is delayed.
const CLAIM_WAIT: Duration = Duration::from_millis(500);
/// How long it waits where a class has too few free GPUs for a job: they may be free at any moment.
const SHORT_WAIT: Duration = Duration::from_millis(100);
/// How long the ticket of a job that failed here is kept before it is given back.
const LEFT_FOR: Duration = Duration::from_secs(1);
/// How long a claim under way may still take once the worker is to stop.
const LAST_CLAIM_PATIENCE: Duration = Duration::from_secs(2);
/// How long all that follows the end of the programs may take: each step has a bound of its own, and this is beside them.
const LAST_STEPS: Duration = Duration::from_secs(30);

/// Claims and runs until the worker is to stop, then waits for what is under way.
pub(crate) async fn run(session: &Arc<Session>, inherited: Vec<Claim>) -> Settled {
    let slots = Arc::new(Semaphore::new(session.config.slots));
    let held = Held::default();
    // Claimed, and not begun yet for want of a slot or of GPUs.
    let mut waiting: VecDeque<HeldClaim> = inherited.into_iter().filter_map(|claim| held.hold(claim)).collect();
    let mut tickets = Tickets::new(session);
    let mut runs = JoinSet::new();
    let mut settled = Settled::Yes;

    loop {
        look_for_room(session).await;
        if session.fitness.unfit().is_some() {
            put_back(session, waiting.drain(..)).await;
            tokio::select! {
                biased;
                () = session.stop.begun() => break,
                () = session.fitness.fit() => {}
            }
        }
        let Some(mut slots) = free_slots(&slots, session).await else { break };
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
            let mut claims = tickets.claim(Permits::new(slots.len(), free_gpus, needs.clone())).await;
            claims.extend(held.take_handed_out_again());
            for claim in claims {
                let job = claim.job;
                match held.hold(claim) {
                    Some(claim) => waiting.push_back(claim),
                    // Redis may have forgotten that it runs: its next beat finds out. Nobody listens where nothing runs.
                    None => drop(session.nudged.send(job)),
                }
            }
            if !waiting.is_empty() {
                look_for_room(session).await;
            }
            if session.fitness.unfit().is_some() {
                continue;
            }
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
    let tell = |why| session.fitness.hinder(why);
    let first = async {
        let permit = Arc::clone(slots).acquire_owned().await.ok()?;
        // Before a ticket is claimed: no job waits claimed for the job of another worker.
        Some(Slot { _permit: permit, _turn: session.config.sandbox.turn(tell).await })
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
    session.served().iter().filter_map(need).filter(|(_, gpus)| *gpus > 0).collect()
}

/// Gives tickets back, for other workers or for later. One that can't be given back is put back by a reaper.
async fn put_back(session: &Session, claims: impl Iterator<Item = HeldClaim>) {
    for held in claims {
        if let Err(error) = session.ports.queue.put_back(&session.config.consumer, &held.claim).await {
            tracing::debug!(job = %held.claim.job, %error, "a ticket could not be given back");
        }
    }
}

/// Leaves a job that failed here a short while ago to other workers, if there are any that take it.
///
/// Only the worker that failed it last does: workers that have all failed it would hand it to each other.
async fn leave_to_others(session: &Session, claim: &Claim) -> bool {
    session.fitness.failed_here(claim.job)
        && ran_here_last(session, claim.job).await
        && others_take(session, &claim.ticket.class).await
}

/// Whether the last run of a job was this worker's.
async fn ran_here_last(session: &Session, job: JobId) -> bool {
    let job = session.ports.status.job(job).await.ok().flatten();
    job.and_then(|job| job.run).is_some_and(|run| run.worker == session.config.consumer)
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
    if leave_to_others(&session, &claim.claim).await {
        drop((slot, gpus));
        // Not at once: it would be the first to claim it again.
        tokio::select! {
            () = tokio::time::sleep(LEFT_FOR) => {}
            () = session.stop.begun() => {}
        }
        put_back(&session, std::iter::once(claim)).await;
        return Settled::Yes;
    }
    let _busy = observe::BusySlot::take(&session.busy);
    let settled = match start(&session, &claim.claim, gpus.uuids()).await {
        Answer::Started(run) => {
            let span = run.span.clone();
            life::run(&session, &run, gpus).instrument(span).await
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
    let graces = session.config.graces;
    timeout(graces.interrupt + graces.terminate + LAST_STEPS, rest).await.unwrap_or_else(|_| {
        tracing::error!("jobs did not return to the queue in time; killing their processes");
        Settled::No
    })
}

fn settled_by(ended: Result<Settled, JoinError>) -> Settled {
    ended.unwrap_or_else(|error| {
        tracing::error!(%error, "the task of a run stopped unexpectedly");
        Settled::No
    })
}

/// Where tickets come from: a reader that is opened anew for as long as Redis is away.
struct Tickets<'a> {
    session: &'a Session,
    reader: Option<Box<dyn TicketReader>>,
    /// The classes that it reads.
    classes: Vec<ClassName>,
    outage: Outage,
}

impl<'a> Tickets<'a> {
    const fn new(session: &'a Session) -> Self {
        Self { session, reader: None, classes: vec![], outage: Outage::of("claiming tickets") }
    }

    /// The tickets that there are permits for; none after an error, a quiet while, or a stop.
    ///
    /// A claim under way when the worker is to stop is waited for: its answer may hold tickets.
    async fn claim(&mut self, permits: Permits) -> Vec<Claim> {
        let session = self.session;
        let served = session.served();
        if served != self.classes {
            warn_of_classes_never_claimed(session);
            // What it had claimed is handed out again by the next one.
            (self.reader, self.classes) = (None, served);
        }
        let claimed = {
            let mut claim = pin!(Self::try_claim(session, &mut self.reader, &self.classes, permits));
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
        classes: &[ClassName],
        permits: Permits,
    ) -> Result<Vec<Claim>, PortError> {
        let room = classes.iter().map(|class| permits.for_class(class));
        let (least, most) = room.fold((usize::MAX, 0), |(least, most), room| (room.min(least), room.max(most)));
        if most == 0 {
            tokio::time::sleep(SHORT_WAIT).await;
            return Ok(vec![]);
        }
        let wait = if least == 0 { SHORT_WAIT } else { CLAIM_WAIT };
        let reader = if let Some(reader) = reader {
            reader
        } else {
            reader.insert(session.ports.queue.reader(&session.config.consumer, classes).await?)
        };
        reader.claim_within(permits, wait).await
    }
}

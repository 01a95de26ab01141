//! The loop: take free slots and GPUs, claim as many tickets, run each in a task that owns its own; at the end, drain.

pub(crate) mod held;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use events::ports::{Claim, Ids, JobQueuePort, JobStatusPort, Permits, PortError, TicketReader};
use events::{ClassName, Consumer, JobId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::confinement::{Sandbox, Turn};
use crate::gpu::{GpuLease, Gpus, Offer};
use crate::job::claim::held::{Held, HeldClaim};
use crate::job::life::JobLife;
use crate::job::run::Settled;
use crate::observe;
use crate::outage::Outage;
use crate::served_classes::ServedClasses;
use crate::services::self_test::SelfTest;
use crate::stop::Stop;

/// How long a claim waits for a ticket; also the most by which an idle worker's end is delayed.
const CLAIM_WAIT: Duration = Duration::from_millis(500);
/// How long it waits where a class has too few free GPUs for a job: they may be free at any moment.
const SHORT_WAIT: Duration = Duration::from_millis(100);
/// How long the ticket of a job that failed here is kept before it is given back.
const LEFT_FOR: Duration = Duration::from_secs(1);
/// How long a claim under way may still take once the worker is to stop.
const LAST_CLAIM_PATIENCE: Duration = Duration::from_secs(2);
/// How long all that follows the end of the programs may take: each step has a bound of its own, and this is beside
/// them.
const LAST_STEPS: Duration = Duration::from_secs(30);

/// Claims tickets and runs their jobs.
pub(crate) struct Claimer {
    pub(crate) slots: usize,
    pub(crate) drain_timeout: Duration,
    pub(crate) consumer: Consumer,
    pub(crate) classes: ServedClasses,
    pub(crate) gpus: Gpus,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) queue: Arc<dyn JobQueuePort>,
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) ids: Arc<dyn Ids>,
    /// Hears of jobs whose runs should look at them at once.
    pub(crate) nudged: broadcast::Sender<JobId>,
    /// How many slots are in use.
    pub(crate) busy: Arc<AtomicUsize>,
    pub(crate) self_test: Arc<SelfTest>,
    pub(crate) life: JobLife,
    pub(crate) stop: Stop,
}

impl Claimer {
    /// Claims and runs until the worker is to stop, then waits for what is under way.
    pub(crate) async fn run(self, inherited: Vec<Claim>) -> Settled {
        let claimer = Arc::new(self);
        let fitness = Arc::clone(&claimer.self_test.fitness);
        let slots = Arc::new(Semaphore::new(claimer.slots));
        let held = Held::default();
        // Claimed, and not begun yet for want of a slot or of GPUs.
        let mut waiting: VecDeque<HeldClaim> = inherited.into_iter().filter_map(|claim| held.hold(claim)).collect();
        let mut tickets = Tickets::new(&claimer);
        let mut runs = JoinSet::new();
        let mut settled = Settled::Yes;

        loop {
            claimer.self_test.look_for_room().await;
            if fitness.unfit().is_some() {
                claimer.put_back(waiting.drain(..)).await;
                tokio::select! {
                    biased;
                    () = claimer.stop.begun() => break,
                    () = fitness.fit() => {}
                }
            }
            let Some(mut slots) = claimer.free_slots(&slots).await else { break };
            let needs = claimer.classes.gpus_needed();
            let mut offer = if needs.is_empty() { Offer::default() } else { claimer.gpus.offer().await };
            let mut begin = |waiting: &mut VecDeque<HeldClaim>, slots: &mut Vec<Slot>| {
                for _ in 0..waiting.len() {
                    let (Some(slot), Some(claim)) = (slots.pop(), waiting.pop_front()) else { break };
                    let need = needs.get(&claim.claim.ticket.class).copied().unwrap_or(0);
                    if let Some(gpus) = offer.take(need, claim.claim.job) {
                        runs.spawn(Arc::clone(&claimer).attend(claim, slot, gpus));
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
                        None => drop(claimer.nudged.send(job)),
                    }
                }
                if !waiting.is_empty() {
                    claimer.self_test.look_for_room().await;
                }
                if fitness.unfit().is_some() {
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
        settled.and(claimer.drain(runs).await)
    }

    /// All the slots that are free, at least one; none once the worker is to stop.
    async fn free_slots(&self, slots: &Arc<Semaphore>) -> Option<Vec<Slot>> {
        let tell = |why| self.self_test.fitness.hinder(why);
        let first = async {
            let permit = Arc::clone(slots).acquire_owned().await.ok()?;
            // Before a ticket is claimed: no job waits claimed for the job of another worker.
            Some(Slot { _permit: permit, _turn: self.sandbox.turn(tell).await })
        };
        let first = tokio::select! {
            biased;
            () = self.stop.begun() => return None,
            slot = first => slot?,
        };
        let more = std::iter::from_fn(|| Arc::clone(slots).try_acquire_owned().ok());
        // There is one slot where there are turns.
        Some(std::iter::once(first).chain(more.map(|permit| Slot { _permit: permit, _turn: None })).collect())
    }

    /// Takes one ticket to its end.
    async fn attend(self: Arc<Self>, claim: HeldClaim, slot: Slot, gpus: GpuLease) -> Settled {
        if self.leave_to_others(&claim.claim).await {
            drop((slot, gpus));
            // Not at once: it would be the first to claim it again.
            tokio::select! {
                () = tokio::time::sleep(LEFT_FOR) => {}
                () = self.stop.begun() => {}
            }
            self.put_back(std::iter::once(claim)).await;
            return Settled::Yes;
        }
        let _busy = observe::BusySlot::take(&self.busy);
        let settled = self.life.live(&claim.claim, gpus).await;
        // The ticket is let go of before the slot, so that the slot's next claim never meets it as held.
        drop(claim);
        drop(slot);
        settled
    }

    /// Gives tickets back, for other workers or for later. One that can't be given back is put back by a reaper.
    async fn put_back(&self, claims: impl Iterator<Item = HeldClaim>) {
        for held in claims {
            if let Err(error) = self.queue.put_back(&self.consumer, &held.claim).await {
                tracing::debug!(job = %held.claim.job, %error, "a ticket could not be given back");
            }
        }
    }

    /// Leaves a job that failed here a short while ago to other workers, if there are any that take it.
    ///
    /// Only the worker that failed it last does: workers that have all failed it would hand it to each other.
    async fn leave_to_others(&self, claim: &Claim) -> bool {
        self.self_test.fitness.failed_here(claim.job)
            && self.ran_here_last(claim.job).await
            && self.self_test.others_take(&claim.ticket.class).await
    }

    /// Whether the last run of a job was this worker's.
    async fn ran_here_last(&self, job: JobId) -> bool {
        let job = self.status.job(job).await.ok().flatten();
        job.and_then(|job| job.run).is_some_and(|run| run.worker == self.consumer)
    }

    /// Lets jobs finish for the drain timeout, then has the rest given back.
    async fn drain(&self, mut runs: JoinSet<Settled>) -> Settled {
        let (busy, patience) = (runs.len(), self.drain_timeout);
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
            () = self.stop.running.cancelled() => {}
        }
        self.stop.running.cancel();
        let graces = self.life.executor.graces;
        timeout(graces.interrupt + graces.terminate + LAST_STEPS, rest).await.unwrap_or_else(|_| {
            tracing::error!("jobs did not return to the queue in time; killing their processes");
            Settled::No
        })
    }
}

/// Room for one run.
struct Slot {
    _permit: OwnedSemaphorePermit,
    /// The turn of this worker among those of its machine, if jobs must not run beside each other.
    _turn: Option<Turn>,
}

fn settled_by(ended: Result<Settled, JoinError>) -> Settled {
    ended.unwrap_or_else(|error| {
        tracing::error!(%error, "the task of a run stopped unexpectedly");
        Settled::No
    })
}

/// Where tickets come from: a reader that is opened anew for as long as Redis is away.
struct Tickets<'a> {
    claimer: &'a Claimer,
    reader: Option<Box<dyn TicketReader>>,
    /// The classes that it reads.
    classes: Vec<ClassName>,
    outage: Outage,
}

impl<'a> Tickets<'a> {
    const fn new(claimer: &'a Claimer) -> Self {
        Self { claimer, reader: None, classes: vec![], outage: Outage::of("claiming tickets") }
    }

    /// The tickets that there are permits for; none after an error, a quiet while, or a stop.
    ///
    /// A claim under way when the worker is to stop is waited for: its answer may hold tickets.
    async fn claim(&mut self, permits: Permits) -> Vec<Claim> {
        let claimer = self.claimer;
        let served = claimer.classes.served();
        if served != self.classes {
            self.warn_of_classes_never_claimed();
            // What it had claimed is handed out again by the next one.
            (self.reader, self.classes) = (None, served);
        }
        let answer = {
            let mut claim = pin!(Self::try_claim(claimer, &mut self.reader, &self.classes, permits));
            tokio::select! {
                answer = &mut claim => Some(answer),
                () = claimer.stop.begun() => timeout(LAST_CLAIM_PATIENCE, claim).await.ok(),
            }
        };
        match answer {
            Some(Ok(claims)) => {
                self.outage.over();
                claims
            }
            Some(Err(error)) => {
                tokio::select! {
                    () = self.outage.pause(&error, claimer.ids.jitter()) => {}
                    () = claimer.stop.begun() => {}
                }
                vec![]
            }
            None => vec![],
        }
    }

    fn warn_of_classes_never_claimed(&self) {
        let here = self.claimer.gpus.len();
        for (class, needed) in self.claimer.classes.gpus_needed() {
            if needed > here {
                tracing::warn!(%class, needed, here, "too few GPUs for a job of this class: none is claimed");
            }
        }
    }

    async fn try_claim(
        claimer: &Claimer,
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
            reader.insert(claimer.queue.reader(&claimer.consumer, classes).await?)
        };
        reader.claim_within(permits, wait).await
    }
}

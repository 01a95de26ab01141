//! Ends the leases of workers that fell silent, and puts tickets back that were claimed and never started.
//!
//! Every worker watches all the others, by its own monotonic clock: a lease is ended only when this process has itself
//! seen its beat unchanged for the lease's length, and only if the beat is still that one when the end is committed. So
//! a stepped clock ends nothing, and neither does an outage of Redis, after which the watch begins anew.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use events::execute::{ExecuteError, JobExecutor, Origin};
use events::policy::LivePolicy;
use events::ports::{EventLogPort, Ids, JobQueuePort, Lease, LogPort, PortError, Unstarted, WorkersPort};
use events::{Actor, Fence, Guard, JobCommand, JobId, LossCause};
use metrics::counter;
use tokio::time::{Instant, sleep};

use crate::log::cut_off;
use crate::outage::Outage;
use crate::served_classes::ServedClasses;

/// Ends the leases of silent workers.
pub(crate) struct Reaper {
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) queue: Arc<dyn JobQueuePort>,
    pub(crate) logs: Arc<dyn LogPort>,
    pub(crate) workers: Arc<dyn WorkersPort>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) policy: Arc<LivePolicy>,
    pub(crate) classes: ServedClasses,
}

impl Reaper {
    /// Runs until aborted. Sweeps every quarter of the lease, times jitter.
    pub(crate) async fn run(self) {
        let mut outage = Outage::of("watching the other workers");
        let mut leases = Sightings::default();
        let mut tickets = Sightings::default();
        loop {
            let before = Instant::now();
            let lease = self.policy.get().lease;
            sleep((lease / 4).mul_f64(self.ids.jitter())).await;
            // A process that was stopped for a while has seen nothing meanwhile.
            if before.elapsed() > lease / 2 {
                leases.forget();
                tickets.forget();
            }
            // A failure of one of them does not hold up the others.
            let swept_leases = self.sweep_leases(&mut leases).await;
            let swept_tickets = self.sweep_tickets(&mut tickets).await;
            let forgotten = self.workers.forget_dead(&self.classes.all()).await.map(drop);
            match swept_leases.and(swept_tickets).and(forgotten) {
                Ok(()) => outage.over(),
                Err(error) => {
                    outage.note(&error);
                    leases.forget();
                    tickets.forget();
                }
            }
        }
    }

    async fn sweep_leases(&self, seen: &mut Sightings<(JobId, Fence, u64)>) -> Result<(), PortError> {
        let leases = self.queue.leases().await?;
        let now = Instant::now();
        seen.saw(leases.iter().map(|(job, lease)| (*job, lease.fence.clone(), lease.beat)), now);
        for (job, lease) in &leases {
            let unchanged = seen.unchanged_for(&(*job, lease.fence.clone(), lease.beat), now);
            if unchanged >= Duration::from_millis(lease.lease_ms) {
                self.end(*job, lease).await;
            }
        }
        Ok(())
    }

    async fn end(&self, job: JobId, lease: &Lease) {
        let command = JobCommand::LoseLease {
            fence: lease.fence.clone(),
            cause: LossCause::WorkerLost,
            error: format!("worker {} fell silent for {} s", lease.worker, lease.lease_ms.div_ceil(1000)),
        };
        let origin = Origin { actor: Actor::System("reaper".to_owned()), trace: None };
        let (log, jitter) = (self.log.as_ref(), self.ids.jitter());
        let beat = Guard::LeaseBeat { job, beat: lease.beat };
        let policy = self.policy.get();
        let executor = JobExecutor { log, policy: &policy, origin: &origin, jitter, seen: Some(&beat) };
        match executor.execute(job, &command).await {
            Ok(_) => {
                tracing::warn!(%job, worker = %lease.worker, "a worker fell silent; its job is tried again or given up");
                counter!("leadersboard_leases_reaped_total").increment(1);
                cut_off(&self.logs, job, &lease.fence);
            }
            // The worker beat again, or the end of its run was recorded meanwhile.
            Err(ExecuteError::GuardFailed(_) | ExecuteError::Rejected(_)) => {}
            Err(error) => {
                tracing::warn!(%job, %error, "the lease of a silent worker could not be ended; trying again");
            }
        }
    }

    async fn sweep_tickets(&self, seen: &mut Sightings<Unstarted>) -> Result<(), PortError> {
        let mut tickets = Vec::new();
        for class in self.classes.all() {
            match self.queue.unstarted(&class).await {
                // The reconciler sets aside a key that is no work stream.
                Err(PortError::Corrupt(problem)) => {
                    tracing::warn!(%class, %problem, "the tickets of a class can't be read");
                }
                unstarted => tickets.extend(unstarted?),
            }
        }
        let now = Instant::now();
        seen.saw(tickets.iter().cloned(), now);
        let lease = self.policy.get().lease;
        for ticket in &tickets {
            if seen.unchanged_for(ticket, now) >= lease && self.queue.reissue(ticket).await? {
                tracing::warn!(job = %ticket.job, worker = %ticket.holder, "a ticket was claimed but never started; returning it to the queue");
                counter!("leadersboard_tickets_reissued_total", "class" => ticket.ticket.class.to_string())
                    .increment(1);
            }
        }
        Ok(())
    }
}

/// Since when this process has seen things as they are.
#[derive(Debug)]
struct Sightings<T>(HashMap<T, Instant>);

impl<T> Default for Sightings<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Sightings<T> {
    /// Notes what was seen in a sweep. What was not seen is forgotten.
    fn saw(&mut self, things: impl Iterator<Item = T>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        self.0 = things.map(|thing| before.remove_entry(&thing).unwrap_or((thing, now))).collect();
    }

    fn unchanged_for(&self, thing: &T, now: Instant) -> Duration {
        self.0.get(thing).map_or(Duration::ZERO, |since| now.saturating_duration_since(*since))
    }

    fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_was_seen_the_same_all_the_time_counts() {
        let mut seen = Sightings::default();
        let now = Instant::now;
        seen.saw([1, 2].into_iter(), now());
        tokio::time::advance(Duration::from_secs(5)).await;
        seen.saw([1, 3].into_iter(), now());
        assert_eq!(seen.unchanged_for(&1, now()), Duration::from_secs(5));
        assert_eq!(seen.unchanged_for(&3, now()), Duration::ZERO);
        seen.saw([2].into_iter(), now());
        assert_eq!(seen.unchanged_for(&2, now()), Duration::ZERO, "it was away in between");
        seen.forget();
        assert_eq!(seen.unchanged_for(&2, now()), Duration::ZERO);
    }
}

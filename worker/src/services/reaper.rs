//! Ends the leases of workers that fell silent, and puts tickets back that were claimed and never started.
//!
//! Every worker watches all the others, by its own monotonic clock: a lease is ended only when this process has itself
//! seen its beat unchanged for the lease's length, and only if the beat is still that one when the end is committed. So
//! a stepped clock ends nothing, and neither does an outage of Redis, after which the watch begins anew.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use events::execute::{self, ExecuteError, Origin};
use events::ports::{Lease, PortError, Unstarted};
use events::{Actor, Fence, Guard, JobCommand, JobId, LossCause};
use metrics::counter;
use tokio::time::{Instant, sleep};

use crate::outage::Outage;
use crate::session::Session;

/// Runs until it is aborted. A sweep every quarter of the lease, times jitter.
pub(crate) async fn run(session: Arc<Session>) {
    let mut outage = Outage::of("watching the other workers");
    let mut leases = Watch::default();
    let mut tickets = Watch::default();
    loop {
        let before = Instant::now();
        let lease = session.policy.get().lease;
        sleep((lease / 4).mul_f64(session.ports.ids.jitter())).await;
        // A process that was stopped for a while has seen nothing meanwhile.
        if before.elapsed() > lease / 2 {
            leases.forget();
            tickets.forget();
        }
        // What is wrong with one of them is not to keep the others.
        let swept_leases = sweep_leases(&session, &mut leases).await;
        let swept_tickets = sweep_tickets(&session, &mut tickets).await;
        let forgotten = session.ports.workers.forget_dead(&session.all_classes()).await.map(drop);
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

async fn sweep_leases(session: &Session, watch: &mut Watch<(JobId, Fence, u64)>) -> Result<(), PortError> {
    let leases = session.ports.queue.leases().await?;
    let seen = leases.iter().map(|(job, lease)| (*job, lease.fence.clone(), lease.beat));
    let now = Instant::now();
    watch.saw(seen, now);
    for (job, lease) in &leases {
        let unchanged = watch.unchanged_for(&(*job, lease.fence.clone(), lease.beat), now);
        if unchanged >= Duration::from_millis(lease.lease_ms) {
            end(session, *job, lease).await;
        }
    }
    Ok(())
}

async fn end(session: &Session, job: JobId, lease: &Lease) {
    let command = JobCommand::LoseLease {
        fence: lease.fence.clone(),
        cause: LossCause::WorkerLost,
        error: format!("worker {} fell silent for {} s", lease.worker, lease.lease_ms.div_ceil(1000)),
    };
    let origin = Origin { actor: Actor::System("reaper".to_owned()), trace: None };
    let (log, jitter) = (session.ports.log.as_ref(), session.ports.ids.jitter());
    let beat = Guard::LeaseBeat { job, beat: lease.beat };
    match execute::job_if(log, &session.policy.get(), &origin, job, &command, jitter, Some(&beat)).await {
        Ok(_) => {
            tracing::warn!(%job, worker = %lease.worker, "a worker fell silent; its job is tried again or given up");
            counter!("leadersboard_leases_reaped_total").increment(1);
        }
        // It beat again, or its end was recorded, while we looked.
        Err(ExecuteError::GuardFailed(_) | ExecuteError::Rejected(_)) => {}
        Err(error) => tracing::warn!(%job, %error, "the lease of a silent worker could not be ended; trying again"),
    }
}

async fn sweep_tickets(session: &Session, watch: &mut Watch<Unstarted>) -> Result<(), PortError> {
    let mut tickets = Vec::new();
    for class in session.all_classes() {
        match session.ports.queue.unstarted(&class).await {
            // The reconciler sets aside a work stream that is none.
            Err(PortError::Corrupt(problem)) => tracing::warn!(%class, problem, "the tickets of a class can't be read"),
            unstarted => tickets.extend(unstarted?),
        }
    }
    let now = Instant::now();
    watch.saw(tickets.iter().cloned(), now);
    let lease = session.policy.get().lease;
    for ticket in &tickets {
        if watch.unchanged_for(ticket, now) >= lease && session.ports.queue.reissue(ticket).await? {
            tracing::warn!(job = %ticket.job, worker = %ticket.holder, "a ticket was claimed and never started; it is put back");
            counter!("leadersboard_tickets_reissued_total", "class" => ticket.ticket.class.to_string()).increment(1);
        }
    }
    Ok(())
}

/// Since when this process has seen things as they are.
#[derive(Debug)]
struct Watch<T>(HashMap<T, Instant>);

impl<T> Default for Watch<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Watch<T> {
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
        let mut watch = Watch::default();
        let now = Instant::now;
        watch.saw([1, 2].into_iter(), now());
        tokio::time::advance(Duration::from_secs(5)).await;
        watch.saw([1, 3].into_iter(), now());
        assert_eq!(watch.unchanged_for(&1, now()), Duration::from_secs(5));
        assert_eq!(watch.unchanged_for(&3, now()), Duration::ZERO);
        watch.saw([2].into_iter(), now());
        assert_eq!(watch.unchanged_for(&2, now()), Duration::ZERO, "it was away in between");
        watch.forget();
        assert_eq!(watch.unchanged_for(&2, now()), Duration::ZERO);
    }
}

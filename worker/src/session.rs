//! What all parts of a running worker share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use events::execute::{self, ExecuteError, Origin};
use events::job::Rejection;
use events::policy::LivePolicy;
use events::{Actor, ClassName, Job, JobCommand, JobId, TraceParent};
use tokio::sync::broadcast;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::services::fitness::Fitness;
use crate::tracking::Tracker;
use crate::worker::{Ports, WorkerConfig};

/// What all parts of a running worker share.
pub(crate) struct Session {
    pub(crate) config: WorkerConfig,
    pub(crate) ports: Ports,
    pub(crate) policy: Arc<LivePolicy>,
    /// How many slots are in use.
    pub(crate) busy: AtomicUsize,
    /// Jobs that somebody nudged about.
    pub(crate) nudged: broadcast::Sender<JobId>,
    /// The directory that holds the run directories of this process.
    pub(crate) station: PathBuf,
    /// The tracker, if there is one.
    pub(crate) tracker: Option<Arc<Tracker>>,
    /// Whether it can set jobs up.
    pub(crate) fitness: Arc<Fitness>,
    pub(crate) stop: Stop,
}

/// How long each last step of a run may still take once its worker is to wait no longer.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How a worker is told to end, by degrees.
pub(crate) struct Stop {
    /// Claim nothing more.
    pub(crate) claiming: CancellationToken,
    /// Give back what still runs, and wait for nothing that does not answer soon.
    pub(crate) running: CancellationToken,
    /// Wait for nothing, not even for Redis.
    pub(crate) waiting: CancellationToken,
}

/// Whether nothing of a ticket is left for another worker to clear up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Yes,
    No,
}

impl Settled {
    pub(crate) fn and(self, other: Self) -> Self {
        if self == Self::Yes { other } else { Self::No }
    }
}

impl Stop {
    /// Ends once nothing new may be begun.
    pub(crate) async fn begun(&self) {
        tokio::select! {
            () = self.claiming.cancelled() => {}
            () = self.running.cancelled() => {}
        }
    }

    /// Ends once a step that began with this call may take no longer: two seconds after the drain timeout at the
    /// earliest, at once when the worker must end at once.
    pub(crate) async fn patience_is_over(&self) {
        tokio::select! {
            () = self.last_word_is_over() => {}
            () = self.waiting.cancelled() => {}
        }
    }

    /// The same for a step that needs no answer: it has its two seconds even when the worker must end at once.
    pub(crate) async fn last_word_is_over(&self) {
        self.running.cancelled().await;
        sleep(LAST_WORD).await;
    }
}

impl Session {
    /// Carries out a command on a job in the worker's name.
    pub(crate) async fn command(
        &self,
        id: JobId,
        command: &JobCommand,
        trace: Option<TraceParent>,
    ) -> Result<Option<Job>, ExecuteError<Rejection>> {
        let actor = Actor::Worker(self.config.consumer.clone());
        self.command_as(actor, id, command, trace).await
    }

    /// Carries out a command on a job in somebody's name.
    pub(crate) async fn command_as(
        &self,
        actor: Actor,
        id: JobId,
        command: &JobCommand,
        trace: Option<TraceParent>,
    ) -> Result<Option<Job>, ExecuteError<Rejection>> {
        let origin = Origin { actor, trace };
        let (log, jitter) = (self.ports.log.as_ref(), self.ports.ids.jitter());
        execute::job(log, &self.policy.get(), &origin, id, command, jitter).await
    }

    /// The classes of the policy that are served here, as the policy stands now.
    pub(crate) fn served(&self) -> Vec<ClassName> {
        let only = &self.config.classes;
        self.all_classes().into_iter().filter(|class| only.is_empty() || only.contains(class)).collect()
    }

    /// Every class of the policy, served here or not.
    pub(crate) fn all_classes(&self) -> Vec<ClassName> {
        self.policy.get().classes.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_ends_soon_after_the_drain_timeout_and_at_once_when_told() {
        let token = CancellationToken::new;
        let stop = Stop { claiming: token(), running: token(), waiting: token() };
        let began = Instant::now();
        stop.running.cancel();
        stop.patience_is_over().await;
        assert_eq!(began.elapsed(), LAST_WORD);
        stop.waiting.cancel();
        stop.patience_is_over().await;
        assert_eq!(began.elapsed(), LAST_WORD);
    }
}

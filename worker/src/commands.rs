//! Commands on jobs, carried out in the worker's name.

use std::sync::Arc;

use events::execute::{self, ExecuteError, Origin};
use events::job::Rejection;
use events::policy::LivePolicy;
use events::ports::{EventLogPort, Ids};
use events::{Actor, Consumer, Job, JobCommand, JobId, TraceParent};

/// Carries out commands on jobs, under the policy as it stands.
#[derive(Clone)]
pub(crate) struct Commands {
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) policy: Arc<LivePolicy>,
    pub(crate) consumer: Consumer,
}

impl Commands {
    /// Carries out a command in the worker's name.
    ///
    /// # Errors
    /// As of [`execute::job`].
    pub(crate) async fn carry_out(
        &self,
        id: JobId,
        command: &JobCommand,
        trace: Option<TraceParent>,
    ) -> Result<Option<Job>, ExecuteError<Rejection>> {
        self.carry_out_as(Actor::Worker(self.consumer.clone()), id, command, trace).await
    }

    /// Carries out a command in the name of `actor`.
    ///
    /// # Errors
    /// As of [`execute::job`].
    pub(crate) async fn carry_out_as(
        &self,
        actor: Actor,
        id: JobId,
        command: &JobCommand,
        trace: Option<TraceParent>,
    ) -> Result<Option<Job>, ExecuteError<Rejection>> {
        let origin = Origin { actor, trace };
        execute::job(self.log.as_ref(), &self.policy.get(), &origin, id, command, self.ids.jitter()).await
    }
}

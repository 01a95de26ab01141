//! The lease by which one worker process at a time does what must be done once for all.

use std::sync::Arc;
use std::time::Duration;

use events::Consumer;
use events::ports::{self, PortError, WorkStatePort};

/// The lease of one duty. The process that holds it leads.
pub(crate) struct LeaderLease {
    pub(crate) port: Arc<dyn WorkStatePort>,
    pub(crate) duty: ports::LeaderLease,
    pub(crate) holder: Consumer,
    /// How long the lease lasts if it is not taken again.
    pub(crate) lasting: Duration,
}

impl LeaderLease {
    /// Takes or renews the lease. Returns whether this process leads.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn take(&self) -> Result<bool, PortError> {
        self.port.take_leader_lease(self.duty, self.holder.as_str(), self.lasting).await
    }
}

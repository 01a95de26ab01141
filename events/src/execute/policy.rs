//! Commands on the policy.

use super::tries::{ExecuteError, Origin, Tries, unread};
use crate::commit::{Change, Commit};
use crate::guard::Lane;
use crate::log::envelope::Envelope;
use crate::policy::{self, InvalidPolicy, PolicySettings};
use crate::ports::EventLogPort;

/// Changes the policy, and returns its settings afterwards.
///
/// # Errors
/// Why the requested settings would not work, or why the commit was not made.
pub async fn policy(
    log: &dyn EventLogPort,
    origin: &Origin,
    requested: &PolicySettings,
) -> Result<PolicySettings, ExecuteError<InvalidPolicy>> {
    requested.check().map_err(ExecuteError::Rejected)?;
    let mut tries = Tries::default();
    loop {
        let loaded = log.load_policy().await.map_err(unread)?;
        let settings = || loaded.state.as_ref().map(|record| record.settings.clone()).unwrap_or_default();
        let Some(event) = policy::decide(loaded.state.as_ref(), requested) else {
            return Ok(settings());
        };
        let seq = loaded.state.as_ref().map_or(0, |record| record.version) + 1;
        let (actor, trace) = (origin.actor.clone(), origin.trace.clone());
        let event = Envelope { seq, at: loaded.now, actor, trace, event };
        let after = policy::evolve(&event).settings;
        let change = Change::Policy { before: loaded.state, event };
        let commit = Commit { change, next: None, guards: vec![], work: vec![], lane: Lane::Progress };
        match log.commit(commit).await {
            Ok(_) => return Ok(after),
            Err(error) => tries.failed(error)?,
        }
    }
}

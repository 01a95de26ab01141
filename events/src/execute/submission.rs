//! Commands on submissions.

use super::tries::{ExecuteError, Origin, Tries, unread};
use crate::commit::{Change, Commit, CommitError};
use crate::guard::Guard;
use crate::id::SubmissionId;
use crate::log::envelope::Envelope;
use crate::policy::{Limits, Policy};
use crate::ports::{EventLogPort, Loaded, PortError};
use crate::quota::Usage;
use crate::submission::{self, Submission, SubmissionCommand};

/// Carries out a command on a submission.
///
/// # Errors
/// A refusal of the domain, or why the commit was not made.
pub async fn submission(
    log: &dyn EventLogPort,
    policy: &Policy,
    origin: &Origin,
    id: SubmissionId,
    command: &SubmissionCommand,
) -> Result<(), ExecuteError<submission::Rejection>> {
    let limits = &policy.limits;
    let mut tries = Tries::default();
    loop {
        let (loaded, usage) = load(log, limits, id, command).await.map_err(unread)?;
        let context = submission::Context { now: loaded.now, limits, usage: &usage };
        let decided =
            submission::decide(id, loaded.state.as_ref(), command, &context).map_err(ExecuteError::Rejected)?;
        let submission::Decision::Happens { event, guards, lane } = decided else {
            return Ok(());
        };
        let seq = loaded.state.as_ref().map_or(0, |submission| submission.version) + 1;
        let (actor, trace) = (origin.actor.clone(), origin.trace.clone());
        let events = vec![Envelope { seq, at: loaded.now, actor, trace, event }];
        let change = Change::Submission { id, before: loaded.state, events };
        match log.commit(Commit { change, next: None, guards, work: vec![], lane }).await {
            Ok(_) => return Ok(()),
            Err(CommitError::GuardFailed(Guard::WithoutJobs(_))) => {
                return Err(ExecuteError::Rejected(submission::Rejection::InUse));
            }
            Err(CommitError::GuardFailed(guard @ Guard::IdempotencyKeyUnused { .. })) => {
                return Err(ExecuteError::GuardFailed(guard));
            }
            Err(error) => tries.failed(error)?,
        }
    }
}

/// Loads a submission and, if the decision depends on it, what its user has in use.
async fn load(
    log: &dyn EventLogPort,
    limits: &Limits,
    id: SubmissionId,
    command: &SubmissionCommand,
) -> Result<(Loaded<Submission>, Usage), PortError> {
    match command {
        SubmissionCommand::Create(manifest) => {
            let (submission, loaded) = futures::join!(log.load_submission(id), log.load_usage(&manifest.user, limits));
            Ok((submission?, loaded?.usage))
        }
        SubmissionCommand::Expire => Ok((log.load_submission(id).await?, Usage::default())),
    }
}

//! Jobs that completed, made by one commit each: for tests of what is read afterwards.

use adapters::ids::SystemIds;
use events::job::{ArtifactTotals, Tracking};
use events::ports::Ids;
use events::{Actor, Change, Commit, Envelope, JobEvent, JobId, JobSpec, Lane, Results, SubmissionId, Timestamp};

/// The commit of a job of a user's that completed with these results at a time, and its id.
///
/// # Panics
/// If the user has no name.
#[must_use]
pub fn finished(user: &str, submission: SubmissionId, at: Timestamp, results: Results) -> (JobId, Commit) {
    let id = SystemIds.job();
    let spec = JobSpec {
        submission,
        user: user.parse().expect("a name"),
        class: "small".parse().expect("a class"),
        config: "{}".to_owned(),
        idempotency: None,
    };
    let fence = SystemIds.fence();
    let started = JobEvent::Started {
        fence: fence.clone(),
        worker: "w-1".parse().expect("a name"),
        gpus: vec![],
        sandbox: "off".to_owned(),
        tracking: Tracking::Off,
    };
    let artifacts = ArtifactTotals::default();
    let completed = JobEvent::Completed { fence, results, artifacts, tracked: None };
    let story = [JobEvent::Enqueued { spec, dispatched: true }, started, completed];
    let envelope = |(seq, event)| Envelope { seq, at, actor: Actor::System("test".to_owned()), trace: None, event };
    let events = (1..).zip(story).map(envelope).collect();
    let change = Change::Job { id, before: None, events };
    (id, Commit { change, next: None, guards: vec![], work: vec![], lane: Lane::Progress })
}

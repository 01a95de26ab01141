//! Slots, read from the log by rules that know nothing of the projections.

use std::collections::{BTreeMap, BTreeSet};

use events::job::Waiting;
use events::{Job, JobId, JobState, Policy, UserId};
use projections::Keyspace;
use redis::aio::MultiplexedConnection;

/// How long a job may be held while its user has a slot free, in milliseconds.
const LONGEST_IDLE_MS: u64 = 1_000;

/// Each user's slots as the log goes on.
#[derive(Debug, Default)]
pub(crate) struct SlotWatch {
    users: BTreeMap<UserId, Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    in_use: BTreeSet<JobId>,
    held: BTreeSet<JobId>,
    /// Since when a job has been held while a slot was free, in milliseconds since the Unix epoch.
    idle_since: Option<u64>,
    /// The longest such time, and where in the log it ended.
    longest_idle: (u64, String),
}

impl SlotWatch {
    /// Takes in what an event made of a job, at a place in the log.
    ///
    /// # Panics
    /// If more slots are in use than there are.
    pub(crate) fn saw(&mut self, before: Option<&Job>, after: Option<&Job>, place: &str, policy: &Policy) {
        let Some(job) = after.or(before) else { return };
        let at_ms: u64 = place.split('-').next().and_then(|ms| ms.parse().ok()).expect("a place in a stream");
        let (user, limit) = (&job.spec.user, policy.limits.running);
        let slots = self.users.entry(user.clone()).or_default();
        if after.is_some_and(Job::holds_slot) {
            let is_new = slots.in_use.insert(job.id);
            let in_use = slots.in_use.len() as u64;
            assert!(!is_new || in_use <= limit, "{place}: job {} is number {in_use} of {limit} of {user}", job.id);
        } else {
            slots.in_use.remove(&job.id);
        }
        if after.is_some_and(is_held) {
            slots.held.insert(job.id);
        } else {
            slots.held.remove(&job.id);
        }
        let idle = !slots.held.is_empty() && (slots.in_use.len() as u64) < limit;
        let since = *slots.idle_since.get_or_insert(at_ms);
        let waited = at_ms.saturating_sub(since);
        if waited > slots.longest_idle.0 {
            slots.longest_idle = (waited, place.to_owned());
        }
        if !idle {
            slots.idle_since = None;
        }
    }
}

impl SlotWatch {
    /// No slot was free for long while a job was held.
    ///
    /// # Panics
    /// If one was.
    pub(crate) fn assert_none_idle(&self) {
        for (user, Slots { longest_idle: (ms, place), .. }) in &self.users {
            assert!(*ms <= LONGEST_IDLE_MS, "{place}: a job of {user} was held for {ms} ms while a slot was free");
        }
    }
}

fn is_held(job: &Job) -> bool {
    matches!(job.state, JobState::Pending(Waiting::Held))
}

/// A user's slots are those of the jobs that have a ticket or run, and nobody is held while one is free.
///
/// # Panics
/// If it is not so.
pub(crate) async fn check<'a>(
    redis: &mut MultiplexedConnection,
    keys: &Keyspace,
    policy: &Policy,
    jobs: impl Iterator<Item = &'a Job> + Clone,
) {
    let users: BTreeSet<&UserId> = jobs.clone().map(|job| &job.spec.user).collect();
    for user in users {
        let of_user = jobs.clone().filter(|job| job.spec.user == *user);
        let wanted: BTreeSet<String> =
            of_user.clone().filter(|job| job.holds_slot()).map(|job| job.id.to_string()).collect();
        let slots: BTreeSet<String> = redis::cmd("ZRANGE")
            .arg(keys.user_active(user))
            .arg(&["0", "-1"])
            .query_async(redis)
            .await
            .expect("the slots");
        assert_eq!(slots, wanted, "the slots of {user} are not those of the dispatched and the running jobs");
        let (held, in_use) = (of_user.clone().any(is_held), wanted.len() as u64);
        assert!(
            !held || in_use >= policy.limits.running,
            "jobs of {user} are held, and only {in_use} slots are in use"
        );
    }
}

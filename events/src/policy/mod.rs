//! What every role must agree on: leases, retries, resource classes, limits, retention.

mod classes;
mod invalid;
mod limits;
mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use classes::{ClassSettings, ResourceClass};
pub use invalid::InvalidPolicy;
pub use limits::{ConcurrencyPolicy, LimitSettings, Limits};
pub use settings::{PolicyEvent, PolicyRecord, PolicySettings, decide, evolve};

use crate::failure::{DeadLetterKind, LossCause};
use crate::id::ClassName;

/// The rules that decide a job's fate, the same for every process of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long a running job may go without a heartbeat.
    pub lease: Duration,
    /// How often a job is run again after the platform failed it.
    pub max_retries: u32,
    /// The waits before the first, the second and every later retry, each times jitter.
    pub retry_backoff: Vec<Duration>,
    /// What a user may have in use.
    pub limits: Limits,
    /// How long a job's records and files are kept after its end.
    pub retention: Duration,
    /// How long a submission is kept that no job ever was of.
    pub submission_ttl: Duration,
    /// The resource classes on offer.
    pub classes: BTreeMap<ClassName, ResourceClass>,
    /// The class of a job that names none.
    pub default_class: ClassName,
}

/// The least and the most that a wait is multiplied by.
const MIN_JITTER: f64 = 0.8;
const MAX_JITTER: f64 = 1.2;

/// A job that loses this many workers is taken to be what kills them.
pub const MAX_WORKERS_LOST: u32 = 3;

impl Policy {
    /// The resource class of that name.
    #[must_use]
    pub fn class(&self, name: &ClassName) -> Option<&ResourceClass> {
        self.classes.get(name)
    }

    /// No retry waits longer than this.
    #[must_use]
    pub fn longest_retry_wait(&self) -> Duration {
        self.retry_backoff.iter().max().copied().unwrap_or_default().mul_f64(MAX_JITTER)
    }

    /// What follows a lost lease, `losses` counting this one among those of its cause.
    ///
    /// A drained job goes back at once and pays nothing; one whose worker was unfit waits as before a first retry, and
    /// pays nothing either. Otherwise the wait before the n-th retry is the n-th of `retry_backoff` (1 s, 5 s, then 25
    /// s by default), times `jitter` (0.8 to 1.2), until three workers are lost or the platform has failed the job more
    /// often than `max_retries`.
    #[must_use]
    pub fn after_loss(&self, cause: LossCause, losses: u32, jitter: f64) -> AfterLoss {
        let limit = match cause {
            LossCause::Drain => return AfterLoss::Retry(Duration::ZERO),
            LossCause::WorkerUnfit => 1,
            LossCause::WorkerLost if losses >= MAX_WORKERS_LOST => {
                return AfterLoss::DeadLetter(DeadLetterKind::WorkerLost);
            }
            LossCause::Infrastructure if losses > self.max_retries => {
                return AfterLoss::DeadLetter(DeadLetterKind::Infrastructure);
            }
            LossCause::WorkerLost | LossCause::Infrastructure => losses,
        };
        let nth = usize::try_from(limit.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = self.retry_backoff.get(nth).or(self.retry_backoff.last()).copied().unwrap_or_default();
        AfterLoss::Retry(wait.mul_f64(jitter.clamp(MIN_JITTER, MAX_JITTER)))
    }
}

/// The policy as a process knows it, kept up to date beside its work.
#[derive(Debug, Default)]
pub struct LivePolicy(RwLock<Arc<Policy>>);

impl LivePolicy {
    /// The current policy. A decision reads it once, so that all of it follows one policy.
    #[must_use]
    pub fn get(&self) -> Arc<Policy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the policy.
    pub fn set(&self, policy: Policy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }
}

impl From<Policy> for LivePolicy {
    fn from(policy: Policy) -> Self {
        Self(RwLock::new(Arc::new(policy)))
    }
}

/// What to do with a job whose lease was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLoss {
    /// It is run again after this long.
    Retry(Duration),
    /// It is given up.
    DeadLetter(DeadLetterKind),
}

impl Default for Policy {
    fn default() -> Self {
        let class = |minutes: u64| ResourceClass::of(minutes * 60);
        let name = |text: &str| -> ClassName { text.parse().expect("a literal class name is valid") };
        Self {
            lease: Duration::from_secs(30),
            max_retries: 3,
            retry_backoff: [1, 5, 25].map(Duration::from_secs).to_vec(),
            limits: Limits::default(),
            retention: Duration::from_hours(90 * 24),
            submission_ttl: Duration::from_hours(30 * 24),
            classes: BTreeMap::from([(name("small"), class(30)), (name("medium"), class(60))]),
            default_class: name("small"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_1_5_25_seconds_with_jitter() {
        let policy = Policy { max_retries: 5, ..Policy::default() };
        let wait = |losses, jitter| policy.after_loss(LossCause::Infrastructure, losses, jitter);
        assert_eq!(wait(1, 1.0), AfterLoss::Retry(Duration::from_secs(1)));
        assert_eq!(wait(2, 1.0), AfterLoss::Retry(Duration::from_secs(5)));
        assert_eq!(wait(3, 1.0), AfterLoss::Retry(Duration::from_secs(25)));
        assert_eq!(wait(1, 9.0), AfterLoss::Retry(Duration::from_millis(1200)));
        assert_eq!(wait(3, 9.0), AfterLoss::Retry(policy.longest_retry_wait()));
        assert_eq!(wait(6, 1.0), AfterLoss::DeadLetter(DeadLetterKind::Infrastructure));
    }

    #[test]
    fn the_third_lost_worker_is_the_last() {
        let policy = Policy::default();
        assert!(matches!(policy.after_loss(LossCause::WorkerLost, 2, 1.0), AfterLoss::Retry(_)));
        let third = policy.after_loss(LossCause::WorkerLost, 3, 1.0);
        assert_eq!(third, AfterLoss::DeadLetter(DeadLetterKind::WorkerLost));
    }

    #[test]
    fn a_drain_costs_nothing_however_often() {
        let policy = Policy::default();
        assert_eq!(policy.after_loss(LossCause::Drain, 99, 1.0), AfterLoss::Retry(Duration::ZERO));
    }
}

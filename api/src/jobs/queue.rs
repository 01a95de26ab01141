//! What pending jobs wait for.

use std::sync::Arc;

use events::job::Waiting;
use events::ports::{EventLogPort, JobStatusPort, QueuePosition, SlotHolder};
use events::{ClassName, Job, JobState, LossCause, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::estimate::{seconds_to_start, whole_seconds};
use crate::answer::error::Error;
use crate::class_capacity::{ClassCapacities, ClassCapacity, Unfit};

/// Tells what pending jobs wait for.
pub(crate) struct Queues {
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) capacities: ClassCapacities,
}

impl Queues {
    /// Returns what each of these jobs waits for, in their order; `None` for a job that is not pending.
    pub(crate) async fn of(&self, jobs: &[Job]) -> Result<Vec<Option<QueueView>>, Error> {
        let waiting = |job: &Job| match job.state {
            JobState::Pending(waiting) => Some(waiting),
            JobState::Running
            | JobState::Completed(_)
            | JobState::Failed(_)
            | JobState::Cancelled(_)
            | JobState::DeadLettered(_) => None,
        };
        let positions = self.status.positions(jobs).await?;
        let delayed = jobs.iter().find(|job| matches!(waiting(job), Some(Waiting::Delayed(_))));
        let now = match delayed {
            Some(job) => self.log.load_job(job.id).await?.now,
            None => Timestamp::default(),
        };
        let mut queues = Vec::with_capacity(jobs.len());
        for (job, position) in jobs.iter().zip(positions) {
            let Some(waiting) = waiting(job) else {
                queues.push(None);
                continue;
            };
            let class = &job.spec.class;
            let capacity = self.capacities.of(class).await?;
            queues.push(Some(match waiting {
                Waiting::Held => QueueView::held(class, &capacity, position),
                Waiting::Dispatched(_) => QueueView::dispatched(class, &capacity, position),
                Waiting::Delayed(due) => QueueView::delayed(class, &capacity, due, now, job.last_loss),
            }));
        }
        Ok(queues)
    }
}

/// What a pending job waits for. The reason names only the most important cause.
#[derive(Serialize, ToSchema)]
#[schema(as = Queue)]
pub(crate) struct QueueView {
    /// The job's place in line, from 1. Null while it waits for your other jobs or for the time of its retry.
    #[schema(required)]
    position: Option<u64>,
    /// How many jobs of its class come first.
    #[schema(required)]
    ahead: Option<u64>,
    /// How many workers serve its class and take jobs.
    workers_alive: u64,
    /// An estimate of the seconds until it starts. Null if unknown.
    #[schema(required)]
    eta_seconds: Option<u64>,
    /// One sentence for people.
    #[schema(example = "next in line: waiting for a free worker of class small")]
    reason: String,
}

impl QueueView {
    /// The job waits for a slot of its user.
    fn held(class: &ClassName, capacity: &ClassCapacity, position: Option<QueuePosition>) -> Self {
        let (ahead, holder) = match position {
            Some(QueuePosition::Held { ahead, holder }) => (ahead, holder),
            Some(QueuePosition::Dispatched { .. }) | None => (0, None),
        };
        let mut reason = match holder {
            Some(SlotHolder::Running(job)) => format!("waiting for your own running job {job}"),
            Some(SlotHolder::Dispatched(job)) => format!("waiting for your own job {job}, which waits for a worker"),
            None => "it gets a slot at any moment".to_owned(),
        };
        if ahead > 0 {
            reason = format!("{reason}; {ahead} more of your own come first");
        }
        Self {
            position: None,
            ahead: None,
            workers_alive: capacity.workers,
            eta_seconds: None,
            reason: without_workers(class, capacity).unwrap_or(reason),
        }
    }

    /// The job waits for a worker.
    fn dispatched(class: &ClassName, capacity: &ClassCapacity, position: Option<QueuePosition>) -> Self {
        let ahead = match position {
            Some(QueuePosition::Dispatched { ahead }) => Some(ahead),
            Some(QueuePosition::Held { .. }) | None => None,
        };
        let reason = match ahead {
            Some(0) => format!("next in line: waiting for a free worker of class {class}"),
            Some(1) => format!("1 job of class {class} is ahead of you"),
            Some(many) => format!("{many} jobs of class {class} are ahead of you"),
            None => "a worker has just taken it".to_owned(),
        };
        // A job without a position was started after it was read, even if no worker is known.
        let without_workers = ahead.and_then(|_| without_workers(class, capacity));
        Self {
            position: ahead.map(|ahead| ahead + 1),
            ahead,
            workers_alive: capacity.workers,
            eta_seconds: ahead.map_or(Some(0), |ahead| seconds_to_start(ahead, capacity)),
            reason: without_workers.unwrap_or(reason),
        }
    }

    /// The job waits for the time of its retry.
    fn delayed(
        class: &ClassName,
        capacity: &ClassCapacity,
        due: Timestamp,
        now: Timestamp,
        last_loss: Option<LossCause>,
    ) -> Self {
        let seconds = whole_seconds((due - now).to_std().unwrap_or_default());
        let cause = match last_loss {
            Some(LossCause::WorkerLost) | None => "after a lost worker",
            Some(LossCause::Infrastructure) => "after a failure of the platform",
            Some(LossCause::Drain) => "after its worker was stopped",
            Some(LossCause::WorkerUnfit) => "on another worker, after one that can't set up jobs",
        };
        Self {
            position: None,
            ahead: None,
            workers_alive: capacity.workers,
            eta_seconds: (capacity.workers > 0).then_some(seconds),
            reason: without_workers(class, capacity).unwrap_or_else(|| format!("retry in {seconds} s {cause}")),
        }
    }
}

/// The reason that comes before all others: no worker takes jobs of the class.
fn without_workers(class: &ClassName, capacity: &ClassCapacity) -> Option<String> {
    let sick = |unfit: &Unfit| match unfit.others {
        0 => format!("worker {} is not taking jobs: {}", unfit.worker, unfit.why),
        others => format!("worker {} is not taking jobs: {}; {others} more take none either", unfit.worker, unfit.why),
    };
    let nobody = || capacity.unfit.as_ref().map_or_else(|| format!("no worker for class {class} is alive"), sick);
    (capacity.workers == 0).then(nobody)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CAPACITY: ClassCapacity =
        ClassCapacity { workers: 1, slots: 2, busy: 2, mean_run_s: Some(30.0), unfit: None };
    const NOBODY: ClassCapacity = ClassCapacity { workers: 0, slots: 0, busy: 0, mean_run_s: Some(30.0), unfit: None };

    fn small() -> ClassName {
        "small".parse().unwrap()
    }

    fn json(view: &QueueView) -> serde_json::Value {
        serde_json::to_value(view).unwrap()
    }

    #[test]
    fn a_place_in_line_is_told_in_one_sentence() {
        let shown =
            |ahead| json(&QueueView::dispatched(&small(), &CAPACITY, Some(QueuePosition::Dispatched { ahead })));
        let next = serde_json::json!({
            "position": 1, "ahead": 0, "workers_alive": 1, "eta_seconds": 15,
            "reason": "next in line: waiting for a free worker of class small",
        });
        assert_eq!(shown(0), next);
        assert_eq!(shown(1)["reason"], "1 job of class small is ahead of you");
        assert_eq!(shown(2)["reason"], "2 jobs of class small are ahead of you");
        assert_eq!((&shown(2)["position"], &shown(2)["eta_seconds"]), (&3.into(), &45.into()));
    }

    #[test]
    fn one_that_a_worker_has_taken_meanwhile_is_in_no_line() {
        for capacity in [CAPACITY, NOBODY] {
            let taken = QueueView::dispatched(&small(), &capacity, None);
            assert_eq!((taken.reason.as_str(), taken.eta_seconds), ("a worker has just taken it", Some(0)));
            assert_eq!((taken.position, taken.ahead), (None, None));
        }
    }

    #[test]
    fn that_nobody_serves_the_class_comes_before_all_else() {
        let now = Timestamp::default();
        for view in [
            QueueView::dispatched(&small(), &NOBODY, Some(QueuePosition::Dispatched { ahead: 3 })),
            QueueView::held(&small(), &NOBODY, None),
            QueueView::delayed(&small(), &NOBODY, now, now, None),
        ] {
            assert_eq!(view.reason, "no worker for class small is alive");
            assert_eq!((view.workers_alive, view.eta_seconds), (0, None));
        }
    }

    #[test]
    fn a_job_that_waits_for_a_worker_that_is_unfit_names_it() {
        let unfit = |others| Some(Unfit { worker: "gpu1-1".to_owned(), why: "its disk is full".to_owned(), others });
        let waiting = Some(QueuePosition::Dispatched { ahead: 0 });
        let reason = |unfit| QueueView::dispatched(&small(), &ClassCapacity { unfit, ..NOBODY }, waiting).reason;
        assert_eq!(reason(unfit(0)), "worker gpu1-1 is not taking jobs: its disk is full");
        assert!(reason(unfit(2)).ends_with("; 2 more take none either"));
        let healthy = QueueView::dispatched(&small(), &ClassCapacity { unfit: unfit(0), ..CAPACITY }, waiting).reason;
        assert!(healthy.starts_with("next in line"), "{healthy}");
    }

    #[test]
    fn a_held_job_names_the_one_that_it_waits_for() {
        let reason =
            |ahead, holder| QueueView::held(&small(), &CAPACITY, Some(QueuePosition::Held { ahead, holder })).reason;
        let id = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6";
        let (running, dispatched) =
            (SlotHolder::Running(id.parse().unwrap()), SlotHolder::Dispatched(id.parse().unwrap()));
        assert_eq!(reason(0, Some(running)), format!("waiting for your own running job {id}"));
        assert_eq!(reason(0, Some(dispatched)), format!("waiting for your own job {id}, which waits for a worker"));
        let behind = format!("waiting for your own running job {id}; 2 more of your own come first");
        assert_eq!(reason(2, Some(running)), behind);
        assert_eq!(reason(0, None), "it gets a slot at any moment");
        assert_eq!(QueueView::held(&small(), &CAPACITY, None).eta_seconds, None);
    }

    #[test]
    fn a_retry_tells_when_and_after_what() {
        let now = Timestamp::default();
        let delayed = |due, cause| QueueView::delayed(&small(), &CAPACITY, due, now, Some(cause));
        let (lost, broken) = (LossCause::WorkerLost, LossCause::Infrastructure);
        let soon = delayed(now + Duration::from_millis(3_200), lost);
        assert_eq!((soon.reason.as_str(), soon.eta_seconds), ("retry in 4 s after a lost worker", Some(4)));
        assert_eq!(delayed(now - Duration::from_secs(5), lost).reason, "retry in 0 s after a lost worker");
        assert_eq!(delayed(now, broken).reason, "retry in 0 s after a failure of the platform");
        assert_eq!(delayed(now, LossCause::Drain).reason, "retry in 0 s after its worker was stopped");
    }
}

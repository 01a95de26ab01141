//! The workers that serve each resource class, and how fast they are. The figures are at most about a second old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use events::ClassName;
use events::ports::{DurationsPort, PortError, SeenWorker, WorkersPort};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a reading stays fresh. Every poll of a waiting job asks for one, and a reading costs one step per worker.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The capacities of all classes. A reading older than [`GOOD_FOR`] is repeated at the next request.
pub(crate) struct ClassCapacities {
    workers: Arc<dyn WorkersPort>,
    durations: Arc<dyn DurationsPort>,
    known: Mutex<HashMap<ClassName, Known>>,
}

/// The workers that take the jobs of a class, and how long its runs took recently.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ClassCapacity {
    /// Live workers that serve the class and claim jobs.
    pub(crate) workers: u64,
    /// How many jobs they run at once.
    pub(crate) slots: u64,
    /// How many of these slots are in use, by jobs of any class.
    pub(crate) busy: u64,
    /// How long a run of the class takes on average; `None` if no run has ended recently.
    pub(crate) mean_run_s: Option<f64>,
    /// Workers of the class that can't set up jobs.
    pub(crate) unfit: Option<Unfit>,
}

/// A worker that can't set up jobs, and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) worker: String,
    pub(crate) why: String,
    pub(crate) others: u64,
}

struct Known {
    at: Instant,
    capacity: Result<ClassCapacity, PortError>,
}

impl ClassCapacities {
    /// Reads the capacities from these ports.
    pub(crate) fn new(workers: Arc<dyn WorkersPort>, durations: Arc<dyn DurationsPort>) -> Self {
        Self { workers, durations, known: Mutex::default() }
    }

    /// Returns the capacity of a class.
    pub(crate) async fn of(&self, class: &ClassName) -> Result<ClassCapacity, PortError> {
        self.at(class, Instant::now()).await
    }

    /// Returns the capacity of a class at a time. Concurrent callers wait for the same answer, even if it is a failure.
    async fn at(&self, class: &ClassName, now: Instant) -> Result<ClassCapacity, PortError> {
        let mut known = self.known.lock().await;
        if let Some(fresh) = known.get(class).filter(|known| now.saturating_duration_since(known.at) < GOOD_FOR) {
            return fresh.capacity.clone();
        }
        let capacity = self.read(class).await;
        known.insert(class.clone(), Known { at: now, capacity: capacity.clone() });
        capacity
    }

    async fn read(&self, class: &ClassName) -> Result<ClassCapacity, PortError> {
        let workers = self.workers.workers(std::slice::from_ref(class)).await?;
        let mut capacity =
            ClassCapacity { mean_run_s: mean_s(&self.durations.recent(class).await?), ..ClassCapacity::default() };
        for presence in workers.iter().filter_map(|SeenWorker { presence, .. }| presence.as_ref()) {
            if let Some(why) = presence.unfit.as_ref().filter(|_| presence.classes.contains(class)) {
                let (worker, why) = (presence.worker.to_string(), why.clone());
                capacity.unfit = Some(match capacity.unfit.take() {
                    None => Unfit { worker, why, others: 0 },
                    Some(unfit) => Unfit { others: unfit.others + 1, ..unfit },
                });
            }
            if presence.takes(class) {
                capacity.workers += 1;
                capacity.slots += presence.slots as u64;
                capacity.busy += presence.busy.min(presence.slots) as u64;
            }
        }
        Ok(capacity)
    }
}

fn mean_s(durations: &[Duration]) -> Option<f64> {
    let sum: f64 = durations.iter().map(Duration::as_secs_f64).sum();
    (!durations.is_empty()).then(|| sum / durations.len() as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use events::Consumer;
    use events::ports::Presence;

    use super::*;

    /// What a test wants to be there, and how often it was asked for.
    #[derive(Default)]
    struct There {
        workers: Vec<SeenWorker>,
        durations: Vec<Duration>,
        away: Option<PortError>,
        asked: AtomicU64,
    }

    #[async_trait]
    impl WorkersPort for There {
        async fn announce(&self, _: &Presence, _: Duration) -> Result<(), PortError> {
            Ok(())
        }

        async fn withdraw(&self, _: &Consumer) -> Result<(), PortError> {
            Ok(())
        }

        async fn workers(&self, _: &[ClassName]) -> Result<Vec<SeenWorker>, PortError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.away.clone().map_or_else(|| Ok(self.workers.clone()), Err)
        }

        async fn forget_dead(&self, _: &[ClassName]) -> Result<u64, PortError> {
            Ok(0)
        }
    }

    #[async_trait]
    impl DurationsPort for There {
        async fn note(&self, _: &ClassName, _: Duration) -> Result<(), PortError> {
            Ok(())
        }

        async fn recent(&self, _: &ClassName) -> Result<Vec<Duration>, PortError> {
            Ok(self.durations.clone())
        }
    }

    fn capacities(there: There) -> (Arc<There>, ClassCapacities) {
        let there = Arc::new(there);
        let capacities = ClassCapacities::new(
            Arc::clone(&there) as Arc<dyn WorkersPort>,
            Arc::clone(&there) as Arc<dyn DurationsPort>,
        );
        (there, capacities)
    }

    fn class(name: &str) -> ClassName {
        name.parse().unwrap()
    }

    fn worker(classes: &[&str], busy: usize, draining: bool) -> SeenWorker {
        let worker: Consumer = "w-1".parse().unwrap();
        let presence = Presence {
            worker: worker.clone(),
            host: String::new(),
            pid: 1,
            version: String::new(),
            classes: classes.iter().map(|name| class(name)).collect(),
            slots: 2,
            busy,
            draining,
            sandbox: String::new(),
            gpus: vec![],
            unfit: None,
        };
        SeenWorker { worker, presence: Some(presence), silent: Some(Duration::ZERO), tickets: 0 }
    }

    #[tokio::test]
    async fn a_class_has_the_workers_that_are_alive_serve_it_and_still_claim() {
        let silent = SeenWorker { presence: None, silent: None, ..worker(&["small"], 1, false) };
        let workers = vec![
            worker(&["small", "medium"], 1, false),
            worker(&["small"], 3, false),
            worker(&["medium"], 1, false),
            worker(&["small"], 1, true),
            silent,
        ];
        let durations = vec![Duration::from_secs(10), Duration::from_secs(40)];
        let (_, capacities) = capacities(There { workers, durations, ..There::default() });
        let small = ClassCapacity { workers: 2, slots: 4, busy: 3, mean_run_s: Some(25.0), unfit: None };
        assert_eq!(capacities.of(&class("small")).await, Ok(small));
        assert_eq!(capacities.of(&class("large")).await.map(|capacity| capacity.workers), Ok(0));
    }

    #[tokio::test]
    async fn many_who_ask_within_a_second_cost_one_read_of_each_class() {
        let (there, capacities) = capacities(There::default());
        let (small, now) = (class("small"), Instant::now());
        let asked = || there.asked.load(Ordering::Relaxed);
        for ms in [0, 1, 999] {
            assert_eq!(capacities.at(&small, now + Duration::from_millis(ms)).await, Ok(ClassCapacity::default()));
        }
        assert_eq!(asked(), 1);
        assert!(capacities.at(&class("medium"), now).await.is_ok());
        assert!(capacities.at(&small, now + GOOD_FOR).await.is_ok());
        assert_eq!(asked(), 3);
    }

    #[tokio::test]
    async fn a_failure_is_everybodys_who_asks_within_a_second() {
        let away = PortError::Unavailable("away".into());
        let (there, capacities) = capacities(There { away: Some(away.clone()), ..There::default() });
        let now = Instant::now();
        assert_eq!(capacities.at(&class("small"), now).await, Err(away.clone()));
        assert_eq!(capacities.at(&class("small"), now).await, Err(away));
        assert_eq!(there.asked.load(Ordering::Relaxed), 1);
    }
}

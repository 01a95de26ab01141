//! Gives each step and each service the ports it names. The only place that knows them all.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use events::JobId;
use events::job::Tracking;
use events::policy::LivePolicy;
use events::ports;
use tokio::sync::broadcast;

use crate::commands::Commands;
use crate::config::{Ports, WorkerConfig};
use crate::job::artifacts::ArtifactCollector;
use crate::job::claim::Claimer;
use crate::job::execute::Executor;
use crate::job::heartbeat::Heartbeats;
use crate::job::judge::Judge;
use crate::job::life::JobLife;
use crate::job::prepare::Preparer;
use crate::job::record::EndRecorder;
use crate::job::start::Starter;
use crate::log::closer::LogCloser;
use crate::packages::Packages;
use crate::recovery::crash_recovery::CrashRecovery;
use crate::recovery::leave::Leaver;
use crate::served_classes::ServedClasses;
use crate::services::dispatcher::Dispatcher;
use crate::services::expirer::{self, Expirer, ExpirerPorts};
use crate::services::fitness::Fitness;
use crate::services::leader_lease::LeaderLease;
use crate::services::nudges;
use crate::services::presence::Announcer;
use crate::services::reaper::Reaper;
use crate::services::reconciler::{self, Reconciler, ReconcilerPorts};
use crate::services::self_test::SelfTest;
use crate::stop::Stop;
use crate::tracking::{self, Recorder, Settler, Tracker};

/// How many nudges may wait for a run to hear them. A run that misses some looks at its job.
const NUDGES_WAITING: usize = 64;

/// What the parts of one worker process are made of.
pub(crate) struct Assembly {
    config: WorkerConfig,
    ports: Ports,
    policy: Arc<LivePolicy>,
    /// The directory of this process.
    directory: PathBuf,
    stop: Stop,
    /// How many slots are in use.
    busy: Arc<AtomicUsize>,
    /// Jobs that somebody nudged about.
    nudged: broadcast::Sender<JobId>,
    tracker: Option<Arc<Tracker>>,
    self_test: Arc<SelfTest>,
}

impl Assembly {
    pub(crate) fn new(
        config: WorkerConfig,
        ports: Ports,
        policy: Arc<LivePolicy>,
        fitness: Arc<Fitness>,
        directory: PathBuf,
        stop: Stop,
    ) -> Self {
        let tracker = |tracking| Arc::new(Tracker::new(tracking, Arc::clone(&ports.status)));
        let busy = Arc::<AtomicUsize>::default();
        let self_test = SelfTest {
            fitness,
            sandbox: Arc::clone(&config.sandbox),
            python: config.python.clone(),
            work_root: config.work_root.clone(),
            directory: directory.clone(),
            consumer: config.consumer.clone(),
            workers: Arc::clone(&ports.workers),
            ids: Arc::clone(&ports.ids),
            keeps_environments: config.installer.is_some(),
            busy: Arc::clone(&busy),
            restored: tokio::sync::Mutex::default(),
        };
        Self {
            busy,
            nudged: broadcast::Sender::new(NUDGES_WAITING),
            tracker: config.tracking.clone().map(tracker),
            self_test: Arc::new(self_test),
            config,
            ports,
            policy,
            directory,
            stop,
        }
    }

    fn commands(&self) -> Commands {
        Commands {
            log: Arc::clone(&self.ports.log),
            ids: Arc::clone(&self.ports.ids),
            policy: Arc::clone(&self.policy),
            consumer: self.config.consumer.clone(),
        }
    }

    fn classes(&self) -> ServedClasses {
        ServedClasses::new(self.config.classes.clone(), Arc::clone(&self.policy))
    }

    fn leader_lease(&self, duty: ports::LeaderLease, lasting: Duration) -> LeaderLease {
        let port = Arc::clone(&self.ports.work_state);
        LeaderLease { port, duty, holder: self.config.consumer.clone(), lasting }
    }

    pub(crate) fn self_test(&self) -> Arc<SelfTest> {
        Arc::clone(&self.self_test)
    }

    pub(crate) fn claimer(&self) -> Claimer {
        Claimer {
            slots: self.config.slots,
            drain_timeout: self.config.drain_timeout,
            consumer: self.config.consumer.clone(),
            classes: self.classes(),
            gpus: self.config.gpus.clone(),
            sandbox: Arc::clone(&self.config.sandbox),
            queue: Arc::clone(&self.ports.queue),
            status: Arc::clone(&self.ports.status),
            ids: Arc::clone(&self.ports.ids),
            nudged: self.nudged.clone(),
            busy: Arc::clone(&self.busy),
            self_test: self.self_test(),
            life: self.life(),
            stop: self.stop.clone(),
        }
    }

    fn life(&self) -> JobLife {
        JobLife {
            starter: Starter {
                commands: self.commands(),
                queue: Arc::clone(&self.ports.queue),
                status: Arc::clone(&self.ports.status),
                sandbox: self.config.sandbox.to_string(),
                tracking: self.config.tracking.as_ref().map_or_else(Tracking::default, |tracking| tracking.recorded),
                stop: self.stop.clone(),
            },
            preparer: Preparer {
                status: Arc::clone(&self.ports.status),
                storage: Arc::clone(&self.ports.storage),
                sandbox: Arc::clone(&self.config.sandbox),
                ids: Arc::clone(&self.ports.ids),
            },
            executor: self.executor(),
            judge: Judge { sandbox: Arc::clone(&self.config.sandbox) },
            collector: ArtifactCollector {
                port: Arc::clone(&self.ports.artifacts),
                limits: self.config.artifacts,
                budget: self.config.storage_budget,
                ids: Arc::clone(&self.ports.ids),
                stop: self.stop.clone(),
            },
            log_closer: LogCloser {
                budget: self.config.storage_budget.unwrap_or_default(),
                ids: Arc::clone(&self.ports.ids),
                stop: self.stop.clone(),
            },
            recorder: EndRecorder {
                commands: self.commands(),
                status: Arc::clone(&self.ports.status),
                durations: Arc::clone(&self.ports.durations),
                tracker: self.tracker.clone(),
                directory: self.directory.clone(),
                stop: self.stop.clone(),
            },
            heartbeats: Heartbeats {
                queue: Arc::clone(&self.ports.queue),
                consumer: self.config.consumer.clone(),
                nudged: self.nudged.clone(),
            },
            self_test: self.self_test(),
            progress: Arc::clone(&self.ports.progress),
            policy: Arc::clone(&self.policy),
            directory: self.directory.clone(),
            stop: self.stop.clone(),
        }
    }

    fn executor(&self) -> Executor {
        let packages = self.config.installer.clone().map(|installer| Packages {
            installer,
            sandbox: Arc::clone(&self.config.sandbox),
            python: self.config.python.clone(),
            work_root: self.config.work_root.clone(),
            directory: self.directory.clone(),
            graces: self.config.graces,
            stop: self.stop.clone(),
        });
        Executor {
            sandbox: Arc::clone(&self.config.sandbox),
            python: self.config.python.clone(),
            variables: self.config.variables.clone(),
            graces: self.config.graces,
            packages,
            logs: Arc::clone(&self.ports.logs),
            live_log: Arc::clone(&self.ports.live_log),
            progress: Arc::clone(&self.ports.progress),
            consumer: self.config.consumer.clone(),
            stop: self.stop.clone(),
        }
    }

    pub(crate) fn dispatcher(&self) -> Dispatcher {
        Dispatcher { commands: self.commands(), queue: Arc::clone(&self.ports.queue), classes: self.classes() }
    }

    pub(crate) fn reaper(&self) -> Reaper {
        Reaper {
            log: Arc::clone(&self.ports.log),
            queue: Arc::clone(&self.ports.queue),
            logs: Arc::clone(&self.ports.logs),
            workers: Arc::clone(&self.ports.workers),
            ids: Arc::clone(&self.ports.ids),
            policy: Arc::clone(&self.policy),
            classes: self.classes(),
        }
    }

    pub(crate) fn reconciler(&self) -> impl Future<Output = ()> + use<> {
        let ports = ReconcilerPorts {
            log: Arc::clone(&self.ports.log),
            queue: Arc::clone(&self.ports.queue),
            work_state: Arc::clone(&self.ports.work_state),
            ids: Arc::clone(&self.ports.ids),
        };
        let interval = self.config.reconcile_interval;
        let lease = self.leader_lease(ports::LeaderLease::Reconciling, interval * 3);
        reconciler::run(Reconciler::new(ports, Arc::clone(&self.policy)), lease, interval)
    }

    pub(crate) fn expirer(&self) -> impl Future<Output = ()> + use<> {
        let ports = ExpirerPorts {
            log: Arc::clone(&self.ports.log),
            records: Arc::clone(&self.ports.records),
            storage: Arc::clone(&self.ports.storage),
            logs: Arc::clone(&self.ports.logs),
            artifacts: Arc::clone(&self.ports.artifacts),
            ids: Arc::clone(&self.ports.ids),
        };
        let interval = self.config.expire_interval;
        let lease = self.leader_lease(ports::LeaderLease::Expiring, interval * 3);
        expirer::run(Expirer::new(ports, Arc::clone(&self.policy)), lease, interval)
    }

    pub(crate) fn announcer(&self) -> Announcer {
        Announcer {
            workers: Arc::clone(&self.ports.workers),
            consumer: self.config.consumer.clone(),
            host: self.config.host.clone(),
            classes: self.classes(),
            slots: self.config.slots,
            busy: Arc::clone(&self.busy),
            sandbox: self.config.sandbox.to_string(),
            gpus: self.config.gpus.clone(),
            fitness: Arc::clone(&self.self_test.fitness),
            stop: self.stop.clone(),
        }
    }

    pub(crate) fn nudges(&self) -> impl Future<Output = Infallible> + use<> {
        nudges::run(Arc::clone(&self.ports.nudges), Arc::clone(&self.ports.ids), self.nudged.clone())
    }

    /// Records ended runs in the tracker, if there is one.
    pub(crate) fn recorder(&self) -> impl Future<Output = ()> + use<> {
        let recorder = self.tracker.clone().map(|tracker| Recorder {
            settler: Arc::new(Settler { tracker, commands: self.commands() }),
            records: Arc::clone(&self.ports.records),
            notes: Arc::clone(&self.ports.tracking_notes),
            ids: Arc::clone(&self.ports.ids),
            lease: self.leader_lease(ports::LeaderLease::Tracking, tracking::LEASE),
        });
        async move {
            if let Some(recorder) = recorder {
                recorder.run().await;
            }
        }
    }

    pub(crate) fn crash_recovery(&self) -> CrashRecovery {
        CrashRecovery {
            work_root: self.config.work_root.clone(),
            sandbox: Arc::clone(&self.config.sandbox),
            commands: self.commands(),
            queue: Arc::clone(&self.ports.queue),
            status: Arc::clone(&self.ports.status),
            logs: Arc::clone(&self.ports.logs),
            classes: self.classes(),
            stop: self.stop.clone(),
        }
    }

    pub(crate) fn leaver(&self) -> Leaver {
        Leaver {
            workers: Arc::clone(&self.ports.workers),
            queue: Arc::clone(&self.ports.queue),
            consumer: self.config.consumer.clone(),
            classes: self.classes(),
        }
    }
}

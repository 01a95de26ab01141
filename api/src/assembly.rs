//! Gives each handler the ports it names. Only this file knows all of them.

use std::sync::Arc;

use axum::extract::FromRef;
use events::policy::LivePolicy;
use events::ports::{
    ArchiveLimits, ArtifactPort, DurationsPort, EventFeedPort, EventLogPort, Ids, JobStatusPort, LeaderboardPort,
    LogFeedPort, LogPort, NudgePort, ProgressPort, StoragePort, TrackingNotesPort, UploadLimits, UploadsPort,
    WorkersPort,
};
use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::class_capacity::ClassCapacities;
use crate::health::{Readiness, RenderMetrics, WorkerState};
use crate::jobs::cancel::Cancellations;
use crate::jobs::create::NewJobs;
use crate::jobs::queue::Queues;
use crate::jobs::show::JobDetails;
use crate::jobs::stream::StatusStreams;
use crate::leaderboard::settings::BoardMetrics;
use crate::leaderboard::{BoardReads, Leaderboard};
use crate::logs::follower::LogStreams;
use crate::me::Usages;
use crate::request::auth::Tokens;
use crate::request::idempotency::IdempotencyKeys;
use crate::results::MlflowLinks;
use crate::submissions::create::Uploads;
use crate::submissions::place::Places;

/// What the API is made of.
pub struct Api {
    /// The outside world.
    pub ports: Ports,
    /// The rules that all roles share.
    pub policy: Arc<LivePolicy>,
    /// The known users.
    pub tokens: Tokens,
    /// The limits of an upload.
    pub upload_limits: UploadLimits,
    /// The limits of an archive in an upload.
    pub archive_limits: ArchiveLimits,
    /// The metrics that people compare.
    pub board_metrics: BoardMetrics,
    /// The addresses of `MLflow`; `None` if tracking is off.
    pub mlflow: Option<MlflowLinks>,
    /// The answer to `GET /metrics`; `None` if metrics have a port of their own.
    pub metrics_text: Option<RenderMetrics>,
    /// The state of the worker in this process; `None` if there is no worker.
    pub worker: Option<WorkerState>,
    /// Ends answers that have no end of their own. [`serve`](crate::serve) takes the same token.
    pub stop: CancellationToken,
}

/// The ports of the API.
pub struct Ports {
    /// The event log: takes commands, and has the history of each job.
    pub log: Arc<dyn EventLogPort>,
    /// The events of jobs as they are appended.
    pub feed: Arc<dyn EventFeedPort>,
    /// Messages that ask a worker to look at its job at once.
    pub nudges: Arc<dyn NudgePort>,
    /// Jobs and submissions.
    pub status: Arc<dyn JobStatusPort>,
    /// The live workers.
    pub workers: Arc<dyn WorkersPort>,
    /// How long recent runs took.
    pub durations: Arc<dyn DurationsPort>,
    /// The files of submissions.
    pub storage: Arc<dyn StoragePort>,
    /// The logs of runs.
    pub logs: Arc<dyn LogPort>,
    /// The files that runs left.
    pub artifacts: Arc<dyn ArtifactPort>,
    /// The output of runs as they print it.
    pub log_feed: Arc<dyn LogFeedPort>,
    /// The progress of runs.
    pub progress: Arc<dyn ProgressPort>,
    /// Why the tracker does not have a run yet.
    pub tracking_notes: Arc<dyn TrackingNotesPort>,
    /// The uploads in flight on all hosts.
    pub uploads: Arc<dyn UploadsPort>,
    /// The boards.
    pub leaderboard: Arc<dyn LeaderboardPort>,
    /// Ids and randomness.
    pub ids: Arc<dyn Ids>,
}

/// The state of the router: the ports that handlers use alone, and the contexts of handlers that use several.
#[derive(Clone, FromRef)]
pub(crate) struct Contexts {
    tokens: Arc<Tokens>,
    log: Arc<dyn EventLogPort>,
    status: Arc<dyn JobStatusPort>,
    storage: Arc<dyn StoragePort>,
    logs: Arc<dyn LogPort>,
    progress: Arc<dyn ProgressPort>,
    mlflow: Option<Arc<MlflowLinks>>,
    readiness: Arc<Readiness>,
    usages: Arc<Usages>,
    uploads: Arc<Uploads>,
    new_jobs: Arc<NewJobs>,
    cancellations: Arc<Cancellations>,
    job_details: Arc<JobDetails>,
    queues: Arc<Queues>,
    status_streams: Arc<StatusStreams>,
    log_streams: Arc<LogStreams>,
    artifacts: Arc<Artifacts>,
    leaderboard: Arc<Leaderboard>,
}

impl Contexts {
    pub(crate) fn of(api: Api) -> Self {
        let Api { ports, policy, tokens, upload_limits, archive_limits, board_metrics, mlflow, worker, stop, .. } = api;
        let Ports { log, feed, status, storage, logs, progress, ids, .. } = ports;
        let mlflow = mlflow.map(Arc::new);
        let keys = Arc::new(IdempotencyKeys::new(Arc::clone(&status)));
        let capacities = ClassCapacities::new(ports.workers, ports.durations);
        let queues = Arc::new(Queues { log: Arc::clone(&log), status: Arc::clone(&status), capacities });
        Self {
            readiness: Arc::new(Readiness { status: Arc::clone(&status), storage: Arc::clone(&storage), worker }),
            usages: Arc::new(Usages {
                log: Arc::clone(&log),
                uploads: Arc::clone(&ports.uploads),
                policy: Arc::clone(&policy),
            }),
            uploads: Arc::new(Uploads {
                storage: Arc::clone(&storage),
                places: Arc::new(Places { port: ports.uploads, policy: Arc::clone(&policy), keys: Arc::clone(&keys) }),
                log: Arc::clone(&log),
                ids: Arc::clone(&ids),
                policy: Arc::clone(&policy),
                keys: Arc::clone(&keys),
                upload_limits,
                archive_limits,
            }),
            new_jobs: Arc::new(NewJobs {
                log: Arc::clone(&log),
                status: Arc::clone(&status),
                ids: Arc::clone(&ids),
                policy: Arc::clone(&policy),
                keys,
            }),
            cancellations: Arc::new(Cancellations { log: Arc::clone(&log), ids, policy, nudges: ports.nudges }),
            job_details: Arc::new(JobDetails {
                status: Arc::clone(&status),
                queues: Arc::clone(&queues),
                progress: Arc::clone(&progress),
                tracking_notes: ports.tracking_notes,
            }),
            queues,
            status_streams: Arc::new(StatusStreams {
                feed: Arc::clone(&feed),
                log: Arc::clone(&log),
                status: Arc::clone(&status),
                progress: Arc::clone(&progress),
                stop: stop.clone(),
            }),
            log_streams: Arc::new(LogStreams {
                feed,
                log_feed: ports.log_feed,
                logs: Arc::clone(&logs),
                status: Arc::clone(&status),
                stop,
            }),
            artifacts: Arc::new(Artifacts::new(ports.artifacts)),
            leaderboard: Arc::new(Leaderboard {
                port: ports.leaderboard,
                metrics: board_metrics,
                reads: BoardReads::default(),
                mlflow: mlflow.clone(),
            }),
            tokens: Arc::new(tokens),
            log,
            status,
            storage,
            logs,
            progress,
            mlflow,
        }
    }
}

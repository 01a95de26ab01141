//! The HTTP interface: who may ask, what may be asked, and how the answers look.
//!
//! Handlers know the domain and its ports, never an adapter. Each noun has a file, every refusal goes through
//! `error.rs`, and everything that is awaited from a client is bounded in bytes and in time.

mod answer;
mod artifacts;
mod class_capacity;
mod health;
mod http;
mod jobs;
mod leaderboard;
mod logs;
mod me;
mod request;
mod submissions;
pub mod terminal;
mod ui;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use events::policy::LivePolicy;
use events::ports::{
    ArchiveLimits, EventFeedPort, EventLogPort, Ids, JobStatusPort, LeaderboardPort, LogFeedPort, LogPort, NudgePort,
    ProgressPort, StoragePort, TrackingNotesPort, UploadLimits,
};
use tokio_util::sync::CancellationToken;

pub use artifacts::Artifacts;
pub use class_capacity::ClassCapacities;
pub use http::connections::Connections;
pub use http::serve::serve;
pub use jobs::results::MlflowLinks;
pub use leaderboard::{BoardMetrics, BoardMetricsError, BoardReads};
pub use request::auth::{Role, TokenError, Tokens};
pub use request::idempotency::InFlight;

/// Renders all metrics in Prometheus' text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// All that the handlers work with, wired once.
pub struct Api {
    /// Where commands are committed and histories are read.
    pub log: Arc<dyn EventLogPort>,
    /// Where the events of jobs are heard of as they come.
    pub feed: Arc<dyn EventFeedPort>,
    /// Tells a job's worker to look at it at once.
    pub nudges: Arc<dyn NudgePort>,
    /// Where jobs and submissions are read.
    pub status: Arc<dyn JobStatusPort>,
    /// The workers that would run pending jobs.
    pub capacities: ClassCapacities,
    /// Where uploads go.
    pub storage: Arc<dyn StoragePort>,
    /// Where the logs of runs are read.
    pub logs: Arc<dyn LogPort>,
    /// Where the files that jobs left are read.
    pub artifacts: Artifacts,
    /// Where what runs print is heard of as it comes.
    pub log_feed: Arc<dyn LogFeedPort>,
    /// Where is read how far runs are.
    pub progress: Arc<dyn ProgressPort>,
    /// Why runs are not in the tracker yet.
    pub tracking_notes: Arc<dyn TrackingNotesPort>,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
    /// The rules that all roles share.
    pub policy: Arc<LivePolicy>,
    /// Who may ask.
    pub tokens: Tokens,
    /// The idempotency keys whose requests are in flight.
    pub in_flight: InFlight,
    /// What an upload may hold.
    pub upload_limits: UploadLimits,
    /// What an archive in an upload may hold.
    pub archive_limits: ArchiveLimits,
    /// Where the boards are read.
    pub leaderboard: Arc<dyn LeaderboardPort>,
    /// Which metrics people compare.
    pub board_metrics: BoardMetrics,
    /// The turns of those who filter boards.
    pub board_reads: BoardReads,
    /// Where runs are shown; `None` if tracking is off.
    pub mlflow: Option<MlflowLinks>,
    /// What `GET /metrics` answers; `None` if metrics have a port of their own.
    pub metrics_text: Option<RenderMetrics>,
    /// Why the worker of this process takes no jobs, if there is one and it takes none.
    pub worker: Option<WorkerState>,
    /// Ends what would go on for as long as its client likes; the same that [`serve`] is given.
    pub stop: CancellationToken,
}

/// Tells why a worker takes no jobs; none if it takes some.
pub type WorkerState = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Every route of the interface.
pub fn router(api: Api) -> Router {
    let metrics_text = api.metrics_text.clone();
    let api = Arc::new(api);
    let routes = Router::new()
        .route("/", get(ui::home::home))
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route(
            "/submissions",
            // The form counts its own bytes and names the file that is too large.
            post(submissions::create).layer(DefaultBodyLimit::disable()).get(submissions::list),
        )
        .route("/submissions/{id}", get(submissions::show))
        .route("/jobs", post(jobs::create).get(jobs::list))
        .route("/me", get(me::me))
        .route("/jobs/{id}", get(jobs::show))
        .route("/jobs/{id}/status", get(jobs::status))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/jobs/{id}/events", get(jobs::history::history))
        .route("/jobs/{id}/logs", get(logs::logs))
        .route("/jobs/{id}/logs/stream", get(logs::stream))
        .route("/jobs/{id}/stream", get(jobs::stream))
        .route("/jobs/{id}/curves", get(jobs::curves))
        .route("/jobs/{id}/results", get(jobs::results::results))
        .route("/leaderboard", get(leaderboard::leaderboard))
        .route("/leaderboard.csv", get(leaderboard::leaderboard_csv))
        .route("/leaderboard/metrics", get(leaderboard::metrics))
        .route("/leaderboard/history", get(leaderboard::history))
        .route("/jobs/{id}/artifacts", get(artifacts::list))
        .route("/jobs/{id}/artifacts.tar.gz", get(artifacts::archive))
        .route("/jobs/{id}/artifacts/{*path}", get(artifacts::file))
        .route("/jobs/{id}/visualizations", get(artifacts::pictures))
        .route("/jobs/{id}/visualizations/{filename}", get(artifacts::picture))
        .with_state(Arc::clone(&api));
    let routes = match metrics_text {
        Some(render) => routes.merge(metrics_router(render)),
        None => routes,
    };
    routes
        .fallback(answer::error::no_such_route)
        .method_not_allowed_fallback(answer::error::no_such_method)
        .layer(middleware::map_request(request::body::patient))
        .layer(middleware::from_fn_with_state(api, http::trace::observe))
}

/// `GET /metrics` alone, for a port of its own and for roles that serve nothing else.
pub fn metrics_router(render: RenderMetrics) -> Router {
    Router::new().route("/metrics", get(health::metrics).with_state(render))
}

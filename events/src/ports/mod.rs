//! What the domain asks of the outside world. Adapters implement these; `cli` wires them once.

mod error;
mod event_log;
pub(crate) mod files;
mod identity;
mod ids;
pub(crate) mod live;
pub(crate) mod queue;
pub(crate) mod reads;
pub(crate) mod tracker;

pub use error::PortError;
pub use event_log::{EventLogPort, HistoryEntry, Loaded, LoadedUsage};
pub use files::artifacts::{ArtifactPort, ArtifactReader, StagedArtifact, StagedArtifacts};
pub use files::file_name::{FileName, Suffixes};
pub use files::log::{LogPort, LogWriter};
pub use files::storage::{
    ArchiveContents, ArchiveLimits, DiskReserve, Published, Room, StagedFile, StagedUpload, StorageError, StoragePort,
    UploadLimits,
};
pub use identity::{Identity, IdentityError, IdentityPort, SignIn, SignInPort};
pub use ids::Ids;
pub use live::event_feed::{EventFeed, EventFeedPort, Heard};
pub use live::live_log::{LiveLogPort, MAX_CHUNK_BYTES, Shown};
pub use live::log_feed::{LogChunk, LogFeed, LogFeedPort, Printed};
pub use live::nudge::{NudgePort, Nudges};
pub use live::progress::{Curve, Progress, ProgressPort, ProgressReport, Stage, StageName, StageSeen, Stated};
pub use live::uploads::{ReserveAsk, Reserved, UploadInFlight, UploadsPort};
pub use queue::dead_letters::{DeadLetterPort, DeadLetterQuery, Quarantined};
pub use queue::durations::DurationsPort;
pub use queue::job_queue::{Claim, Heartbeat, JobQueuePort, Lease, QueueDepth, TicketReader, Unstarted};
pub use queue::permits::Permits;
pub use queue::work_state::{LeaderLease, OpenJobs, Tickets, WorkStatePort};
pub use queue::workers::{GpuPresence, GpuState, Presence, SeenWorker, WorkersPort};
pub use reads::job_status::{
    FoundResults, JobPage, JobQuery, JobStatusPort, Owned, QueuePosition, SlotHolder, SubmissionPage, SubmissionQuery,
    Unreadable,
};
pub use reads::leaderboard::{Board, BoardQuery, Boards, Leader, LeaderboardPort, Leaders};
pub use reads::page::PageCursor;
pub use reads::records::{OldJobs, OldSubmissions, RecordsPort, UntrackedJobs};
pub use tracker::tracking::{OpenRun, RunEnd, RunRecord, RunStatus, TrackingError, TrackingPort};
pub use tracker::tracking_notes::{NoteOf, TrackingNotesPort, WhyUntracked};

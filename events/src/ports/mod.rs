//! What the domain asks of the outside world. Adapters implement these; `cli` wires them once.

mod artifacts;
mod dead_letters;
mod durations;
mod event_feed;
mod event_log;
mod file_name;
mod ids;
mod job_queue;
mod job_status;
mod leaderboard;
mod live_log;
mod log;
mod log_feed;
mod nudge;
mod page;
mod permits;
mod progress;
mod records;
mod storage;
mod tracking;
mod tracking_notes;
mod work_state;
mod workers;

use crate::commit::CommitError;

pub use artifacts::{ArtifactPort, ArtifactReader, StagedArtifact, StagedArtifacts};
pub use dead_letters::{DeadLetterPort, DeadLetterQuery, Quarantined};
pub use durations::DurationsPort;
pub use event_feed::{EventFeed, EventFeedPort, Heard};
pub use event_log::{EventLogPort, HistoryEntry, Loaded};
pub use file_name::{FileName, Suffixes};
pub use ids::Ids;
pub use job_queue::{Claim, Heartbeat, JobQueuePort, Lease, QueueDepth, TicketReader, Unstarted};
pub use job_status::{
    FoundResults, JobPage, JobQuery, JobStatusPort, Owned, QueuePosition, SlotHolder, SubmissionPage, SubmissionQuery,
    Unreadable,
};
pub use leaderboard::{Board, BoardQuery, Boards, Leader, LeaderboardPort, Leaders};
pub use live_log::{LiveLogPort, MAX_CHUNK_BYTES, Shown};
pub use log::{LogPort, LogWriter};
pub use log_feed::{LogChunk, LogFeed, LogFeedPort, Printed};
pub use nudge::{NudgePort, Nudges};
pub use page::PageCursor;
pub use permits::Permits;
pub use progress::{Curve, Progress, ProgressPort, Report, Stage, StageName, StageSeen, Stated};
pub use records::{OldJobs, OldSubmissions, RecordsPort, UntrackedJobs};
pub use storage::{
    ArchiveContents, ArchiveLimits, DiskReserve, Published, Room, StagedFile, StagedUpload, StorageError, StoragePort,
    UploadLimits,
};
pub use tracking::{OpenRun, RunEnd, RunRecord, RunStatus, TrackingError, TrackingPort};
pub use tracking_notes::{NoteOf, TrackingNotesPort, WhyUntracked};
pub use work_state::{OpenJobs, Tickets, Turn, WorkStatePort};
pub use workers::{GpuPresence, GpuState, Presence, SeenWorker, WorkersPort};

impl From<PortError> for CommitError {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Unavailable(what) => Self::Unavailable(what),
            PortError::Corrupt(what) => Self::Defect(what),
        }
    }
}

/// Why the outside world did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// It is away; asking again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// What it holds can't be read: a defect, or somebody else's hand.
    #[error("{0}")]
    Corrupt(String),
}

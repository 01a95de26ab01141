//! The ends that are next, read in bounded parts from those that wait.

use std::collections::VecDeque;
use std::time::Duration;

use events::job::Completed;
use events::ports::{PageCursor, PortError, RecordsPort};
use events::{Job, JobId, JobState};
use tokio::time::Instant;

use super::backlog::{AT_ONCE, Backlog, End};

/// From how many bytes on an end is large, and from how many files: each may be in folders of its own, which are
/// listed.
const LARGE_BYTES: u64 = 64 << 20;
const LARGE_FILES: u64 = 100;
/// How many jobs are read at a time, and how often in one go.
const PAGE: usize = 100;
const PAGES: usize = 20;
const READ_EVERY: Duration = Duration::from_secs(1);

/// How much an end may have to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

impl Size {
    fn of(job: &Job) -> Self {
        match &job.state {
            JobState::Completed(Completed { artifacts, .. })
                if artifacts.bytes < LARGE_BYTES && artifacts.count < LARGE_FILES =>
            {
                Self::Small
            }
            // Of what did not complete it is not known.
            _ => Self::Large,
        }
    }
}

/// The ends that are next.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Those that have not failed before, in the order in which they came.
    fresh: VecDeque<(End, Size)>,
    /// The others, by the time since when they may be tried again.
    failed: VecDeque<(End, Size)>,
    read_at: Option<Instant>,
    /// Where reading goes on.
    read_up_to: Option<PageCursor<JobId>>,
}

impl Line {
    /// Whether there are so few that more are to be read: at once where there are none, else no more than once a
    /// second.
    pub(super) fn is_short(&self) -> bool {
        let is_empty = self.fresh.is_empty() && self.failed.is_empty();
        is_empty || self.fresh.len() < AT_ONCE && self.read_at.is_none_or(|at| at.elapsed() >= READ_EVERY)
    }

    pub(super) fn pop(&mut self) -> Option<(End, Size)> {
        self.fresh.pop_front().or_else(|| self.failed.pop_front())
    }

    pub(super) fn clear(&mut self) {
        self.fresh.clear();
        self.failed.clear();
    }

    /// Reads ends of these sizes that are due, those first that have not failed, in the order in which they came; a
    /// bounded part of them, and the next part when there was nothing new in it.
    pub(super) async fn read(
        &mut self,
        records: &dyn RecordsPort,
        backlog: &Backlog,
        sizes: &[Size],
    ) -> Result<(), PortError> {
        let (mut fresh, mut failed) = (VecDeque::new(), Vec::new());
        self.read_at = Some(Instant::now());
        for _ in 0..PAGES {
            let page = records.untracked(self.read_up_to, PAGE).await?;
            let now = Instant::now();
            for job in page.jobs.iter().filter(|job| sizes.contains(&Size::of(job))) {
                let ends = job.untracked.iter().map(|end| (job.id, end.fence.clone()));
                for end in ends.filter(|end| backlog.is_due(end, now)) {
                    match backlog.due(&end) {
                        Some(due) => failed.push((due, (end, Size::of(job)))),
                        None => fresh.push_back((end, Size::of(job))),
                    }
                }
            }
            self.read_up_to = page.next;
            if self.read_up_to.is_none() || fresh.len() >= AT_ONCE {
                break;
            }
        }
        if !fresh.is_empty() {
            // What is begun now leaves the beginning; only where that is full of failures is it passed over.
            self.read_up_to = None;
        }
        failed.sort_by_key(|(due, _)| *due);
        self.fresh = fresh;
        self.failed = failed.into_iter().map(|(_, end)| end).collect();
        Ok(())
    }
}

//! The ends that are next, read in bounded parts from those that wait.

use std::collections::VecDeque;

use events::ports::{PageCursor, PortError, RecordsPort};
use events::{Job, JobId, JobState};
use tokio::time::Instant;

use super::backlog::{AT_ONCE, Backlog, End};

/// From how many bytes on an end is large.
const LARGE_BYTES: u64 = 64 << 20;
/// How many jobs are read at a time, and how often in one go.
const PAGE: usize = 100;
const PAGES: usize = 20;

/// How much an end has to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

impl Size {
    fn of(job: &Job) -> Self {
        match &job.state {
            JobState::Completed(completed) if completed.artifacts.bytes >= LARGE_BYTES => Self::Large,
            _ => Self::Small,
        }
    }
}

/// The ends that are next.
#[derive(Debug, Default)]
pub(super) struct Line {
    next: VecDeque<(End, Size)>,
    /// Where reading goes on.
    read_up_to: Option<PageCursor<JobId>>,
}

impl Line {
    /// Whether there are so few that more are to be read.
    pub(super) fn is_short(&self) -> bool {
        self.next.len() < AT_ONCE
    }

    pub(super) fn pop(&mut self) -> Option<(End, Size)> {
        self.next.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.next.clear();
    }

    /// Reads ends of these sizes that are due, those first that have not failed, in the order in which they came; a bounded
    /// part of them, and the next part when there was nothing new in it.
    pub(super) async fn read(
        &mut self,
        records: &dyn RecordsPort,
        backlog: &Backlog,
        sizes: &[Size],
    ) -> Result<(), PortError> {
        let (mut fresh, mut failed) = (VecDeque::new(), VecDeque::new());
        for _ in 0..PAGES {
            let page = records.untracked(self.read_up_to, PAGE).await?;
            let now = Instant::now();
            for job in page.jobs.iter().filter(|job| sizes.contains(&Size::of(job))) {
                let ends = job.untracked.iter().map(|end| (job.id, end.fence.clone()));
                for end in ends.filter(|end| backlog.is_due(end, now)) {
                    let seen = if backlog.has_failed(&end) { &mut failed } else { &mut fresh };
                    seen.push_back((end, Size::of(job)));
                }
            }
            self.read_up_to = page.next;
            if self.read_up_to.is_none() || fresh.len() >= AT_ONCE {
                break;
            }
        }
        if !fresh.is_empty() {
            self.read_up_to = None;
        }
        fresh.extend(failed);
        self.next = fresh;
        Ok(())
    }
}

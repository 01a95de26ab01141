//! Where a reader is in the logs of a job's attempts, and what to read next. No I/O.

use crate::client::http::model::{Job, LogChunk};

/// Empty reads after which an attempt that is over counts as read, though the server never said
/// "complete": a worker that was lost may have left its log without an end.
const PATIENCE: u32 = 8;
/// A piece of at least this many bytes was probably cut by the server's limit: go on at once.
const FULL_PIECE_BYTES: u64 = 32 * 1024;

/// A position in the log of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogCursor {
    /// 0 before the first attempt.
    attempt: u32,
    offset: u64,
    finished: bool,
    empty_reads: u32,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Read {
        attempt: u32,
        offset: u64,
    },
    /// Nothing to read until the job goes on.
    Wait,
    /// The job is over and its log is read.
    End,
}

/// What a piece brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    pub(crate) text: &'a str,
    /// Bytes before `text` that the server no longer had.
    pub(crate) missing_bytes: u64,
    /// Whether more is there at once.
    pub(crate) more: bool,
}

impl LogCursor {
    /// Before the job's first byte.
    pub(crate) fn start() -> Self {
        Self::at(0, 0)
    }

    pub(crate) fn at(attempt: u32, offset: u64) -> Self {
        Self { attempt, offset, finished: false, empty_reads: 0 }
    }

    /// The cursor after a piece that was read by other means, such as the last lines.
    pub(crate) fn after(chunk: &LogChunk) -> Self {
        Self { finished: chunk.complete, ..Self::at(chunk.attempt, chunk.next_offset) }
    }

    /// Where it is, as a log's stream takes it.
    pub(crate) fn event_id(&self) -> String {
        format!("{}:{}", self.attempt, self.offset)
    }

    /// Goes to the log of a later attempt.
    pub(crate) fn turn_to(&mut self, attempt: u32, offset: u64) {
        *self = Self::at(attempt, offset);
    }

    /// Knows that the log of this attempt has nothing more.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// What to read, given how the job stood *before* the read. Attempts are read in order, each to its end.
    pub(crate) fn need(&mut self, job: &Job) -> Need {
        let given_up = self.empty_reads >= PATIENCE && (job.status.is_over() || job.attempt() > self.attempt);
        if self.finished || given_up || self.attempt == 0 {
            if job.attempt() > self.attempt {
                *self = Self::at(self.attempt + 1, 0);
            } else if job.status.is_over() {
                return Need::End;
            } else {
                return Need::Wait;
            }
        }
        Need::Read { attempt: self.attempt, offset: self.offset }
    }

    /// Takes in the answer to that read.
    pub(crate) fn take<'a>(&mut self, chunk: &'a LogChunk) -> Step<'a> {
        let nothing = Step { text: "", missing_bytes: 0, more: false };
        if chunk.attempt > self.attempt {
            *self = Self::at(chunk.attempt, 0);
        }
        if chunk.attempt < self.attempt {
            return nothing;
        }
        self.finished = chunk.complete;
        // Never backwards: what was shown is not shown again.
        if chunk.next_offset <= self.offset {
            self.empty_reads += 1;
            return nothing;
        }
        let step = Step {
            text: &chunk.logs,
            missing_bytes: chunk.offset.saturating_sub(self.offset),
            more: !chunk.complete && chunk.next_offset - chunk.offset.min(chunk.next_offset) >= FULL_PIECE_BYTES,
        };
        self.offset = chunk.next_offset;
        self.empty_reads = 0;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(status: &str, attempt: u32) -> Job {
        serde_json::from_value(serde_json::json!({
            "job_id": "j", "submission_id": "s", "user_id": "u", "status": status,
            "created_at": "2026-01-01T00:00:00Z", "attempt": attempt,
        }))
        .unwrap()
    }

    fn chunk(attempt: u32, offset: u64, logs: &str, complete: bool) -> LogChunk {
        LogChunk { attempt, offset, next_offset: offset + logs.len() as u64, logs: logs.into(), complete }
    }

    fn read(attempt: u32, offset: u64) -> Need {
        Need::Read { attempt, offset }
    }

    #[test]
    fn follows_one_attempt_to_its_end() {
        let mut cursor = LogCursor::start();
        assert_eq!(cursor.need(&job("pending", 0)), Need::Wait);
        assert_eq!(cursor.need(&job("running", 1)), read(1, 0));
        assert_eq!(cursor.take(&chunk(1, 0, "hello\n", false)).text, "hello\n");
        assert_eq!(cursor.need(&job("running", 1)), read(1, 6));
        assert_eq!(cursor.take(&chunk(1, 6, "", false)).text, "");
        assert_eq!(cursor.need(&job("completed", 1)), read(1, 6), "the log may still be behind the job");
        assert_eq!(cursor.take(&chunk(1, 6, "bye\n", true)).text, "bye\n");
        assert_eq!(cursor.need(&job("completed", 1)), Need::End);
    }

    #[test]
    fn the_end_of_an_attempt_is_not_the_end_of_the_job() {
        let mut cursor = LogCursor::at(1, 0);
        cursor.take(&chunk(1, 0, "a", true));
        assert_eq!(cursor.need(&job("running", 1)), Need::Wait, "seen before the job was");
        assert_eq!(cursor.need(&job("pending", 1)), Need::Wait);
        assert_eq!(cursor.need(&job("running", 2)), read(2, 0));
        cursor.take(&chunk(2, 0, "b", true));
        assert_eq!(cursor.need(&job("failed", 2)), Need::End);
    }

    #[test]
    fn every_attempt_is_read_in_order() {
        let mut cursor = LogCursor::start();
        assert_eq!(cursor.need(&job("failed", 2)), read(1, 0));
        cursor.take(&chunk(1, 0, "", true));
        assert_eq!(cursor.need(&job("failed", 2)), read(2, 0));
    }

    #[test]
    fn a_job_that_never_started_has_nothing_to_read() {
        assert_eq!(LogCursor::start().need(&job("cancelled", 0)), Need::End);
    }

    #[test]
    fn nothing_is_shown_twice_and_what_is_missing_is_told() {
        let mut cursor = LogCursor::at(1, 10);
        assert_eq!(cursor.take(&chunk(1, 0, "0123456789", false)).text, "");
        assert_eq!(cursor.take(&chunk(0, 0, "another attempt's text", true)).text, "");
        let step_chunk = chunk(1, 50, "tail", false);
        let step = cursor.take(&step_chunk);
        assert_eq!((step.text, step.missing_bytes), ("tail", 40));
        assert_eq!(cursor.need(&job("running", 1)), read(1, 54));
    }

    #[test]
    fn a_log_without_an_end_is_given_up_only_once_its_attempt_is_over() {
        let mut cursor = LogCursor::at(1, 0);
        for _ in 0..PATIENCE {
            assert_eq!(cursor.need(&job("failed", 1)), read(1, 0));
            cursor.take(&chunk(1, 0, "", false));
        }
        assert_eq!(cursor.need(&job("running", 1)), read(1, 0), "a silent job is waited for");
        assert_eq!(cursor.need(&job("failed", 1)), Need::End);
        assert_eq!(cursor.need(&job("running", 2)), read(2, 0));
    }

    #[test]
    fn a_full_piece_is_followed_at_once() {
        let mut cursor = LogCursor::at(1, 0);
        let long = "x".repeat(40_000);
        assert!(cursor.take(&chunk(1, 0, &long, false)).more);
        assert!(!cursor.take(&chunk(1, 40_000, "x", false)).more);
    }
}

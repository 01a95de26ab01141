//! One client's way through the logs of a job's attempts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use bytes::Bytes;
use events::ports::{EventFeed, EventFeedPort, JobStatusPort, LogChunk, LogFeed, LogFeedPort, LogPort, Printed};
use events::{Fence, Job, JobId};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::lines::{Excerpt, Lines, View};
use super::place::Place;
use super::{fence_of, messages, storage_error};
use crate::answer::error::Error;

/// The most bytes of a log that one message shows.
const MESSAGE_BYTES: usize = 64 << 10;

/// How long to wait before asking Redis or the storage again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long nothing may be heard before the log is looked at: its worker may be unable to show what it writes.
const SILENCE: Duration = Duration::from_secs(2);

/// Streams the logs of jobs.
pub(crate) struct LogStreams {
    pub(crate) feed: Arc<dyn EventFeedPort>,
    pub(crate) log_feed: Arc<dyn LogFeedPort>,
    pub(crate) logs: Arc<dyn LogPort>,
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) stop: CancellationToken,
}

impl LogStreams {
    /// Reads a job as it is now.
    pub(super) async fn read_job(&self, id: JobId) -> Result<Job, Error> {
        let found = self.status.job(id).await?;
        found.ok_or_else(|| Error::Unknown("there is no such job".to_owned()))
    }
}

/// One client's way through the logs of a job's attempts. It holds no more than one message, and goes no further than
/// its client takes.
pub(super) struct Follower {
    pub(super) streams: Arc<LogStreams>,
    /// As it was read last.
    pub(super) job: Job,
    events: Box<dyn EventFeed>,
    /// 0 before the first.
    attempt: u32,
    /// Of this attempt.
    fence: Option<Fence>,
    lines: Lines,
    view: View,
    /// Of this attempt; `None` once it prints nothing more.
    printed: Option<Box<dyn LogFeed>>,
    /// The newest chunk behind a gap that the log has not filled yet.
    ahead: Option<Arc<LogChunk>>,
    unsent: VecDeque<Event>,
    phase: Phase,
}

enum Phase {
    /// Something happened to the job: it has to be read.
    Unsure,
    /// The log may have more.
    Behind,
    /// The feeds tell what comes next.
    Abreast,
    /// The end was sent.
    Over,
}

impl Follower {
    pub(super) fn new(streams: Arc<LogStreams>, events: Box<dyn EventFeed>, job: Job, view: View) -> Self {
        Self {
            streams,
            job,
            events,
            attempt: 0,
            fence: None,
            lines: Lines::from(0, view),
            view,
            printed: None,
            ahead: None,
            unsent: VecDeque::new(),
            phase: Phase::Behind,
        }
    }

    /// Returns the next event to send; `None` at the end of the stream, even if the job goes on.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let stop = self.streams.stop.clone();
        loop {
            if let Some(event) = self.unsent.pop_front() {
                return Some(event);
            }
            if let Phase::Over = self.phase {
                return None;
            }
            let gone_on = tokio::select! {
                () = stop.cancelled() => return None,
                gone_on = self.go_on() => gone_on,
            };
            match gone_on {
                Ok(()) => {}
                Err(Error::Unavailable(error) | Error::Storage(error)) => {
                    tracing::debug!(job = %self.job.id, error, "a log stream waits");
                    tokio::select! { () = stop.cancelled() => return None, () = sleep(PAUSE) => {} }
                }
                // The records of the job are deleted. The next request gets a 404.
                Err(Error::Unknown(_)) => return None,
                Err(error) => {
                    tracing::error!(job = %self.job.id, ?error, "a log stream can't go on");
                    return None;
                }
            }
        }
    }

    async fn go_on(&mut self) -> Result<(), Error> {
        match self.phase {
            Phase::Unsure => self.look_at_job().await,
            Phase::Behind => self.read_on().await,
            Phase::Abreast => {
                self.hear().await;
                Ok(())
            }
            Phase::Over => Ok(()),
        }
    }

    async fn look_at_job(&mut self) -> Result<(), Error> {
        self.job = self.streams.read_job(self.job.id).await?;
        if fence_of(&self.job, self.attempt) != self.fence.as_ref() {
            // Redis came back without a part of what this client knows.
            return self.begin(Place { attempt: self.job.attempt(), offset: 0 }).await;
        }
        self.phase = Phase::Behind;
        Ok(())
    }

    /// Waits for news.
    async fn hear(&mut self) {
        tokio::select! {
            _ = self.events.next() => self.phase = Phase::Unsure,
            printed = next(&mut self.printed) => match printed {
                Printed::Chunk(chunk) => self.take(chunk),
                Printed::Missed => self.phase = Phase::Behind,
            },
            () = sleep(SILENCE), if self.fence.is_some() => self.phase = Phase::Behind,
        }
    }

    fn take(&mut self, chunk: Arc<LogChunk>) {
        let at = self.lines.end();
        if chunk.offset > at {
            self.ahead = Some(chunk);
            self.phase = Phase::Behind;
        } else if let Some(unseen) = usize::try_from(at - chunk.offset).ok().and_then(|seen| chunk.bytes.get(seen..)) {
            let excerpt = self.lines.take(unseen);
            self.show(excerpt);
        }
    }

    /// Reads what the log has more.
    async fn read_on(&mut self) -> Result<(), Error> {
        let bytes = match &self.fence {
            Some(fence) => self
                .streams
                .logs
                .read(self.job.id, fence, self.lines.end(), MESSAGE_BYTES)
                .await
                .map_err(storage_error)?,
            None => Bytes::new(),
        };
        let full = bytes.len() == MESSAGE_BYTES;
        // Messages end with a whole line if possible.
        let whole_lines = bytes.iter().rposition(|byte| *byte == b'\n').filter(|_| full);
        let excerpt = self.lines.take(&bytes[..whole_lines.map_or(bytes.len(), |at| at + 1)]);
        self.show(excerpt);
        let is_over = self.attempt < self.job.attempt() || self.job.is_terminal();
        if full || is_over && !bytes.is_empty() {
            return Ok(());
        }
        if is_over { self.close_attempt().await } else { self.catch_up().await }
    }

    /// Takes the chunk that was ahead of the log. Where this host has no such log at all there is nothing to wait for.
    async fn catch_up(&mut self) -> Result<(), Error> {
        self.phase = Phase::Abreast;
        let (Some(chunk), Some(fence)) = (self.ahead.take(), &self.fence) else { return Ok(()) };
        if chunk.offset <= self.lines.end() {
            self.take(chunk);
        } else if self.streams.logs.len(self.job.id, fence).await.map_err(storage_error)?.is_none() {
            self.lines = Lines::from(chunk.offset, self.view);
            self.take(chunk);
        }
        Ok(())
    }

    /// Goes on after the last byte of an attempt: to the next one, or to the job's end.
    async fn close_attempt(&mut self) -> Result<(), Error> {
        let excerpt = self.lines.finish();
        self.show(excerpt);
        if self.attempt < self.job.attempt() {
            return self.begin(Place { attempt: self.attempt + 1, offset: 0 }).await;
        }
        self.unsent.push_back(messages::end(&self.job));
        self.phase = Phase::Over;
        Ok(())
    }

    /// Turns to a place and says so; before the first attempt there is nothing to say.
    pub(super) async fn begin(&mut self, place: Place) -> Result<(), Error> {
        self.turn_to(place).await?;
        if place.attempt > 0 {
            self.unsent.push_back(messages::attempt(place));
        }
        Ok(())
    }

    /// Goes on from a place.
    pub(super) async fn turn_to(&mut self, place: Place) -> Result<(), Error> {
        let fence = fence_of(&self.job, place.attempt).cloned();
        let is_over = place.attempt < self.job.attempt() || self.job.is_terminal();
        // Before the log is read: what is printed between the two is heard of.
        self.printed = match &fence {
            Some(fence) if !is_over => Some(self.streams.log_feed.subscribe(self.job.id, fence).await?),
            _ => None,
        };
        self.attempt = place.attempt;
        self.fence = fence;
        self.lines = Lines::from(place.offset, self.view);
        self.ahead = None;
        self.phase = Phase::Behind;
        Ok(())
    }

    fn show(&mut self, excerpt: Option<Excerpt>) {
        self.unsent.extend(excerpt.map(|excerpt| messages::log(self.attempt, &excerpt)));
    }
}

/// Returns the next output; never returns if there is no run that prints.
async fn next(printed: &mut Option<Box<dyn LogFeed>>) -> Printed {
    match printed {
        Some(printed) => printed.next().await,
        None => std::future::pending().await,
    }
}

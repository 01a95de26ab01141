//! Follows a job to its end: its status by polling, and the log of every attempt by its stream, or by polling where the
//! server has none.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::jobs::report;
use crate::client::http::error::ClientError;
use crate::client::http::model::{AttemptBegins, Job, LogChunk, Status, parse_job};
use crate::client::http::pace::{Pace, retry_delay};
use crate::client::http::request::Client;
use crate::client::output::human;
use crate::client::output::print::{Outcome, Output, print_json};
use crate::client::output::screen::{LogView, Screen};
use crate::client::watch::log_cursor::{LogCursor, Need};
use streamed::{LogStream, Message, Opened};

/// How long a server may be away before watching is given up; a restart or a short network cut fits in.
const LONGEST_ABSENCE: Duration = Duration::from_mins(5);

/// How often in a row a stream may be cut without having brought anything: something between here and the server may
/// not let it through, and then the log is polled.
const MOST_CUTS: u32 = 3;

/// How often the status of a job that is over is read before its silent stream counts as cut.
const LOOKS_AFTER_END: u32 = 30;

/// Shows a job's status and its log from the beginning to its end, then its outcome.
pub(crate) async fn follow(
    client: &Client,
    job_id: &str,
    output: Output,
    server: Server,
) -> Result<Outcome, ClientError> {
    let mut screen = Screen::new(output, LogView::Safe);
    let document = Watch::new(client, job_id, &mut screen, LogCursor::start(), server).until_end().await?;
    let job = parse_job(&document)?;
    match output {
        Output::Json => print_json(&document)?,
        Output::Human => screen.result(&report::ending(&job, screen.has_shown_log()))?,
    }
    Ok(match job.status {
        Status::Completed => Outcome::Done,
        Status::Pending | Status::Running | Status::Failed | Status::Cancelled | Status::Unknown => Outcome::JobFailed,
    })
}

/// What is known of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// Nothing: if it does not answer the first request, there is nothing to wait for.
    Unknown,
    /// It has answered: it is waited for if it is away.
    Answered,
}

/// A job being watched.
pub(crate) struct Watch<'a> {
    client: &'a Client,
    job_id: &'a str,
    screen: &'a mut Screen,
    cursor: LogCursor,
    log: Log,
    /// The newest attempt whose beginning is told.
    announced: u32,
    /// Whether the job was over when it was first read. Then nothing of it begins now.
    was_over: Option<bool>,
    server: Server,
    longest_absence: Duration,
}

/// How the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    Streamed,
    Polled,
}

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The job is over and its log is read.
    WithJob,
    /// Something broke.
    Cut,
    /// The server has no such stream.
    Unknown,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        client: &'a Client,
        job_id: &'a str,
        screen: &'a mut Screen,
        from: LogCursor,
        server: Server,
    ) -> Self {
        Self {
            client,
            job_id,
            screen,
            cursor: from,
            log: Log::Streamed,
            announced: 0,
            was_over: None,
            server,
            longest_absence: LONGEST_ABSENCE,
        }
    }

    #[cfg(test)]
    pub(super) fn with_longest_absence(mut self, longest: Duration) -> Self {
        self.longest_absence = longest;
        self
    }

    /// Shows status and log until the job is over and its log is read; returns the job as it then is.
    pub(crate) async fn until_end(mut self) -> Result<Value, ClientError> {
        let job_path = format!("/jobs/{}", self.job_id);
        let mut pace = Pace::new();
        let mut cuts = 0;
        loop {
            let document: Value = self.get(&job_path, &[]).await?;
            let job = parse_job(&document)?;
            self.was_over.get_or_insert(job.status.is_over());
            self.screen.status(&job);
            if self.log == Log::Streamed && self.cursor.need(&job) != Need::End {
                let before = self.cursor;
                match self.stream_log().await? {
                    Ended::WithJob => {}
                    Ended::Unknown => self.log = Log::Polled,
                    Ended::Cut => {
                        cuts = if self.cursor == before { cuts + 1 } else { 0 };
                        if cuts > MOST_CUTS {
                            self.log = Log::Polled;
                        }
                        sleep(retry_delay(cuts)).await;
                    }
                }
                continue;
            }
            loop {
                let (attempt, offset) = match self.cursor.need(&job) {
                    Need::Read { attempt, offset } => (attempt, offset),
                    Need::Wait => break,
                    Need::End => {
                        self.screen.finish();
                        return Ok(document);
                    }
                };
                self.announce(attempt, &job);
                let read = self.read_log(attempt, offset).await?;
                if read.news {
                    pace.news();
                }
                if !read.more {
                    break;
                }
            }
            sleep(pace.next_delay()).await;
        }
    }

    /// Shows the log as it comes, until the job is over or the stream is cut.
    async fn stream_log(&mut self) -> Result<Ended, ClientError> {
        let from = self.cursor.event_id();
        let mut stream = match LogStream::open(self.client, self.job_id, self.screen.is_raw(), &from).await? {
            Opened::Stream(stream) => stream,
            Opened::Unknown => return Ok(Ended::Unknown),
            // The next read of the job waits for the server.
            Opened::NotNow => return Ok(Ended::Cut),
        };
        let mut looks_after_end = 0;
        loop {
            match stream.next().await? {
                Message::Log(chunk) => {
                    self.look_at_attempt(chunk.attempt).await?;
                    self.show(&chunk)?;
                }
                Message::Attempt(AttemptBegins { attempt, offset }) => {
                    self.cursor.turn_to(attempt, offset);
                    self.look_at_attempt(attempt).await?;
                }
                Message::End => {
                    self.cursor.finish();
                    return Ok(Ended::WithJob);
                }
                Message::Silence => {
                    looks_after_end += u32::from(self.show_status().await?);
                    if looks_after_end == LOOKS_AFTER_END {
                        return Ok(Ended::Cut);
                    }
                    continue;
                }
                Message::Cut => return Ok(Ended::Cut),
                Message::Unknown => {}
            }
            looks_after_end = 0;
        }
    }

    /// Shows the job's status, such as its place in the queue, and returns whether the job is over. `false` if the
    /// server is away: the stream will notice that.
    async fn show_status(&mut self) -> Result<bool, ClientError> {
        let Some(job) = self.look().await? else { return Ok(false) };
        self.screen.status(&job);
        Ok(job.status.is_over())
    }

    /// Reads the job once. `None` if the server is away.
    async fn look(&self) -> Result<Option<Job>, ClientError> {
        match self.client.get::<Value>(&format!("/jobs/{}", self.job_id), &[]).await {
            Ok(document) => parse_job(&document).map(Some),
            Err(ClientError::Away { .. } | ClientError::Limited { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells that an attempt begins whose number the stream gave.
    async fn look_at_attempt(&mut self, attempt: u32) -> Result<(), ClientError> {
        if attempt > self.announced
            && let Some(job) = self.look().await?
        {
            self.announce(attempt, &job);
        }
        Ok(())
    }

    /// Tells once that an attempt begins, and where it runs.
    fn announce(&mut self, attempt: u32, job: &Job) {
        if attempt <= self.announced {
            return;
        }
        self.announced = attempt;
        if job.attempt() == attempt && self.was_over == Some(false) {
            self.screen.begun(job);
            self.screen.status(job);
        }
        if attempt > 1 && !self.screen.has_begun(attempt) {
            self.screen.notice(&format!("attempt {attempt} begins"));
        }
    }

    /// Shows a piece of the log.
    fn show(&mut self, chunk: &LogChunk) -> Result<Read, ClientError> {
        let step = self.cursor.take(chunk);
        if step.missing_bytes > 0 {
            self.screen.notice(&format!("({} of the log are no longer there)", human::size(step.missing_bytes)));
        }
        self.screen.log(chunk.attempt, step.text)?;
        // The last piece is news as well: the job's end follows at once.
        Ok(Read { news: !step.text.is_empty() || chunk.complete, more: step.more })
    }

    async fn read_log(&mut self, attempt: u32, offset: u64) -> Result<Read, ClientError> {
        let mut query = vec![("attempt", attempt.to_string()), ("offset", offset.to_string())];
        query.extend(self.screen.is_raw().then(|| ("raw", "true".to_owned())));
        let chunk: LogChunk = self.get(&format!("/jobs/{}/logs", self.job_id), &query).await?;
        self.show(&chunk)
    }

    /// Asks until there is an answer. The job does not depend on us or on the API, so a server that has answered and is
    /// away now is waited for; what it refuses is final.
    async fn get<T: DeserializeOwned>(&mut self, path: &str, query: &[(&str, String)]) -> Result<T, ClientError> {
        let mut away_since = None;
        let mut tries = 0;
        loop {
            let error = match self.client.get(path, query).await {
                Ok(answer) => {
                    self.server = Server::Answered;
                    if away_since.is_some() {
                        self.screen.notice("the server answers again");
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if self.server == Server::Unknown {
                return Err(error);
            }
            let retry_after = match &error {
                ClientError::Away { sentence, retry_after } | ClientError::Limited { sentence, retry_after, .. } => {
                    if away_since.is_none() {
                        self.screen.notice(&format!("waiting for the server ({})", sentence.trim_end_matches('.')));
                    }
                    *retry_after
                }
                _ => return Err(error),
            };
            let since = *away_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.longest_absence {
                let advice = format!("The job goes on: leadersboard jobs show {}", self.job_id);
                return Err(error.with_advice(&advice));
            }
            let delay = retry_delay(tries).max(retry_after.unwrap_or_default()).min(self.longest_absence);
            tries += 1;
            sleep(delay).await;
        }
    }
}

struct Read {
    news: bool,
    more: bool,
}

pub(crate) mod log_cursor;
mod streamed;
#[cfg(test)]
mod tests;

//! The log of a job by its stream.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::{Watch, parse_job};
use crate::client::http::error::ClientError;
use crate::client::http::events::{EventStream, ServerEvent};
use crate::client::http::model::{AttemptBegins, LogChunk};

/// How long a stream may say nothing before the job's status is looked at: there may be a queue to tell of.
const SILENCE: Duration = Duration::from_secs(1);

/// How often a job that is over is looked at before its stream counts as cut.
const LOOKS_AFTER_END: u32 = 30;

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The job is over and its log is read.
    WithJob,
    /// Something broke.
    Cut,
    /// The server has no such stream.
    Unknown,
}

impl Watch<'_> {
    /// Shows the log as it comes, until the job is over or the stream is cut.
    pub(super) async fn stream_log(&mut self) -> Result<Ended, ClientError> {
        let raw = if self.screen.is_raw() { "?raw=true" } else { "" };
        let path = format!("/jobs/{}/logs/stream{raw}", self.job_id);
        let mut stream = match self.client.stream(&path, &self.cursor.event_id()).await {
            Ok(Some(stream)) => stream,
            Ok(None) => return Ok(Ended::Unknown),
            // The next look at the job waits for the server.
            Err(ClientError::Away { .. } | ClientError::Limited { .. }) => return Ok(Ended::Cut),
            Err(error) => return Err(error),
        };
        while let Some(event) = self.next(&mut stream).await? {
            match event.name.as_str() {
                "log" => {
                    let chunk: LogChunk = parse(&event)?;
                    self.show(&chunk)?;
                }
                "attempt" => {
                    let AttemptBegins { attempt, offset } = parse(&event)?;
                    self.cursor.turn_to(attempt, offset);
                    self.announce(attempt);
                }
                "end" => {
                    self.cursor.finish();
                    return Ok(Ended::WithJob);
                }
                // A newer server may tell more.
                _ => {}
            }
        }
        Ok(Ended::Cut)
    }

    /// The next message of a stream; while there is none, the job's status is shown.
    async fn next(&mut self, stream: &mut EventStream) -> Result<Option<ServerEvent>, ClientError> {
        let mut over = 0;
        while over < LOOKS_AFTER_END {
            if let Ok(event) = timeout(SILENCE, stream.next()).await {
                return Ok(event);
            }
            match self.client.get::<Value>(&format!("/jobs/{}", self.job_id), &[]).await {
                Ok(document) => {
                    let job = parse_job(&document)?;
                    self.screen.status(&job);
                    over += u32::from(job.status.is_over());
                }
                // A server that is away is noticed by the stream.
                Err(ClientError::Away { .. } | ClientError::Limited { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn parse<T: DeserializeOwned>(event: &ServerEvent) -> Result<T, ClientError> {
    serde_json::from_str(&event.data).map_err(|_| ClientError::unknown_form("the log"))
}

//! The stream of a job's log.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::client::http::error::ClientError;
use crate::client::http::events::{EventStream, ServerEvent};
use crate::client::http::model::{AttemptBegins, LogChunk};
use crate::client::http::request::Client;

/// How long [`LogStream::next`] waits for a message.
const SILENCE: Duration = Duration::from_secs(1);

/// A stream that is open.
pub(super) struct LogStream(EventStream);

/// The answer to a request for the stream.
pub(super) enum Opened {
    Stream(LogStream),
    /// The server has no such stream.
    Unknown,
    /// The server is away, or a limit is reached.
    NotNow,
}

/// What the next message says.
pub(super) enum Message {
    Log(LogChunk),
    Attempt(AttemptBegins),
    /// The job is over and its log is complete.
    End,
    /// There was no message for [`SILENCE`].
    Silence,
    /// The stream broke.
    Cut,
    /// A newer server says more than this version knows.
    Unknown,
}

impl LogStream {
    /// Opens the stream of a job's log after the event with this id. `raw` asks for escape sequences too.
    pub(super) async fn open(
        client: &Client,
        job_id: &str,
        raw: bool,
        last_event_id: &str,
    ) -> Result<Opened, ClientError> {
        let raw = if raw { "?raw=true" } else { "" };
        match client.stream(&format!("/jobs/{job_id}/logs/stream{raw}"), last_event_id).await {
            Ok(Some(stream)) => Ok(Opened::Stream(Self(stream))),
            Ok(None) => Ok(Opened::Unknown),
            Err(ClientError::Away { .. } | ClientError::Limited { .. }) => Ok(Opened::NotNow),
            Err(error) => Err(error),
        }
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Result<Message, ClientError> {
        let Ok(event) = timeout(SILENCE, self.0.next()).await else { return Ok(Message::Silence) };
        let Some(event) = event else { return Ok(Message::Cut) };
        match event.name.as_str() {
            "log" => parse(&event).map(Message::Log),
            "attempt" => parse(&event).map(Message::Attempt),
            "end" => Ok(Message::End),
            _ => Ok(Message::Unknown),
        }
    }
}

fn parse<T: DeserializeOwned>(event: &ServerEvent) -> Result<T, ClientError> {
    serde_json::from_str(&event.data).map_err(|_| ClientError::unknown_form("the log"))
}

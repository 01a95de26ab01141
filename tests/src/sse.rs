//! A client of server-sent events.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::client::Client;
use crate::wait::scaled;

/// How long a message or the end may take that is to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// One message of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The id to go on from.
    pub id: Option<String>,
    /// What kind of message it is.
    pub event: String,
    /// What it says; null where that is no JSON.
    pub data: Value,
}

/// A stream that is open.
#[derive(Debug)]
pub struct Stream {
    response: Response,
    unread: Vec<u8>,
}

impl Client {
    /// Opens a stream, after the message with this id where there is one.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn stream(&self, path: &str, last_event_id: Option<&str>) -> Stream {
        let mut request = self.request(Method::GET, path).timeout(Duration::from_hours(1));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Stream { response, unread: Vec::new() }
    }
}

impl Stream {
    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The next message, those of a job's stage passed over: when they come depends on how fast the machine is. `None`
    /// once the stream has ended or was cut.
    ///
    /// # Panics
    /// If neither comes within a minute.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            match self.next_of_any_kind().await {
                Some(message) if message.event == "stage" => {}
                next => return next,
            }
        }
    }

    /// The next message of whatever kind; `None` once the stream has ended or was cut.
    ///
    /// # Panics
    /// If neither comes within a minute.
    pub async fn next_of_any_kind(&mut self) -> Option<Message> {
        // Heartbeats are no messages, so the whole wait is bounded, not each read.
        timeout(scaled(PATIENCE), self.read_on()).await.expect("a message or the end")
    }

    async fn read_on(&mut self) -> Option<Message> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                if let Some(message) = read(&String::from_utf8_lossy(&block)) {
                    return Some(message);
                }
            }
            let chunk = self.response.chunk().await.ok().flatten()?;
            self.unread.extend_from_slice(&chunk);
        }
    }

    /// All messages to the end of the stream.
    pub async fn rest(mut self) -> Vec<Message> {
        let mut rest = Vec::new();
        while let Some(message) = self.next().await {
            rest.push(message);
        }
        rest
    }
}

/// A block of lines as a message; none for a comment.
fn read(block: &str) -> Option<Message> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
    Some(Message {
        id: field("id:").map(str::to_owned),
        event: field("event:")?.to_owned(),
        data: serde_json::from_str(field("data:")?).unwrap_or(Value::Null),
    })
}

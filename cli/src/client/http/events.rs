//! Server-sent events as they come, each with the id to go on from.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::answer::within_timeout;
use super::error::ClientError;
use super::refusal::refused;
use super::request::Client;

/// A stream that says nothing for so long was cut: a server says at least every 15 s that it is there.
const SILENCE: Duration = Duration::from_secs(45);
/// The longest event that is taken in. A server's are far below.
const MAX_EVENT_BYTES: usize = 8 << 20;
const EVENT_STREAM: &str = "text/event-stream";

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// A stream that is open.
#[derive(Debug)]
pub(crate) struct EventStream {
    response: Response,
    unread: Vec<u8>,
    /// Up to where `unread` is known to hold no end of an event.
    searched: usize,
}

impl Client {
    /// Opens a stream after a known event; `None` if the server has no such stream.
    pub(crate) async fn stream(&self, path: &str, last_event_id: &str) -> Result<Option<EventStream>, ClientError> {
        let request = self.request(path).header(ACCEPT, EVENT_STREAM).header("last-event-id", last_event_id);
        let response = within_timeout(&self.base, request.send()).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(refused(&self.base, response).await);
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_stream = kind.is_some_and(|kind| kind.starts_with(EVENT_STREAM));
        Ok(is_stream.then(|| EventStream { response, unread: Vec::new(), searched: 0 }))
    }
}

impl EventStream {
    /// The next event; none once the stream has ended or was cut. A call that is given up loses nothing.
    pub(crate) async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            while let Some(block) = self.block() {
                let event = parse(&block);
                // A comment only says that the server is there.
                if !event.name.is_empty() {
                    return Some(event);
                }
            }
            let chunk = timeout(SILENCE, self.response.chunk()).await.ok()?.ok()??;
            if self.unread.len() + chunk.len() > MAX_EVENT_BYTES {
                return None;
            }
            self.unread.extend_from_slice(&chunk);
        }
    }

    /// Takes the lines of the next event.
    fn block(&mut self) -> Option<String> {
        let end = self.unread[self.searched..].windows(2).position(|bytes| bytes == b"\n\n");
        let Some(end) = end.map(|end| self.searched + end + 2) else {
            self.searched = self.unread.len().saturating_sub(1);
            return None;
        };
        self.searched = 0;
        let block: Vec<u8> = self.unread.drain(..end).collect();
        Some(String::from_utf8_lossy(&block).into_owned())
    }
}

fn parse(block: &str) -> ServerEvent {
    let mut event = ServerEvent::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "data" if event.data.is_empty() => value.clone_into(&mut event.data),
            "data" => {
                event.data.push('\n');
                event.data.push_str(value);
            }
            _ => {}
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::super::test_server::TestServer;
    use super::*;

    #[tokio::test]
    async fn events_are_told_apart_and_comments_passed_over() {
        let server = TestServer::start(|request| match request.line.as_str() {
            "GET /stream" => {
                let body = ":\n\nid: 1:4\nevent: log\ndata: {\"a\":1}\n\n:\n\nevent:end\ndata:x\ndata: y\n\nevent: cut";
                (200, "content-type: text/event-stream\r\n", body.to_owned())
            }
            "GET /page" => (200, "content-type: text/html\r\n", "<html>".to_owned()),
            _ => (404, "", String::new()),
        })
        .await;
        let client = server.client();
        let mut stream = client.stream("/stream", "1:0").await.unwrap().unwrap();
        let event = |name: &str, data: &str| Some(ServerEvent { name: name.to_owned(), data: data.to_owned() });
        assert_eq!(stream.next().await, event("log", "{\"a\":1}"));
        assert_eq!(stream.next().await, event("end", "x\ny"));
        assert_eq!(stream.next().await, None);
        assert!(server.requests()[0].head.contains("last-event-id: 1:0"));
        assert!(client.stream("/page", "1:0").await.unwrap().is_none());
        assert!(client.stream("/none", "1:0").await.unwrap().is_none());
    }
}

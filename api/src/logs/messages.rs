//! What the stream of a log says.

use std::borrow::Cow;

use axum::response::sse::Event;
use events::Job;
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::lines::Excerpt;
use super::place::Place;
use crate::answer::sse;
use crate::jobs::story::StatusEvent;
use crate::openapi::messages;

/// What a message says: text in a message named `log`, a place in one named `attempt`, and the status in the last one.
#[derive(Serialize, ToSchema)]
#[schema(as = LogNews)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what a stream sends")]
enum News<'a> {
    Log(LogView<'a>),
    Attempt(AttemptView),
    End(StatusEvent),
}

/// A message of the stream.
pub(super) enum Message {}

impl PartialSchema for Message {
    fn schema() -> RefOr<Schema> {
        let about = "A message of a log's stream.";
        let id = ("The place behind the message, from which a client resumes. Absent in `end`.", "1:6");
        messages::Message { about, events: &["attempt", "log", "end"], id }.with_data::<News<'_>>()
    }
}

impl ToSchema for Message {
    fn name() -> Cow<'static, str> {
        "LogMessage".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        messages::add::<News<'_>>(schemas);
    }
}

/// The data of an `attempt` message.
#[derive(Serialize, ToSchema)]
#[schema(as = LogAttempt)]
struct AttemptView {
    attempt: u32,
    offset: u64,
}

/// The data of a `log` message: keys of a piece for polling clients.
#[derive(Serialize, ToSchema)]
#[schema(as = LogText)]
struct LogView<'a> {
    attempt: u32,
    offset: u64,
    next_offset: u64,
    logs: &'a str,
}

/// What follows is from this place on.
pub(super) fn attempt(place: Place) -> Event {
    let Place { attempt, offset } = place;
    sse::event("attempt", &AttemptView { attempt, offset }).id(place.to_string())
}

/// Text of an attempt's log.
pub(super) fn log(attempt: u32, Excerpt { text, offset, next_offset }: &Excerpt) -> Event {
    let (offset, next_offset) = (*offset, *next_offset);
    let data = LogView { attempt, offset, next_offset, logs: text };
    sse::event("log", &data).id(Place { attempt, offset: next_offset }.to_string())
}

/// How the job ended; nothing comes after it.
pub(super) fn end(job: &Job) -> Event {
    sse::event("end", &StatusEvent::as_found(job))
}

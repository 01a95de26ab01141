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
use crate::openapi::messages::{self, Schemas};

/// A message of the stream.
pub(super) enum Message {}

impl PartialSchema for Message {
    fn schema() -> RefOr<Schema> {
        let attempt = messages::named::<AttemptView>("attempt", Some("1:0"));
        let log = messages::named::<LogView<'_>>("log", Some("1:6"));
        let end = messages::named::<StatusEvent>("end", None);
        messages::any("A message of a log's stream. Its id is the place behind it.", [attempt, log, end])
    }
}

impl ToSchema for Message {
    fn name() -> Cow<'static, str> {
        "LogMessage".into()
    }

    fn schemas(schemas: &mut Schemas) {
        messages::add::<AttemptView>(schemas);
        messages::add::<LogView<'_>>(schemas);
        messages::add::<StatusEvent>(schemas);
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

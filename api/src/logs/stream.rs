//! What a job prints as it comes, as server-sent events.
//!
//! The stored log is complete. Live chunks only save the client the wait: the stream reads whatever is missing between
//! two chunks from the log. It also reads the rest of an ended attempt there, because the log is complete before the end
//! is recorded.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::Job;
use events::ports::LogPort;
use tokio::time::sleep;
use utoipa::IntoParams;

use super::follower::{Follower, LogStreams};
use super::lines::View;
use super::messages::Message;
use super::place::Place;
use super::{fence_of, storage_error, text};
use crate::answer::error::Error;
use crate::answer::sse;
use crate::openapi::errors::StreamError;
use crate::request::extract::{OfJob, VisibleJob};
use crate::request::query::{Asked, Pairs, Params};
use crate::request::streams::StreamPlace;

/// How often to read the length of a growing log before a place counts as past its end.
const LOOKS: u32 = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Where to begin.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Begin with the last lines. Without it, the stream begins with the first line of the newest attempt.
    #[param(minimum = 0, maximum = 18_446_744_073_709_551_615_u64)]
    tail_lines: Option<u64>,
    /// Send the text as the program prints it. Do not write it to a terminal.
    raw: Option<bool>,
}

/// Where to resume.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what the handler reads")]
pub(crate) struct Resumed {
    /// The `id` of the last message that you have: `<attempt>:<byte offset>`, such as `1:6`. `0:0` gives the logs of all attempts.
    #[param(rename = "Last-Event-ID", pattern = "^[0-9]{1,9}:[0-9]{1,18}$")]
    last_event_id: Option<String>,
}

impl Asked for StreamQuery {
    fn read(pairs: Pairs) -> Result<Self, Error> {
        pairs.know_only(&["tail_lines", "raw"])?;
        Ok(Self { tail_lines: pairs.number("tail_lines", 0)?, raw: pairs.flag("raw")? })
    }
}

/// Streams the log of a job as server-sent events.
///
/// A message named `attempt` says that the next messages are of this attempt, from its `offset` on. A message named `log`
/// has text: joined, these texts are the log. The message `end` is the last one: it tells how the job ended. A stream that
/// stops without `end` was cut off: connect again with the last id. A comment line comes after every 15 s without news.
#[utoipa::path(
    get,
    path = "/jobs/{id}/logs/stream",
    operation_id = "job_log_stream",
    tag = "Logs",
    params(OfJob, StreamQuery, Resumed),
    responses(
        (status = 200, description = "The messages.", body = Message, content_type = "text/event-stream"),
        StreamError,
    ),
)]
pub(crate) async fn stream(
    State(streams): State<Arc<LogStreams>>,
    VisibleJob(job): VisibleJob,
    Params(query): Params<StreamQuery>,
    place: StreamPlace,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let last_seen = sse::last_event_id::<Place>(&headers, "<attempt>:<byte offset>")?;
    // Before anything is read: what happens between the two is heard of.
    let events = streams.feed.subscribe(job.id).await?;
    let job = streams.read_job(job.id).await?;
    let view = if query.raw == Some(true) { View::Raw } else { View::Live };
    let mut follower = Follower::new(streams, events, job, view);
    match last_seen {
        // A place that the job never had is one of another log, of which this one has nothing.
        Some(place) if place.attempt > follower.job.attempt() => {
            follower.begin(Place { attempt: follower.job.attempt(), offset: 0 }).await?;
        }
        Some(place) if is_behind_end(&*follower.streams.logs, &follower.job, place).await? => {
            follower.begin(Place { offset: 0, ..place }).await?;
        }
        Some(place) => follower.turn_to(place).await?,
        None => {
            let place = newest(&*follower.streams.logs, &follower.job, query.tail_lines).await?;
            follower.begin(place).await?;
        }
    }
    let events = futures::stream::unfold(follower, async |mut follower| Some((follower.next().await?, follower)));
    Ok(sse::answer(Box::pin(events), place))
}

/// Whether a log is shorter than that. A log that this host does not have may be longer; one that is written elsewhere
/// may be seen late.
async fn is_behind_end(logs: &dyn LogPort, job: &Job, place: Place) -> Result<bool, Error> {
    let Some(fence) = fence_of(job, place.attempt) else { return Ok(false) };
    let is_over = place.attempt < job.attempt() || job.is_terminal();
    let mut looks = if is_over { 1 } else { LOOKS };
    loop {
        let len = logs.len(job.id, fence).await.map_err(storage_error)?;
        if len.is_none_or(|len| place.offset <= len) {
            return Ok(false);
        }
        looks -= 1;
        if looks == 0 {
            return Ok(true);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// The beginning of the newest attempt's log, or that of its last lines.
async fn newest(logs: &dyn LogPort, job: &Job, tail_lines: Option<u64>) -> Result<Place, Error> {
    let attempt = job.attempt();
    let mut place = Place { attempt, offset: 0 };
    if let (Some(fence), Some(lines)) = (fence_of(job, attempt), tail_lines) {
        let end = logs.len(job.id, fence).await.map_err(storage_error)?.unwrap_or(0);
        place.offset = text::tail_start(logs, job.id, fence, end, lines).await.map_err(storage_error)?;
    }
    Ok(place)
}

//! What a job prints as it comes, as server-sent events.
//!
//! The log has all of it and is where everything begins: live chunks only spare a client the wait, and whatever is
//! missing between two of them is read there. So is all that is left when an attempt is over: its log is whole before
//! its end is recorded.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::Job;

use super::follower::{Follower, read_job};
use super::place::Place;
use super::{fence_of, text};
use crate::Api;
use crate::error::Error;
use crate::extract::VisibleJob;
use crate::query::{Asked, Pairs, Params};
use crate::sse;

/// Where to begin.
pub(crate) struct StreamQuery {
    tail_lines: Option<u64>,
}

impl Asked for StreamQuery {
    fn read(pairs: Pairs) -> Result<Self, Error> {
        pairs.know_only(&["tail_lines"])?;
        Ok(Self { tail_lines: pairs.number("tail_lines", 0)? })
    }
}

/// `GET /jobs/{id}/logs/stream`: what the client has missed, then what is printed as it comes, then how the job ended.
///
/// An answer that stops without `end` was cut off, and the client comes back with the last id it has.
pub(crate) async fn stream(
    State(api): State<Arc<Api>>,
    VisibleJob(job): VisibleJob,
    Params(query): Params<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let last_seen = sse::last_event_id::<Place>(&headers, "<attempt>:<byte offset>")?;
    // Before anything is read: what happens between the two is heard of.
    let events = api.feed.subscribe(job.id).await?;
    let job = read_job(&api, job.id).await?;
    let mut follower = Follower::new(api, events, job);
    match last_seen {
        Some(place) if place.attempt <= follower.job.attempt() => follower.turn_to(place).await?,
        // A place that the job never had can't be gone on from.
        Some(_) => follower.begin(Place { attempt: follower.job.attempt(), offset: 0 }).await?,
        None => {
            let place = newest(&follower.api, &follower.job, query.tail_lines).await?;
            follower.begin(place).await?;
        }
    }
    let events = futures::stream::unfold(follower, async |mut follower| Some((follower.next().await?, follower)));
    Ok(sse::answer(Box::pin(events)))
}

/// The beginning of the newest attempt's log, or that of its last lines.
async fn newest(api: &Api, job: &Job, tail_lines: Option<u64>) -> Result<Place, Error> {
    let attempt = job.attempt();
    let mut place = Place { attempt, offset: 0 };
    if let (Some(fence), Some(lines)) = (fence_of(job, attempt), tail_lines) {
        let end = api.logs.len(job.id, fence).await?.unwrap_or(0);
        place.offset = text::tail_start(&*api.logs, job.id, fence, end, lines).await?;
    }
    Ok(place)
}

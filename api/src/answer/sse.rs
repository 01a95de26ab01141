//! Server-sent events: the answer with a stream, and the place from which a client resumes.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use metrics::gauge;
use serde::Serialize;

use crate::answer::error::Error;
use crate::request::streams::StreamPlace;

/// How often a stream without news says that it is still there: more often than proxies lose their patience.
const HEARTBEAT: Duration = Duration::from_secs(15);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx and its kind to pass each event on as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The answer that carries these events until there are no more. It has the place until then, or until its client goes.
pub(crate) fn answer(events: impl Stream<Item = Event> + Send + 'static, place: StreamPlace) -> Response {
    let open = Open::new(place);
    let events = events.map(move |event| {
        let _counted = &open;
        Ok::<_, Infallible>(event)
    });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    ([(CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")], sse).into_response()
}

/// An event of this name that says this.
pub(crate) fn event(name: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("events hold only texts and numbers, so they always serialise");
    Event::default().event(name).data(data)
}

/// Returns the id of the last event that a client has; `None` for a new client. `what` describes an id in the error.
pub(crate) fn last_event_id<Id: FromStr>(headers: &HeaderMap, what: &str) -> Result<Option<Id>, Error> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    // Rust reads a sign as part of a number.
    let text = value.to_str().ok().filter(|text| !text.starts_with('+'));
    let id = text.and_then(|text| text.parse().ok());
    let refused = || Error::Invalid(format!("Last-Event-ID must be {what}, not {value:?}"));
    id.map(Some).ok_or_else(refused)
}

/// Counts a stream for as long as it is open.
struct Open {
    _place: StreamPlace,
}

impl Open {
    fn new(place: StreamPlace) -> Self {
        gauge!("leadersboard_streams_open").increment(1);
        Self { _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!("leadersboard_streams_open").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::HeaderValue;
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;
    use crate::request::streams::Streams;

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_news_says_that_it_is_there() {
        let began = Instant::now();
        let place = Arc::new(Streams::at_most(1)).enter(&"alice".parse().unwrap()).unwrap();
        let mut body = answer(futures::stream::pending(), place).into_body();
        for beats in 1..=3 {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!((&frame[..], began.elapsed()), (&b":\n\n"[..], HEARTBEAT * beats));
        }
    }

    #[test]
    fn a_client_goes_on_after_a_number_and_after_nothing_else() {
        let last_event_id = |headers| super::last_event_id::<u64>(&headers, "the number of an event");
        let read =
            |id: &'static str| last_event_id(HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_static(id))]));
        assert!(matches!(last_event_id(HeaderMap::new()), Ok(None)));
        assert!(matches!(read("0"), Ok(Some(0))));
        assert!(matches!(read("17"), Ok(Some(17))));
        for bad in ["", "-1", "+1", "1.5", "x", "1 2", "18446744073709551616"] {
            assert!(matches!(read(bad), Err(Error::Invalid(_))), "{bad:?}");
        }
    }
}

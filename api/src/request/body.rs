//! Request bodies: they may not stall, and the unread rest of one is discarded within limits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::EXPECT;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// How long a client may send next to nothing in the middle of a body, all waits together.
const SILENCE: Duration = Duration::from_secs(30);

/// How many bytes must come in that time: else one byte now and then would hold a place for ever.
const PACE_BYTES: usize = 4 << 10;

/// How long to read and discard the body of an answered request.
const LINGER: Duration = Duration::from_secs(10);

/// How many bytes of an answered request's body to read and discard.
const LINGER_BYTES: usize = 256 << 20;

/// A client sent less than [`PACE_BYTES`] in [`SILENCE`].
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("fewer than {PACE_BYTES} bytes came in {} s", SILENCE.as_secs())]
pub(crate) struct Stalled;

/// Bounds the silences of a request's body, and has the rest of it read when the answer comes before its end.
///
/// A server that closes a connection with unread bytes resets it, and the client loses the answer with it. So whatever
/// a handler leaves unread is drained beside the answer, within bounds. A client that waits for `100 Continue` has
/// sent nothing yet: asking it for its body just to throw that away would be a pity.
pub(crate) fn patient(request: Request) -> Request {
    let waits = request.headers().contains_key(EXPECT);
    request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Patient { inner: Some(body), wait: None, pace: Pace::default(), sending: !waits })
    })
}

struct Patient {
    /// None once it has ended or failed.
    inner: Option<Body>,
    /// Runs while bytes are waited for, since then.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
    pace: Pace,
    /// Whether the client is sending without being asked.
    sending: bool,
}

/// How long bytes were waited for, and how many came meanwhile.
#[derive(Default)]
struct Pace {
    waited: Duration,
    bytes: usize,
}

impl Pace {
    /// Notes what came after a wait. Enough of it begins a new count.
    fn note(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited;
        self.bytes += bytes;
        if self.bytes >= PACE_BYTES {
            *self = Self::default();
        }
    }
}

impl HttpBody for Patient {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        self.sending = true;
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(None);
        };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let waited = self.wait.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
                self.pace.note(waited, frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => {
                self.inner = None;
                Poll::Ready(end.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let left = SILENCE.saturating_sub(self.pace.waited);
                let wait = || (Instant::now(), Box::pin(tokio::time::sleep(left)));
                let (_, wait) = self.wait.get_or_insert_with(wait);
                ready!(wait.as_mut().poll(cx));
                self.inner = None;
                Poll::Ready(Some(Err(Stalled.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let rest = self.inner.take().filter(|rest| self.sending && !rest.is_end_stream());
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(drain(rest));
        }
    }
}

async fn drain(mut rest: Body) {
    let end = Instant::now() + LINGER;
    let mut left = LINGER_BYTES;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(end, rest.frame()).await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if bytes > left {
            return;
        }
        left -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use tokio::time::sleep;

    use super::*;

    /// How long a body is read of which so many bytes come at such intervals, and whether to its end.
    async fn read(pieces: usize, bytes: usize, every: Duration) -> (Duration, bool) {
        let pieces = stream::unfold(0, move |sent| async move {
            sleep(every).await;
            (sent < pieces).then(|| (Ok::<_, Infallible>(Bytes::from(vec![7; bytes])), sent + 1))
        });
        let (began, request) = (Instant::now(), patient(Request::new(Body::from_stream(pieces))));
        let read = request.into_body().collect().await;
        (began.elapsed(), read.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_and_a_slow_one_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(read(1_000, 1, second).await, (SILENCE, false));
        assert_eq!(read(2, 1 << 20, SILENCE + second).await, (SILENCE, false));
        let slow = Duration::from_secs(29);
        assert_eq!(read(100, PACE_BYTES, slow).await, (slow * 101, true));
        assert_eq!(read(3_000, PACE_BYTES / 20, second).await, (second * 3_001, true));
        assert_eq!(read(10, 1, second).await, (second * 11, true));
    }
}

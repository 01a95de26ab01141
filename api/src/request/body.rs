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

/// How long a client may send nothing in the middle of a body.
const SILENCE: Duration = Duration::from_secs(30);

/// How long to read and discard the body of an answered request.
const LINGER: Duration = Duration::from_secs(10);

/// How many bytes of an answered request's body to read and discard.
const LINGER_BYTES: usize = 256 << 20;

/// A client sent nothing for [`SILENCE`].
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no bytes came for {} s", SILENCE.as_secs())]
pub(crate) struct Stalled;

/// Bounds the silences of a request's body, and has the rest of it read when the answer comes before its end.
///
/// A server that closes a connection with unread bytes resets it, and the client loses the answer with it. So whatever
/// a handler leaves unread is drained beside the answer, within bounds. A client that waits for `100 Continue` has
/// sent nothing yet: asking it for its body just to throw that away would be a pity.
pub(crate) async fn patient(request: Request) -> Request {
    let waits = request.headers().contains_key(EXPECT);
    request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Patient { inner: Some(body), silence: None, sending: !waits })
    })
}

struct Patient {
    /// None once it has ended or failed.
    inner: Option<Body>,
    /// Runs while bytes are waited for.
    silence: Option<Pin<Box<Sleep>>>,
    /// Whether the client is sending without being asked.
    sending: bool,
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
                self.silence = None;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => {
                self.inner = None;
                Poll::Ready(end.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(SILENCE)));
                ready!(silence.as_mut().poll(cx));
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

//! What the HTTP layer refuses before there is a request for a handler: answered with the same JSON body as all else.
//!
//! hyper answers such a request itself, with an empty body, and then ends the connection. [`Watched`] keeps that answer
//! back, and [`answer`] gives another in its place.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::headers;
use super::target::MAX_TARGET_BYTES;
use crate::request::id::RequestId;

/// How long a client may take for the head of a request. An idle connection counts as a request that has begun.
pub(crate) const HEAD: Duration = Duration::from_secs(30);

/// The most bytes of a request's head.
pub(crate) const HEAD_BYTES: usize = 32 << 10;

/// How long a refused client may take to read why, and how much it may still send meanwhile.
const PARTING: Duration = Duration::from_secs(2);
const PARTING_BYTES: u64 = 1 << 20;

/// How far a connection is, shared by its two sides.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// Whether a handler has a request whose answer is not completely written.
    busy: AtomicBool,
    /// Whether the answer has left hyper but may still be in its buffer.
    unflushed: AtomicBool,
    /// The status of the answer that was kept back; 0 if there is none.
    refused: AtomicU16,
}

impl Course {
    /// Whether what is written now can be no handler's.
    fn is_between_requests(&self) -> bool {
        !self.busy.load(Ordering::Acquire) && !self.unflushed.load(Ordering::Acquire)
    }

    /// Returns the status of the answer that hyper wrote, or 408 for a head that did not arrive in time.
    pub(crate) fn refusal(&self, error: &hyper::Error, unread: &[u8]) -> Option<StatusCode> {
        match self.refused.load(Ordering::Acquire) {
            // The head is at its limit, and still in its first line.
            431 if !unread.contains(&b'\n') => Some(StatusCode::URI_TOO_LONG),
            0 if error.is_timeout() && !unread.is_empty() => Some(StatusCode::REQUEST_TIMEOUT),
            // Such as the greeting of HTTP/2, which hyper does not answer.
            0 if error.is_parse() && self.is_between_requests() => Some(StatusCode::BAD_REQUEST),
            0 => None,
            status => StatusCode::from_u16(status).ok(),
        }
    }
}

/// Notes when a request is with its handler.
pub(crate) struct Noting<S> {
    pub(crate) inner: S,
    pub(crate) course: Arc<Course>,
}

/// Ends with the answer's body.
struct Busy(Arc<Course>);

impl Busy {
    /// Hands on a part of the body, to which it belongs.
    fn pass<T>(&self, part: T) -> T {
        debug_assert!(self.0.busy.load(Ordering::Relaxed), "a part of an answer comes after its end");
        part
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.unflushed.store(true, Ordering::Release);
        self.0.busy.store(false, Ordering::Release);
    }
}

impl<S> Service<Request<Incoming>> for Noting<S>
where
    S: Service<Request<Incoming>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.course.busy.store(true, Ordering::Release);
        let busy = Busy(Arc::clone(&self.course));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| Body::new(body.map_frame(move |frame| busy.pass(frame)))))
        })
    }
}

/// A connection that keeps back what no handler answers.
pub(crate) struct Watched<S> {
    pub(crate) inner: S,
    pub(crate) course: Arc<Course>,
}

impl<S> Watched<S> {
    /// Returns whether no handler wrote these bytes, and notes their status.
    fn keeps_back(&self, bytes: &[u8]) -> bool {
        if self.course.refused.load(Ordering::Acquire) != 0 {
            return true;
        }
        let status = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "));
        let status = status.and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse::<u16>().ok());
        match status.filter(|status| (400..500).contains(status) && self.course.is_between_requests()) {
            Some(status) => {
                self.course.refused.store(status, Ordering::Release);
                true
            }
            None => false,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.keeps_back(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        if self.keeps_back(first) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        // hyper flushes only what it has written whole.
        if flushed.is_ready() && !self.course.busy.load(Ordering::Acquire) {
            self.course.unflushed.store(false, Ordering::Release);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.course.refused.load(Ordering::Acquire) != 0 {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

/// Why a connection is ended, for its client.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl Refusal {
    /// Of a malformed request.
    pub(crate) fn of(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::REQUEST_TIMEOUT => {
                ("stalled", format!("the request's head did not come within {} s", HEAD.as_secs()))
            }
            StatusCode::URI_TOO_LONG => {
                ("uri_too_long", format!("the path and query are too long; at most {MAX_TARGET_BYTES} bytes are taken"))
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
                "headers_too_large",
                format!("the request's headers are too many or too large; at most {HEAD_BYTES} bytes are taken"),
            ),
            _ => ("invalid", "the request is not HTTP/1.1, or a header of it is malformed".to_owned()),
        };
        Self { status, code, detail }
    }

    /// The whole answer.
    pub(crate) fn text(&self, id: &RequestId) -> String {
        let id = id.as_str();
        let body = json!({ "detail": self.detail, "code": self.code, "request_id": id }).to_string();
        let (status, length, headers) = (self.status, body.len(), headers::lines());
        let retry = if status == StatusCode::SERVICE_UNAVAILABLE { "retry-after: 5\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{retry}{headers}\
             x-request-id: {id}\r\nconnection: close\r\n\r\n{body}"
        )
    }
}

/// Tells the client why, and ends the connection.
pub(crate) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut connection: S, refusal: &Refusal, id: &RequestId) {
    tracing::debug!(status = refusal.status.as_u16(), request_id = id.as_str(), "refused what is no request");
    let parting = async {
        connection.write_all(refusal.text(id).as_bytes()).await?;
        connection.shutdown().await?;
        // A connection that is closed before all was read is reset, and the answer may be lost with it.
        tokio::io::copy(&mut connection.take(PARTING_BYTES), &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(PARTING, parting).await {
        tracing::debug!(%error, "a refused client did not hear why");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::Router;
    use axum::routing::get;
    use hyper_util::service::TowerToHyperService;
    use serde_json::Value;
    use tokio::io::duplex;
    use tokio_util::sync::CancellationToken;

    use events::ports::Ids;
    use events::{Fence, JobId, SubmissionId};

    use super::*;
    use crate::http::serve::converse;

    /// Of these, only requests have ids.
    pub(crate) struct RequestIds;

    impl Ids for RequestIds {
        fn job(&self) -> JobId {
            unreachable!("no job is made")
        }
        fn submission(&self) -> SubmissionId {
            unreachable!("no submission is made")
        }
        fn request(&self) -> events::id::RequestId {
            "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap()
        }
        fn fence(&self) -> Fence {
            unreachable!("no run is begun")
        }
        fn jitter(&self) -> f64 {
            unreachable!("nothing is retried")
        }
    }

    /// All that is answered to these bytes, and nothing more sent.
    async fn answered(sent: &[u8]) -> String {
        let (mut client, server) = duplex(1 << 20);
        let router = Router::new().route("/", get(async || "HTTP/1.1 400 Bad Request\r\n\r\n"));
        let service = TowerToHyperService::new(router);
        let conversation =
            tokio::spawn(async move { converse(server, service, CancellationToken::new(), &RequestIds).await });
        client.write_all(sent).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        conversation.await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_request_is_answered_as_all_else_is() {
        let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000));
        let large = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(1 << 20));
        let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
        let smuggled = |head: &str| format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n");
        let smuggled = [
            "content-length: 1\r\ncontent-length: 2",
            "content-length: 1, 2",
            "content-length: +1",
            "content-length: 0x1",
            "content-length: 18446744073709551616",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity",
            "transfer-encoding: xchunked",
            "transfer-encoding : chunked",
            "x: a\r\n folded",
            "x: a\0b",
            "x: a\rb",
            "x\0: a",
            "x y: a",
        ]
        .map(smuggled);
        let cases: [(&[u8], &str, &str); 8] = [
            (b"\x16\x03\x01 garbage\r\n\r\n", "400", "invalid"),
            (b"GET / HTTP/9.9\r\n\r\n", "400", "invalid"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", "invalid"),
            (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", "400", "invalid"),
            (b"GET / HTTP/1.1\r\nhost: x", "408", "stalled"),
            (long.as_bytes(), "414", "uri_too_long"),
            (large.as_bytes(), "431", "headers_too_large"),
            (many.as_bytes(), "431", "headers_too_large"),
        ];
        let smuggled = smuggled.iter().map(|sent| (sent.as_bytes(), "400", "invalid"));
        for (sent, status, code) in cases.into_iter().chain(smuggled) {
            let answer = answered(sent).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{code}: {answer:?}"));
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && head.contains("application/json"), "{answer}");
            let body: Value = serde_json::from_str(body).unwrap();
            assert!(body["code"] == code && body["detail"].is_string(), "{answer}");
            assert_eq!(body["request_id"], "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5");
            for told in ["x-request-id: 0192f1c3a4b57c6d", "x-content-type-options: nosniff", "default-src 'none'"] {
                assert!(head.contains(told), "{answer}");
            }
        }
        assert_eq!(answered(b"").await, "", "one that never asked is not told anything");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_stays_whole_before_what_is_no_request() {
        let answer =
            answered(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\ngarbage\r\n\r\n").await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 400 Bad Request\r\n\r\n").count(), 2, "{answer}");
        assert!(answer.rfind("HTTP/1.1 400") > answer.rfind("HTTP/1.1 200"), "{answer}");
    }
}

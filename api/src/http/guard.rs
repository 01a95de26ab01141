//! What stands between the wire and the handlers: the request is checked and taken on, its body may not stall, and a
//! panic is an answer.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::FutureExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::admission::{Admission, Turn, most_body_bytes};
use super::target;
use crate::answer::error::Error;
use crate::request::body::patient;

/// Answers a request, whatever happens.
pub(crate) async fn guard(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let most_bytes = most_body_bytes(request.method(), route);
    let checked = target::check(&request, most_bytes);
    // Whatever the answer, the rest of the body is read, so that the client hears it.
    let request = patient(request);
    let (method, asker) = (request.method().clone(), admission.asker(&request));
    let turn = match checked {
        Ok(()) => admission.admit(&method, route, asker).await,
        Err(error) => Err(error),
    };
    match turn {
        Err(refusal) => refusal.into_response(),
        Ok(turn) => {
            // A handler that panicked leaves nothing behind that another sees half done: what they share is locked for
            // single steps, or in Redis.
            let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| Error::Panicked.into_response());
            match turn {
                Some(turn) => answer.map(|body| Body::new(Held { body, rest: Bytes::new(), _turn: turn })),
                None => answer,
            }
        }
    }
}

/// The most bytes that are handed on at once. Downloads come in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

/// A body that holds the turn of its request until only a few pieces of it are unsent.
///
/// hyper drops a body as soon as it has the last bytes, and the client may read these much later. So a long body is handed
/// on in copies of its pieces.
struct Held {
    body: Body,
    /// What is left of a long part.
    rest: Bytes,
    _turn: Turn,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(part))) if part.len() > PIECE_BYTES => self.rest = part,
                Some(Ok(Ok(part))) => return Poll::Ready(Some(Ok(Frame::data(part)))),
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&self.rest.split_to(bytes))))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;
    use http_body_util::BodyExt;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use serde_json::Value;
    use tokio_util::sync::CancellationToken;

    use crate::request::auth::authenticator::Authenticator;

    use super::*;

    async fn answer(router: &Router, path: &str) -> (StatusCode, HeaderMap, Body) {
        let request = Request::builder().uri(path).header("host", "x").body(Body::empty()).unwrap();
        let answer = TowerToHyperService::new(router.clone()).call(request).await.unwrap();
        let (head, body) = answer.into_parts();
        (head.status, head.headers, body)
    }

    fn guarded(routes: Router) -> Router {
        let admission = Arc::new(Admission::new(Authenticator::of_users(1), None, CancellationToken::new()));
        routes.layer(axum::middleware::from_fn_with_state(admission, guard))
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_that_does_not_tell_its_text() {
        async fn panics() {
            panic!("the token is hunter2")
        }
        let router = guarded(Router::new().route("/panics", get(panics)).route("/works", get(async || "yes")));
        for _ in 0..2 {
            let (status, _, body) = answer(&router, "/panics").await;
            let body = body.collect().await.unwrap().to_bytes();
            let told: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, &told["code"]), (StatusCode::INTERNAL_SERVER_ERROR, &Value::from("internal")));
            assert!(!String::from_utf8_lossy(&body).contains("hunter2"), "{told}");
        }
        assert_eq!(answer(&router, "/works").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_long_body_comes_in_pieces_and_is_the_same() {
        let text: Vec<u8> = (b'a'..=b'z').cycle().take(900_000).collect();
        let sent = Bytes::from(text.clone());
        let router = guarded(Router::new().route("/long", get(move || std::future::ready(sent.clone()))));
        let (_, headers, mut body) = answer(&router, "/long").await;
        assert_eq!((headers["content-length"].to_str().unwrap(), body.size_hint().exact()), ("900000", Some(900_000)));
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            read.extend_from_slice(&piece);
            assert_eq!(body.size_hint().exact(), Some(900_000 - read.len() as u64));
        }
        assert!(body.is_end_stream() && read == text);
    }
}

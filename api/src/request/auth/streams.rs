//! Ends an event stream when its caller's token is removed or expires. Other answers are complete in a moment.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;

use super::authenticator::{Authenticator, Shown};

/// Runs a request. If the answer is a stream of events, it ends when the token of its caller is not valid any more: the
/// client connects again and is refused.
pub(crate) async fn end_with_token(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    let shown = Shown::default();
    request.extensions_mut().insert(shown.clone());
    let response = next.run(request).await;
    let is_stream = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == "text/event-stream");
    match shown.0.get().filter(|_| is_stream).cloned() {
        None => response,
        Some(proof) => response.map(|body| {
            let ended = async move { authenticator.ended(proof).await };
            Body::from_stream(body.into_data_stream().take_until(Box::pin(ended)))
        }),
    }
}

//! A span, a count and a time for every request, within the trace of its sender.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use events::TraceParent;
use events::ports::Ids;
use metrics::{counter, histogram};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tokio::time::Instant;
use tracing::{Instrument, Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::headers;
use crate::request::id::{REQUEST_ID, RequestId};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What [`observe`] needs.
pub(crate) struct Observer {
    pub(crate) ids: Arc<dyn Ids>,
    /// Whether browsers shall come by TLS only.
    pub(crate) tls_only: bool,
}

/// Runs a request in its span, counts it by the template of its path, never by the path itself, and gives its answer the
/// headers that every answer has.
pub(crate) async fn observe(State(observer): State<Arc<Observer>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = name_of(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let id = RequestId::of(request.headers(), &*observer.ids);
    let span = info_span!(
        "request",
        method,
        route,
        request_id = id.as_str(),
        user = field::Empty,
        job = field::Empty,
        submission = field::Empty,
        status = field::Empty,
    );
    if let Some(parent) = request.headers().get(&TRACEPARENT).and_then(remote_parent) {
        // Without a tracing layer there is no trace to join.
        let _ = span.set_parent(parent);
    }
    let mut response = id.clone().within(next.run(request)).instrument(span.clone()).await;
    let status = response.status();
    span.record("status", status.as_u16());
    let seconds = began.elapsed().as_secs_f64();
    span.in_scope(|| tracing::debug!(seconds, "answered"));
    let code = status.as_str().to_owned();
    counter!("leadersboard_http_requests_total", "method" => method, "route" => route.clone(), "status" => code)
        .increment(1);
    histogram!("leadersboard_http_request_seconds", "method" => method, "route" => route).record(seconds);
    headers::complete(response.headers_mut(), observer.tls_only);
    response.headers_mut().insert(REQUEST_ID, id.into_header());
    response
}

/// The trace of the current request, to be recorded with its events.
pub(crate) fn current_traceparent() -> Option<TraceParent> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    let flags = span.trace_flags().to_u8();
    format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()).parse().ok()
}

fn remote_parent(header: &HeaderValue) -> Option<Context> {
    let parent: TraceParent = header.to_str().ok()?.trim().parse().ok()?;
    let mut parts = parent.as_str().split('-').skip(1);
    let span = SpanContext::new(
        TraceId::from_hex(parts.next()?).ok()?,
        SpanId::from_hex(parts.next()?).ok()?,
        TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?),
        true,
        TraceState::NONE,
    );
    Some(Context::new().with_remote_span_context(span))
}

/// The method as a metric's label: clients may invent others, and every label is a series.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_request_joins_its_senders_trace_with_a_span_of_its_own() {
        let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let tracer = SdkTracerProvider::default().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let subscriber = tracing_subscriber::registry().with(layer);
        let recorded = tracing::subscriber::with_default(subscriber, || {
            let span = info_span!("request");
            let parent = remote_parent(&HeaderValue::from_static(sent)).unwrap();
            span.set_parent(parent).unwrap();
            span.in_scope(current_traceparent)
        });
        let recorded = recorded.unwrap();
        assert_eq!(recorded.as_str()[..36], sent[..36]);
        assert_ne!(recorded.as_str(), sent);
        assert_eq!(recorded.as_str()[52..], sent[52..]);
    }

    #[test]
    fn without_a_tracing_layer_there_is_no_trace() {
        assert_eq!(current_traceparent(), None);
        assert!(remote_parent(&HeaderValue::from_static("junk")).is_none());
    }
}

//! The listener: one task a connection, each bounded in the time it may take to send a request's
//! head and in the time it may leave an answer unread.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::unread::Bounded;
use crate::http::connections::{Answer, Connection, Connections};
use crate::http::refused;
use crate::http::refused::{Course, HEAD, Noting, Watched};
use crate::request::client_address::Peer;

/// How long requests in flight may take after the shutdown has begun.
const GRACE: Duration = Duration::from_secs(10);

/// How long to wait after the system refused a connection, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves HTTP/1.1 to a limited number of connections until `shutdown`. Requests in flight then have ten seconds.
///
/// A request with both `Content-Length` and `Transfer-Encoding` smuggles nothing in: hyper goes by the latter, hides
/// the former from handlers, and closes the connection after the answer, as RFC 9112 §6.3 wants it.
pub async fn serve(listener: TcpListener, router: Router, most: Connections, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_the_clients(&error) => continue,
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = tokio::time::sleep(PAUSE) => continue,
                    }
                }
            },
        };
        if let Some(place) = most.admit().await {
            connections.spawn(connection((stream, peer), place, router.clone(), shutdown.clone()));
        } else {
            refuse(stream, most.most());
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(
    (stream, peer): (TcpStream, SocketAddr),
    place: Arc<Connection>,
    router: Router,
    shutdown: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "answers may be delayed");
    }
    let (router, asking) = (TowerToHyperService::new(router), Arc::clone(&place));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let under_way = asking.begin().map(|busy| (busy, router.call(request)));
        async move {
            // Another has the place: the connection ends before it is answered.
            let Some((busy, answer)) = under_way else { return std::future::pending().await };
            answer.await.map(|answer| answer.map(|body| Body::new(Answer { body, _busy: busy })))
        }
    });
    tokio::select! {
        () = converse(stream, service, shutdown) => {}
        () = place.evicted() => tracing::debug!("an idle connection made room for another"),
    }
}

/// Answers what comes on a connection, until it ends.
pub(crate) async fn converse<I, S>(stream: I, service: S, shutdown: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    let course = Arc::<Course>::default();
    let stream = Watched { inner: Bounded::new(stream), course: Arc::clone(&course) };
    let service = Noting { inner: service, course: Arc::clone(&course) };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.cancelled() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            let Ok(ended) = tokio::time::timeout(GRACE, &mut connection).await else {
                tracing::warn!("a request was cut off by the shutdown");
                return;
            };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
        let parts = connection.into_parts();
        if let Some(status) = course.refusal(&error, &parts.read_buf) {
            refused::answer(parts.io.into_inner().inner, status).await;
        }
    }
}

/// Refuses a connection above the limit. It never waits for the client to read the answer.
fn refuse(stream: TcpStream, most: usize) {
    tracing::warn!(most, "refused a connection: all allowed connections are busy");
    let detail = format!("The server has {most} busy connections, which is its limit. Try again shortly.");
    let body = format!(r#"{{"detail":"{detail}","code":"busy"}}"#);
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         retry-after: 5\r\nconnection: close\r\n\r\n{body}"
    );
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(answer.as_bytes()));
}

/// Whether it was the client who went away before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

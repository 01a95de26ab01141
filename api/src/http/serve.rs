//! The listener: one task a connection, each bounded in the time it may take to send a request's
//! head and in the time it may leave an answer unread.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use events::ports::Ids;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tls::{Opened, Tls};
use crate::answer::unread::Bounded;
use crate::http::connections::{Answer, Connection, Connections};
use crate::http::refused;
use crate::http::refused::{Course, HEAD, HEAD_BYTES, Noting, Refusal, Watched};
use crate::request::client_address::Peer;
use crate::request::id::RequestId;

/// How long to wait after the system refused a connection, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// How much the kernel takes of an answer beyond what it can send at once. It takes megabytes otherwise. A client that
/// reads them slowly would leave the rest for so long that it seems to be gone.
const UNSENT_BYTES: u32 = 128 << 10;

/// How to serve.
#[derive(Clone)]
pub struct Serving {
    /// How many connections there may be.
    pub connections: Connections,
    /// If given, every connection speaks TLS.
    pub tls: Option<Tls>,
    /// Ids for what is refused before it is a request.
    pub ids: Arc<dyn Ids>,
    /// Begins the end: connections without a request end, requests in flight may finish.
    pub stop: CancellationToken,
    /// Ends at once.
    pub now: CancellationToken,
    /// How long requests in flight may take after `stop`.
    pub drain: Duration,
}

/// Serves HTTP/1.1 to a limited number of connections until it is stopped and the requests in flight are answered.
///
/// Until then new connections are still accepted: the router refuses what they ask, but tells that this process ends.
///
/// A request with both `Content-Length` and `Transfer-Encoding` smuggles nothing in: hyper goes by the latter, hides
/// the former from handlers, and closes the connection after the answer, as RFC 9112 §6.3 wants it.
pub async fn serve(listener: TcpListener, router: Router, serving: Serving) {
    let (in_flight, late) = (TaskTracker::new(), TaskTracker::new());
    let cut = CancellationToken::new();
    let server = Arc::new(Server { router, serving, cut: cut.clone() });
    let following = async {
        match &server.serving.tls {
            Some(tls) => tls.follow().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = server.accept(&listener, &in_flight) => {}
        () = following => {}
        () = server.serving.stop.cancelled() => {}
    }
    in_flight.close();
    tokio::select! {
        () = in_flight.wait() => {}
        () = server.serving.now.cancelled() => {}
        () = tokio::time::sleep(server.serving.drain) => {
            tracing::warn!(connections = in_flight.len(), "requests in flight are cut off: DRAIN_TIMEOUT is over");
        }
        () = server.accept(&listener, &late) => {}
    }
    drop(listener);
    cut.cancel();
    late.close();
    tokio::join!(in_flight.wait(), late.wait());
}

/// What all connections share.
struct Server {
    router: Router,
    serving: Serving,
    /// Ends all connections.
    cut: CancellationToken,
}

impl Server {
    /// Accepts connections for as long as this is polled.
    async fn accept(self: &Arc<Self>, listener: &TcpListener, connections: &TaskTracker) {
        let most = &self.serving.connections;
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_the_clients(&error) => continue,
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if let Some(place) = most.admit().await {
                connections.spawn(Arc::clone(self).keep(stream, peer, place));
            } else {
                self.refuse(stream);
            }
        }
    }

    /// Keeps a connection until it ends, its place is wanted or the server ends.
    async fn keep(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Arc<Connection>) {
        let is_set = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES));
        if let Err(error) = is_set {
            tracing::debug!(%error, "answers may be delayed, or take more of the kernel's memory");
        }
        tokio::select! {
            () = self.talk(stream, peer, &place) => {}
            () = place.evicted() => tracing::debug!("an idle connection made room for another"),
            () = self.cut.cancelled() => {}
        }
    }

    async fn talk(&self, stream: TcpStream, peer: SocketAddr, place: &Arc<Connection>) {
        let (router, asking) = (TowerToHyperService::new(self.router.clone()), Arc::clone(place));
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let under_way = asking.begin().map(|busy| (busy, router.call(request)));
            async move {
                // Another has the place: the connection ends before it is answered.
                let Some((busy, answer)) = under_way else { return std::future::pending().await };
                answer.await.map(|answer| answer.map(|body| Body::new(Answer { body, _busy: busy })))
            }
        });
        let (stop, ids) = (self.serving.stop.clone(), &*self.serving.ids);
        let Some(tls) = &self.serving.tls else { return converse(stream, service, stop, ids).await };
        let is_late = stop.is_cancelled();
        let opened = tokio::select! {
            opened = tls.open(stream) => opened,
            () = stop.cancelled(), if !is_late => return,
        };
        match opened {
            Ok(Opened::Safe(stream)) => converse(*stream, service, stop, ids).await,
            Ok(Opened::Plain(stream)) => refused::answer(stream, &speaks_tls(), &RequestId::new(ids)).await,
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        }
    }

    /// Refuses a connection above the limit. It never waits for the client to read the answer.
    fn refuse(&self, stream: TcpStream) {
        let most = self.serving.connections.most();
        tracing::warn!(most, "refused a connection: all allowed connections are busy");
        // There is no answer before a handshake.
        if self.serving.tls.is_none() {
            let detail = format!("The server has {most} busy connections, which is its limit. Try again shortly.");
            let refusal = Refusal { status: StatusCode::SERVICE_UNAVAILABLE, code: "busy", detail };
            let answer = refusal.text(&RequestId::new(&*self.serving.ids));
            let _ = stream.into_std().and_then(|mut stream| stream.write_all(answer.as_bytes()));
        }
    }
}

/// Answers what comes on a connection, until it ends.
pub(crate) async fn converse<I, S>(stream: I, service: S, stop: CancellationToken, ids: &dyn Ids)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    let course = Arc::<Course>::default();
    let stream = Watched { inner: Bounded::new(stream), course: Arc::clone(&course) };
    let service = Noting { inner: service, course: Arc::clone(&course) };
    let is_late = stop.is_cancelled();
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(HEAD_BYTES)
        // A connection that comes at the end has one request.
        .keep_alive(!is_late)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled(), if !is_late => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
        let parts = connection.into_parts();
        if let Some(status) = course.refusal(&error, &parts.read_buf) {
            refused::answer(parts.io.into_inner().inner, &Refusal::of(status), &RequestId::new(ids)).await;
        }
    }
}

fn speaks_tls() -> Refusal {
    let detail = "this port speaks TLS: write https:// at the beginning of the address".to_owned();
    Refusal { status: StatusCode::BAD_REQUEST, code: "tls_required", detail }
}

/// Whether it was the client who went away before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use bytes::Bytes;
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::http::refused::tests::RequestIds;

    async fn answered(address: std::net::SocketAddr, path: &str) -> String {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is reset has answered what it has answered.
        let _ = connection.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_panic_in_the_middle_of_a_body_ends_its_connection_and_no_other() {
        let pieces = || {
            let first = futures::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"begun"))]);
            first.chain(futures::stream::once(async { panic!("in the middle") }))
        };
        let router = Router::new()
            .route("/breaks", get(async move || Body::from_stream(pieces())))
            .route("/works", get(async || "yes"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = Serving {
            connections: Connections::at_most(2),
            tls: None,
            ids: Arc::new(RequestIds),
            stop: stop.clone(),
            now: CancellationToken::new(),
            drain: Duration::from_secs(10),
        };
        let serving = tokio::spawn(serve(listener, router, serving));
        for _ in 0..5 {
            let broken = answered(address, "/breaks").await;
            assert!(!broken.ends_with("0\r\n\r\n"), "what is cut off does not look whole: {broken}");
            assert!(answered(address, "/works").await.ends_with("yes"));
        }
        stop.cancel();
        serving.await.unwrap();
    }
}

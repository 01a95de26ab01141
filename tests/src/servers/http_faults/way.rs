//! The way of one request through the proxy, with what it meets there.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use tokio::sync::watch;

use super::call::Call;
use super::fault::Fault;
use super::tally::{Tally, UnderWay};

/// The way of a request through the proxy.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) http: reqwest::Client,
    pub(super) upstream: String,
    pub(super) fault: watch::Receiver<Fault>,
    pub(super) tally: Arc<Mutex<Tally>>,
}

type Answer = Response<Full<Bytes>>;

impl Way {
    /// An error cuts the connection.
    pub(super) async fn take(self, request: Request<Incoming>) -> io::Result<Answer> {
        let (parts, body) = request.into_parts();
        let call = Call::of(&parts.method, parts.uri.path());
        self.note(|tally| *tally.calls.entry(call).or_default() += 1);
        let fault = self.fault.borrow().clone();
        let length = body.size_hint().exact();
        match fault {
            Fault::CutFiles(bytes) if call == Call::PutFile && length.is_none_or(|length| length > bytes) => {
                self.struck();
                let cut = cut_after(pieces(body), bytes);
                // MLflow may take what it got for all there is, or not.
                let _ = self.pass(parts, reqwest::Body::wrap_stream(cut)).await;
                Err(io::Error::other("cut"))
            }
            Fault::None | Fault::CutFiles(_) | Fault::Down => {
                self.pass(parts, reqwest::Body::wrap_stream(pieces(body))).await
            }
            fault => {
                let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                // Whether or not its client stays.
                tokio::spawn(self.meet(fault, call, parts, body)).await.map_err(io::Error::other)?
            }
        }
    }

    async fn meet(self, fault: Fault, call: Call, parts: Parts, body: Bytes) -> io::Result<Answer> {
        let is_struck = match &fault {
            Fault::Swallow(struck) | Fault::LoseAnswer(struck) | Fault::Late(struck, _) => *struck == call,
            Fault::HostCheck => call != Call::Health,
            Fault::Locked(key) => parts.headers.get(AUTHORIZATION).is_none_or(|given| given != key.as_str()),
            Fault::None | Fault::Down | Fault::Broken | Fault::Slow(_) | Fault::CutFiles(_) => true,
        };
        if !is_struck {
            return self.pass(parts, body.into()).await;
        }
        self.struck();
        match fault {
            Fault::Broken => answer(StatusCode::INTERNAL_SERVER_ERROR, "text/html", "<h1>Internal Server Error</h1>"),
            Fault::HostCheck => {
                let refusal = "Invalid Host header - possible DNS rebinding attack detected";
                answer(StatusCode::FORBIDDEN, "text/plain", refusal)
            }
            Fault::Locked(_) => answer(StatusCode::UNAUTHORIZED, "text/plain", "You are not authenticated."),
            Fault::Swallow(_) => answer(StatusCode::OK, "application/json", "{}"),
            Fault::Slow(delay) | Fault::Late(_, delay) => {
                let _late = UnderWay::of(&self.tally);
                tokio::time::sleep(delay).await;
                self.pass(parts, body.into()).await
            }
            Fault::LoseAnswer(_) => {
                self.pass(parts, body.into()).await?;
                Err(io::Error::other("the answer is lost"))
            }
            Fault::None | Fault::Down | Fault::CutFiles(_) => self.pass(parts, body.into()).await,
        }
    }

    /// Passes a request on and its answer back.
    async fn pass(&self, parts: Parts, body: reqwest::Body) -> io::Result<Answer> {
        let _way = UnderWay::of(&self.tally);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = parts.headers;
        for of_this_connection in [HOST, CONNECTION, TRANSFER_ENCODING] {
            headers.remove(of_this_connection);
        }
        let request = self.http.request(parts.method, format!("{}{path}", self.upstream)).headers(headers).body(body);
        let passed = request.send().await.map_err(io::Error::other)?;
        let mut answer = Response::builder().status(passed.status());
        for (name, value) in passed.headers() {
            if ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                answer = answer.header(name, value);
            }
        }
        let body = passed.bytes().await.map_err(io::Error::other)?;
        answer.body(Full::new(body)).map_err(io::Error::other)
    }

    fn struck(&self) {
        self.note(|tally| tally.struck += 1);
    }

    fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock().expect("nobody panics with it"));
    }
}

fn answer(status: StatusCode, kind: &str, body: &'static str) -> io::Result<Answer> {
    let answer = Response::builder().status(status).header(CONTENT_TYPE, kind);
    answer.body(Full::new(Bytes::from_static(body.as_bytes()))).map_err(io::Error::other)
}

/// A body piece by piece.
fn pieces(body: Incoming) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    body.into_data_stream().map_err(io::Error::other)
}

/// The first so many bytes, and then an error.
fn cut_after(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    bytes: u64,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    pieces.scan(bytes, |left, piece| {
        let piece = piece.and_then(|piece| {
            if *left == 0 {
                return Err(io::Error::other("cut"));
            }
            let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
            *left -= taken as u64;
            Ok(piece.slice(..taken))
        });
        futures::future::ready(Some(piece))
    })
}

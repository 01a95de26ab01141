//! What can go wrong between a client of `MLflow` and `MLflow`: a proxy that passes everything on, until it is told to
//! fail.

mod call;
mod fault;
mod tally;
mod way;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use call::Call;
pub use fault::Fault;
use tally::Tally;
use way::Way;

use crate::certificate::Certificate;
use crate::client::http_client;

/// A proxy in front of `MLflow`.
///
/// It has a runtime of its own, so that it goes on while a test waits for a process.
#[derive(Debug)]
pub struct HttpFaults {
    scheme: &'static str,
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    open: watch::Receiver<bool>,
    tally: Arc<Mutex<Tally>>,
    runtime: Option<Runtime>,
}

impl HttpFaults {
    /// A proxy in front of the server at `upstream`, an address without a path.
    ///
    /// # Panics
    /// If it can't listen.
    #[must_use]
    pub fn before(upstream: &str) -> Self {
        Self::with(upstream, None)
    }

    /// The same with TLS before it.
    ///
    /// # Panics
    /// If it can't listen.
    #[must_use]
    pub fn before_with_tls(upstream: &str, certificate: &Certificate) -> Self {
        Self::with(upstream, Some(certificate))
    }

    fn with(upstream: &str, certificate: Option<&Certificate>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (fault, state) = watch::channel(Fault::None);
        let (opens, open) = watch::channel(true);
        let tally = Arc::default();
        // The client brings what TLS is made of.
        let http = http_client();
        let tls = certificate.map(Certificate::acceptor);
        let way = Way { http, upstream: upstream.to_owned(), fault: state, tally: Arc::clone(&tally) };
        let inside = runtime.enter();
        // Bound and never listened on, it keeps the port while nobody listens there.
        let reserved = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = reserved.local_addr().expect("an address");
        let listener = listen(address);
        runtime.spawn(serve(reserved, listener, opens, tls, way));
        drop(inside);
        Self {
            scheme: if certificate.is_some() { "https" } else { "http" },
            address,
            fault,
            open,
            tally,
            runtime: Some(runtime),
        }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// From now on this happens.
    ///
    /// # Panics
    /// Never: the proxy lives as long as this.
    pub async fn set(&self, fault: Fault) {
        let open = fault != Fault::Down;
        self.fault.send_replace(fault);
        self.open.clone().wait_for(|is_open| *is_open == open).await.expect("the proxy serves");
    }

    /// From now on all is well. What is late still comes.
    pub async fn heal(&self) {
        self.set(Fault::None).await;
    }

    /// How often a call was made.
    #[must_use]
    pub fn count(&self, call: Call) -> u64 {
        self.look(|tally| tally.calls.get(&call).copied().unwrap_or_default())
    }

    /// How many calls were made in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.look(|tally| tally.calls.values().sum())
    }

    /// How many calls have met a fault so far. That nobody listened is not counted.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.look(|tally| tally.struck)
    }

    /// How many calls are not answered yet, whether or not anybody waits for that.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.look(|tally| tally.under_way)
    }

    fn look<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&self.tally.lock().expect("nobody panics with it"))
    }
}

impl Drop for HttpFaults {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a port of our own");
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    socket(address).listen(1_024).expect("a listener")
}

async fn serve(reserved: TcpSocket, first: TcpListener, open: watch::Sender<bool>, tls: Option<TlsAcceptor>, way: Way) {
    let address = reserved.local_addr().expect("an address");
    let mut fault = way.fault.clone();
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        if *fault.borrow_and_update() == Fault::Down {
            listener = None;
            connections.shutdown().await;
            open.send_replace(false);
            if fault.changed().await.is_err() {
                return;
            }
            continue;
        }
        let here = listener.get_or_insert_with(|| listen(address));
        open.send_replace(true);
        tokio::select! {
            accepted = here.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(stream, tls.clone(), way.clone()));
            }
            changed = fault.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// How a connection ends is for its client to see.
async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, way: Way) {
    let answer = service_fn(|request| way.clone().take(request));
    match tls {
        None => drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await),
        Some(tls) => {
            let Ok(stream) = tls.accept(stream).await else { return };
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
        }
    }
}

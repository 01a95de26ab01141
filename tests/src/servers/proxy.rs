//! A bad network between Redis and whoever speaks to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Passes everything on to a unix socket, for as long as it is told nothing else.
///
/// It has a runtime of its own, so that it goes on while a test waits for a process.
#[derive(Debug)]
pub struct Proxy {
    folder: TempDir,
    link: watch::Sender<Link>,
    accepted: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

/// What is done to the connections, which are numbered in their order.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    /// How long each byte is under way.
    delay: Duration,
    /// The first connection that is not cut.
    cut_before: u64,
    /// The first connection that is not silenced.
    silent_before: u64,
    /// What new connections are answered by something that is not the server behind, which they never reach.
    impostor: Option<&'static [u8]>,
}

impl Proxy {
    /// A proxy in front of the socket at `upstream`.
    ///
    /// # Panics
    /// If it can't listen.
    #[must_use]
    pub fn before(upstream: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("lb-proxy-").tempdir().expect("a temporary directory");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (link, state) = watch::channel(Link::default());
        let accepted = Arc::new(AtomicU64::new(0));
        let (socket, upstream) = (folder.path().join("proxy.sock"), upstream.to_owned());
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(socket).expect("a socket in a directory of its own")
        };
        runtime.spawn(accept(listener, upstream, state, Arc::clone(&accepted)));
        Self { folder, link, accepted, runtime: Some(runtime) }
    }

    /// Its address, as Redis's.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("proxy.sock").display())
    }

    /// Ends every connection there is, in both directions; new ones are taken.
    pub fn cut(&self) {
        self.link.send_modify(|link| link.cut_before = self.accepted.load(Ordering::SeqCst));
    }

    /// Lets every connection there is stay open and carry nothing any more; new ones are taken.
    pub fn silence(&self) {
        self.link.send_modify(|link| link.silent_before = self.accepted.load(Ordering::SeqCst));
    }

    /// Ends every connection there is, and lets new ones reach something else: it answers whatever it hears with these
    /// bytes, and ends the connection when there are none.
    pub fn put_in_its_place(&self, impostor: &'static [u8]) {
        self.link.send_modify(|link| link.impostor = Some(impostor));
        self.cut();
    }

    /// Ends every connection there is, and lets new ones reach the server behind again.
    pub fn put_back(&self) {
        self.link.send_modify(|link| link.impostor = None);
        self.cut();
    }

    /// How many connections there have been.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Has every byte under way for this long, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.link.send_modify(|link| link.delay = delay);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: UnixListener, upstream: PathBuf, link: watch::Receiver<Link>, accepted: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(relay(client, upstream.clone(), link.clone(), number));
    }
}

async fn relay(client: UnixStream, upstream: PathBuf, mut link: watch::Receiver<Link>, number: u64) {
    let impostor = link.borrow().impostor;
    if let Some(answer) = impostor {
        tokio::select! {
            () = impersonate(client, answer) => {}
            _ = link.wait_for(|link| number < link.cut_before) => {}
        }
        return;
    }
    let Ok(server) = UnixStream::connect(upstream).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pump(from_client, to_server, link.clone(), number) => {}
        () = pump(from_server, to_client, link.clone(), number) => {}
        _ = link.wait_for(|link| number < link.cut_before) => {}
    }
}

/// Answers each command that is heard, or what may be one.
async fn impersonate(mut client: UnixStream, answer: &[u8]) {
    let mut heard = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut heard).await {
        let commands = heard[..length].split(|byte| *byte == b'*').count() - 1;
        if answer.is_empty() || client.write_all(&answer.repeat(commands.max(1))).await.is_err() {
            return;
        }
    }
}

/// One direction of one connection, to its end.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    link: watch::Receiver<Link>,
    number: u64,
) {
    let (sender, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + link.borrow().delay;
            if sender.send((due, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            if number >= link.borrow().silent_before && to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = read => {}, () = write => {} }
}

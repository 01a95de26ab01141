//! What a run printed and its worker has not sent yet: a local file without a name, sent in segments.
//!
//! The file goes with its process, and holds no more than the log may have. Memory holds one segment while it is sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use events::ports::{LogWriter, PortError};
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::log_segments::{self, Run};
use super::store::{Store, Written};
use super::trouble::StoreError;

/// A segment is sent when it has so many bytes, or its first byte is so old.
const SEGMENT_BYTES: u64 = 4 << 20;
const SEGMENT_AGE: Duration = Duration::from_secs(10);
/// How long to wait before a segment that could not be sent is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// What a run printed.
pub(super) struct Outbox {
    store: Store,
    run: Run,
    file: File,
    /// How many bytes are in the file.
    len: AtomicU64,
    sent: Mutex<Sent>,
    news: Notify,
}

/// How far the log is sent.
#[derive(Default)]
struct Sent {
    bytes: u64,
    is_begun: bool,
    /// Somebody else ended the log: the run does not count any more.
    is_over: bool,
}

impl Outbox {
    /// Begins a log.
    pub(super) async fn begin(store: Store, run: Run, spool: PathBuf) -> Result<Arc<Self>, PortError> {
        let file = in_thread(move || tempfile::tempfile_in(spool)).await?;
        let (len, sent, news) = (AtomicU64::new(0), Mutex::default(), Notify::new());
        Ok(Arc::new(Self { store, run, file, len, sent, news }))
    }

    /// How many bytes were printed.
    pub(super) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// What was printed from an offset on.
    pub(super) async fn read(self: &Arc<Self>, offset: u64, max: usize) -> Result<Bytes, PortError> {
        let left = self.len().saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(max);
        let outbox = Arc::clone(self);
        in_thread(move || {
            let mut bytes = vec![0; count];
            outbox.file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes.into())
        })
        .await
    }

    /// Sends what there is when this is called, or whole segments of that. What comes meanwhile is for the next time:
    /// else a program that prints all the time would have many small segments.
    async fn send(self: &Arc<Self>, which: Which) -> Result<(), PortError> {
        let mut sent = self.sent.lock().await;
        if !sent.is_begun {
            self.store.put(&log_segments::begun(&self.run), Bytes::new()).await?;
            sent.is_begun = true;
        }
        let unsent = self.len() - sent.bytes;
        let until = match which {
            Which::All => sent.bytes + unsent,
            Which::Full => sent.bytes + unsent / SEGMENT_BYTES * SEGMENT_BYTES,
        };
        while !sent.is_over && sent.bytes < until {
            let count = (until - sent.bytes).min(SEGMENT_BYTES);
            let bytes = self.read(sent.bytes, usize::try_from(count).unwrap_or(usize::MAX)).await?;
            if let Some(count) = self.send_segment(sent.bytes, bytes).await? {
                sent.bytes += count;
            } else {
                tracing::warn!(job = %self.run.0, "the log was ended by another worker; the rest is not kept");
                sent.is_over = true;
            }
        }
        Ok(())
    }

    /// Sends a segment, and gives how many of its bytes the bucket has; `None` if it has others there.
    async fn send_segment(&self, offset: u64, bytes: Bytes) -> Result<Option<u64>, StoreError> {
        let key = log_segments::key(&self.run, offset);
        if self.store.create(&key, bytes.clone()).await? == Written::Yes {
            return Ok(Some(bytes.len() as u64));
        }
        // An earlier try arrived, and its answer did not; there were fewer bytes then.
        let found = self.store.get(&key).await?.map(|found| found.bytes);
        let found = found.filter(|found| !found.is_empty() && bytes.starts_with(found));
        Ok(found.map(|found| found.len() as u64))
    }

    /// Sends segments as they are due, until the writer is gone.
    async fn keep_sending(self: Arc<Self>, gone: Arc<Notify>) {
        let mut is_away = false;
        loop {
            let which = tokio::select! {
                which = self.due() => which,
                () = gone.notified() => break,
            };
            match self.send(which).await {
                Ok(()) => is_away = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(job = %self.run.0, %error, "the log can't be sent now; it is kept here");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
        // Nobody waits for it: what is lost here is lost with a run that did not end in order.
        if let Err(error) = self.send(Which::All).await {
            tracing::debug!(job = %self.run.0, %error, "the end of a log could not be sent");
        }
    }

    /// Waits until there is something to send.
    async fn due(&self) -> Which {
        let begun = self.sent.lock().await.is_begun;
        if !begun {
            return Which::Full;
        }
        let mut deadline = None;
        loop {
            let unsent = self.len() - self.sent.lock().await.bytes;
            if unsent >= SEGMENT_BYTES {
                return Which::Full;
            }
            if unsent > 0 && deadline.is_none() {
                deadline = Some(Instant::now() + SEGMENT_AGE);
            }
            match deadline {
                None => self.news.notified().await,
                Some(at) if Instant::now() >= at => return Which::All,
                // Many small pieces are looked at together.
                Some(at) => drop(
                    timeout_at(at, async {
                        self.news.notified().await;
                        sleep_until((Instant::now() + SEGMENT_AGE / 20).min(at)).await;
                    })
                    .await,
                ),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Full,
    All,
}

/// The writing end of a log.
pub(super) struct Writer {
    outbox: Arc<Outbox>,
    /// Told when this is dropped.
    gone: Arc<Notify>,
}

impl Writer {
    pub(super) fn of(outbox: Arc<Outbox>) -> Self {
        let gone = Arc::<Notify>::default();
        tokio::spawn(Arc::clone(&outbox).keep_sending(Arc::clone(&gone)));
        Self { outbox, gone }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.gone.notify_one();
    }
}

#[async_trait]
impl LogWriter for Writer {
    async fn append(&mut self, chunk: &[u8]) -> Result<(), PortError> {
        let (outbox, chunk, at) = (Arc::clone(&self.outbox), chunk.to_vec(), self.outbox.len());
        let written = chunk.len() as u64;
        // What a failed write left is written over.
        in_thread(move || outbox.file.write_all_at(&chunk, at)).await?;
        self.outbox.len.store(at + written, Ordering::Release);
        self.outbox.news.notify_one();
        Ok(())
    }

    fn position(&self) -> u64 {
        self.outbox.len()
    }

    async fn close(&mut self) -> Result<(), PortError> {
        self.outbox.send(Which::All).await
    }
}

async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, PortError> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| PortError::Unavailable(format!("the local copy of the log can't be used: {error}").into()))
}

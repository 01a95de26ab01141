//! Shows what a run prints to its readers, at once and then at short intervals, and never delays the run.
//!
//! Output that is faster than it can be shown is not kept here: a little of its end is shown, and readers find the rest
//! in the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::ports::{LiveLogPort, MAX_CHUNK_BYTES, Shown};
use events::{Fence, JobId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long what is printed after a chunk waits for more.
const INTERVAL: Duration = Duration::from_millis(50);

/// How much is shown of what is too much for one chunk: readers have to read the log in any case.
const ENOUGH_BYTES: usize = 1 << 10;

/// The live log of one run. What is left when it is dropped is still shown.
pub(crate) struct LiveLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    unshown: Mutex<Unshown>,
    news: Notify,
}

/// The newest of what was printed and is not shown yet.
#[derive(Default)]
struct Unshown {
    /// At most [`MAX_CHUNK_BYTES`].
    bytes: Vec<u8>,
    /// Where they end in the log.
    end: u64,
    fits: Fits,
    /// Nothing is added any more.
    closed: bool,
}

/// Whether all that was printed since the last chunk is in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fits {
    #[default]
    All,
    Part,
}

impl LiveLog {
    /// Begins to show the log of a run.
    pub(crate) fn begin(port: Arc<dyn LiveLogPort>, job: JobId, fence: Fence) -> Self {
        let shared = Arc::<Shared>::default();
        tokio::spawn(show(port, job, fence, Arc::clone(&shared)));
        Self(shared)
    }

    /// Shows bytes that begin at `offset` of the log. Returns at once, even if they will never be shown.
    pub(crate) fn push(&self, offset: u64, bytes: &[u8]) {
        self.0.lock().push(offset, bytes);
        self.0.news.notify_one();
    }
}

impl Drop for LiveLog {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.news.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Unshown> {
        self.unshown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unshown {
    fn push(&mut self, offset: u64, bytes: &[u8]) {
        if self.end != offset {
            self.bytes.clear();
        }
        let newest = &bytes[bytes.len().saturating_sub(MAX_CHUNK_BYTES)..];
        if self.bytes.len() + bytes.len() > MAX_CHUNK_BYTES {
            self.fits = Fits::Part;
        }
        let surplus = (self.bytes.len() + newest.len()).saturating_sub(MAX_CHUNK_BYTES);
        self.bytes.drain(..surplus);
        self.bytes.extend_from_slice(newest);
        self.end = offset + bytes.len() as u64;
    }

    /// The next chunk, and where it ends.
    fn take(&mut self) -> (Vec<u8>, u64) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if std::mem::take(&mut self.fits) == Fits::Part {
            bytes.drain(..bytes.len().saturating_sub(ENOUGH_BYTES));
        }
        (bytes, self.end)
    }
}

/// Shows what there is until there will be nothing more, or the run does not count any more.
async fn show(port: Arc<dyn LiveLogPort>, job: JobId, fence: Fence, shared: Arc<Shared>) {
    let mut is_away = false;
    loop {
        let began = Instant::now();
        let ((bytes, end), closed) = {
            let mut unshown = shared.lock();
            (unshown.take(), unshown.closed)
        };
        if bytes.is_empty() {
            if closed {
                return;
            }
            shared.news.notified().await;
            continue;
        }
        match port.append(job, &fence, end - bytes.len() as u64, &bytes).await {
            Ok(Shown::Yes) => is_away = false,
            Ok(Shown::Refused) => return,
            // Whoever looks on reads the log instead.
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(job = %job, %error, "the live log of the job can't be shown");
                }
            }
        }
        let next = began + INTERVAL;
        while !shared.lock().closed && Instant::now() < next {
            // News wait for their time, the end for nothing.
            tokio::select! { () = sleep_until(next) => {} () = shared.news.notified() => {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use events::ports::PortError;
    use tokio::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    type Chunk = (Duration, u64, Vec<u8>);

    /// Tells when what is shown, and answers as it is told to.
    struct Screen(Instant, Sender<Chunk>, fn(usize) -> Result<Shown, PortError>);

    #[async_trait]
    impl LiveLogPort for Screen {
        async fn append(&self, _: JobId, _: &Fence, offset: u64, bytes: &[u8]) -> Result<Shown, PortError> {
            let shown = self.1.max_capacity() - self.1.capacity();
            self.1.send((self.0.elapsed(), offset, bytes.to_vec())).await.unwrap();
            self.2(shown)
        }
    }

    fn live(answer: fn(usize) -> Result<Shown, PortError>) -> (LiveLog, Receiver<Chunk>) {
        let (sender, receiver) = mpsc::channel(100);
        let (job, fence) = ("0192f1c3a4b57c6d8e9fa0b1c2d3e4f6", "00112233445566778899aabb");
        let port = Arc::new(Screen(Instant::now(), sender, answer));
        (LiveLog::begin(port, job.parse().unwrap(), fence.parse().unwrap()), receiver)
    }

    async fn rest(mut receiver: Receiver<Chunk>) -> Vec<Chunk> {
        let mut rest = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            rest.push(chunk);
        }
        rest
    }

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn the_first_bytes_go_at_once_the_next_together_and_the_last_without_waiting() {
        let (live, mut shown) = live(|_| Ok(Shown::Yes));
        live.push(0, b"a");
        assert_eq!(shown.recv().await, Some((Duration::ZERO, 0, b"a".to_vec())));
        live.push(1, b"b");
        tokio::time::sleep(20 * MS).await;
        live.push(2, b"c");
        assert_eq!(shown.recv().await, Some((50 * MS, 1, b"bc".to_vec())));
        live.push(3, b"d");
        drop(live);
        assert_eq!(rest(shown).await, [(50 * MS, 3, b"d".to_vec())]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_is_too_much_a_little_of_the_end_is_shown() {
        let (live, shown) = live(|_| Ok(Shown::Yes));
        let much = vec![b'x'; 3 * MAX_CHUNK_BYTES];
        live.push(0, &much);
        live.push(much.len() as u64, b"end");
        drop(live);
        let shown = rest(shown).await;
        let [(_, offset, bytes)] = &shown[..] else { panic!("{} chunks", shown.len()) };
        assert_eq!((bytes.len(), *offset), (ENOUGH_BYTES, much.len() as u64 + 3 - ENOUGH_BYTES as u64));
        assert!(bytes.ends_with(b"xend"));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_the_log_could_not_keep_leave_a_gap() {
        let (live, shown) = live(|_| Ok(Shown::Yes));
        live.push(0, b"kept");
        live.push(10, b"kept too");
        drop(live);
        assert_eq!(rest(shown).await, [(Duration::ZERO, 10, b"kept too".to_vec())]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_waited_out_and_a_refusal_is_not() {
        let away = |shown| match shown {
            0 => Err(PortError::Unavailable("away".into())),
            1 => Ok(Shown::Yes),
            _ => Ok(Shown::Refused),
        };
        let (live, shown) = live(away);
        for (offset, bytes) in (0..).zip([b"a", b"b", b"c", b"d", b"e"]) {
            live.push(offset, bytes);
            tokio::time::sleep(100 * MS).await;
        }
        let shown = rest(shown).await;
        assert_eq!(shown.iter().map(|(_, offset, _)| *offset).collect::<Vec<_>>(), [0, 1, 2]);
    }
}

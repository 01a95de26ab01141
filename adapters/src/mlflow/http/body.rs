//! A file on its way to `MLflow`: read in pieces as they are sent, and sent whole or not at all.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use events::ports::{ArtifactReader, LogPort, PortError};
use events::{Fence, JobId};
use futures::Stream;
use futures::stream::try_unfold;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};

use super::error::{CHANGED, CallError};

/// What is read at once.
const PIECE_BYTES: usize = 128 << 10;
/// How long neither side may be still.
const SILENCE: Duration = Duration::from_secs(30);
/// Once it has everything, a server may hand it on to a store of its own: it has a second for each of these more.
const HANDED_ON_BYTES_PER_SECOND: u64 = 8 << 20;

/// A file to be sent.
pub(crate) struct Source {
    name: String,
    left: u64,
    content: Content,
}

enum Content {
    File { reader: Box<dyn ArtifactReader>, hash: Sha256, sha256: String },
    Log { logs: Arc<dyn LogPort>, job: JobId, fence: Fence, offset: u64 },
}

impl Source {
    /// A file of which is known what it is.
    pub(crate) fn file(name: String, bytes: u64, sha256: String, reader: Box<dyn ArtifactReader>) -> Self {
        Self { name, left: bytes, content: Content::File { reader, hash: Sha256::new(), sha256 } }
    }

    /// The first `bytes` bytes of a log.
    pub(crate) fn log(name: String, bytes: u64, logs: Arc<dyn LogPort>, job: JobId, fence: Fence) -> Self {
        Self { name, left: bytes, content: Content::Log { logs, job, fence, offset: 0 } }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes there are to send.
    pub(crate) const fn bytes(&self) -> u64 {
        self.left
    }

    /// Its bytes. The last of them come only when it is known that all were right.
    pub(crate) fn stream(self, watch: Watch) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        try_unfold((self, watch), async |(mut source, watch)| match source.next().await {
            Ok(None) => Ok(None),
            Ok(Some(piece)) => {
                watch.went_on(source.left == 0);
                Ok(Some((piece, (source, watch))))
            }
            Err(why) => {
                watch.broke(why);
                Err(std::io::Error::other("the file could not be read to its end"))
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        if self.left == 0 {
            return Ok(None);
        }
        let max = usize::try_from(self.left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let unreadable = |error: PortError| CallError::Files(format!("{} can't be read: {error}.", self.name));
        let piece = match &mut self.content {
            Content::File { reader, .. } => reader.read(max).await.map_err(unreadable)?,
            Content::Log { logs, job, fence, offset } => {
                let piece = logs.read(*job, fence, *offset, max).await.map_err(unreadable)?;
                *offset += piece.len() as u64;
                piece
            }
        };
        if piece.is_empty() || piece.len() > max {
            let why = format!("{} has not the size any more that it was kept with.", self.name);
            return Err(CallError::refused_as(CHANGED, why));
        }
        self.left -= piece.len() as u64;
        if let Content::File { hash, sha256, .. } = &mut self.content {
            hash.update(&piece);
            if self.left == 0 && hex::encode(hash.finalize_reset()) != *sha256 {
                return Err(CallError::refused_as(CHANGED, format!("{} is not what was kept any more.", self.name)));
            }
        }
        Ok(Some(piece))
    }
}

/// What is known of a file on its way.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

struct Seen {
    until: Instant,
    bytes: u64,
    broken: Option<CallError>,
}

impl Watch {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(Seen { until: Instant::now() + SILENCE, bytes, broken: None })))
    }

    /// Why it could not be read on.
    pub(crate) fn broken(&self) -> Option<CallError> {
        self.seen(|seen| seen.broken.take())
    }

    /// Returns the result of the request; `None` if the body was silent for too long.
    pub(crate) async fn unless_silent<T>(&self, sending: impl Future<Output = T>) -> Option<T> {
        let mut sending = std::pin::pin!(sending);
        loop {
            let until = self.seen(|seen| seen.until);
            tokio::select! {
                answer = &mut sending => return Some(answer),
                () = sleep_until(until) => {
                    if self.seen(|seen| seen.until <= Instant::now()) {
                        return None;
                    }
                }
            }
        }
    }

    fn went_on(&self, is_all: bool) {
        self.seen(|seen| {
            let handing_on = if is_all { seen.bytes / HANDED_ON_BYTES_PER_SECOND } else { 0 };
            seen.until = Instant::now() + SILENCE + Duration::from_secs(handing_on);
        });
    }

    fn broke(&self, why: CallError) {
        self.seen(|seen| seen.broken = Some(why));
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures::TryStreamExt;

    use super::*;

    struct Text(&'static [u8]);

    #[async_trait]
    impl ArtifactReader for Text {
        async fn read(&mut self, max: usize) -> Result<Bytes, PortError> {
            let (now, later) = self.0.split_at(max.min(self.0.len()).min(4));
            self.0 = later;
            Ok(Bytes::from_static(now))
        }
    }

    async fn sent(kept: &[u8], found: &'static [u8]) -> (Option<Vec<u8>>, usize, Option<CallError>) {
        let sha256 = hex::encode(Sha256::digest(kept));
        let source = Source::file("a.bin".to_owned(), kept.len() as u64, sha256, Box::new(Text(found)));
        let watch = Watch::new(kept.len() as u64);
        let mut stream = Box::pin(source.stream(watch.clone()));
        let mut out = Vec::new();
        let whole = loop {
            match stream.try_next().await {
                Ok(Some(piece)) => out.extend_from_slice(&piece),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let count = out.len();
        (whole.then_some(out), count, watch.broken())
    }

    #[tokio::test]
    async fn a_file_is_sent_as_it_was_kept_or_never_to_its_end() {
        assert_eq!(sent(b"ten bytes.", b"ten bytes.").await, (Some(b"ten bytes.".to_vec()), 10, None));
        assert_eq!(sent(b"", b"").await, (Some(Vec::new()), 0, None));
        for found in [&b"ten bytes!"[..], b"ten", b"", b"xen bytes."] {
            let (whole, count, why) = sent(b"ten bytes.", found).await;
            assert!(whole.is_none() && count < 10 && why.unwrap().is(CHANGED));
        }
    }

    #[tokio::test]
    async fn what_goes_on_is_waited_for_and_what_is_silent_is_not() {
        tokio::time::pause();
        let watch = Watch::new(16 << 20);
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(SILENCE.mul_f32(0.9)).await;
                watch.went_on(false);
            }
            watch.went_on(true);
            tokio::time::sleep(SILENCE + Duration::from_secs(1)).await;
        };
        assert_eq!(watch.unless_silent(slow).await, Some(()));
        assert_eq!(Watch::new(1).unless_silent(std::future::pending::<()>()).await, None);
    }
}

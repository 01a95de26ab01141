//! What a job prints: to the log as it comes, and its end kept for the reason of a failure.

use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use events::failure::LOG_TAIL_BYTES;
use events::ports::{LogWriter, PortError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::log::live_log::LiveLog;

/// How much of the end is kept in memory.
const KEPT_BYTES: usize = 16 * 1024;
const CHUNK_BYTES: usize = 64 * 1024;
/// How long the rest of a line is waited for.
const LINE_PATIENCE: Duration = Duration::from_millis(20);

/// The log of one run.
#[derive(Clone)]
pub(crate) struct JobLog {
    writer: Arc<Mutex<Writer>>,
    all: Tail,
    errors: Tail,
}

/// Which stream of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Errors,
}

struct Writer {
    /// `None` if there is no log.
    target: Option<Box<dyn LogWriter>>,
    /// It has reached its limit: nothing is added any more.
    is_full: bool,
    /// Where it is shown as it comes.
    live: Option<LiveLog>,
    left: u64,
    /// How many bytes could not be kept: that never fails a job.
    lost: u64,
}

impl JobLog {
    /// A log that keeps at most `limit` bytes and is not shown.
    #[cfg(test)]
    pub(crate) fn new(target: Option<Box<dyn LogWriter>>, limit: u64) -> Self {
        Self::shown(target, limit, None)
    }

    /// A log that keeps at most `limit` bytes, and shows what it keeps at once.
    pub(crate) fn shown(target: Option<Box<dyn LogWriter>>, limit: u64, live: Option<LiveLog>) -> Self {
        let writer = Arc::new(Mutex::new(Writer { target, is_full: false, live, left: limit, lost: 0 }));
        Self { writer, all: Tail::default(), errors: Tail::default() }
    }

    /// The same log for another program: the ends of the two are kept apart.
    pub(crate) fn aside(&self) -> Self {
        Self { writer: Arc::clone(&self.writer), all: Tail::default(), errors: Tail::default() }
    }

    /// Copies a stream of the program to its end.
    pub(crate) async fn pump(self, mut from: impl AsyncRead + Unpin, stream: Stream) {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let filled = read_lines(&mut from, &mut buffer).await;
            if filled == 0 {
                break;
            }
            let chunk = &buffer[..filled];
            self.all.push(chunk);
            if stream == Stream::Errors {
                self.errors.push(chunk);
            }
            self.writer.lock().await.write(chunk).await;
        }
        self.writer.lock().await.tell_loss().await;
    }

    /// Copies both streams of a program to their ends.
    pub(crate) async fn pump_both(self, output: impl AsyncRead + Unpin, errors: impl AsyncRead + Unpin) {
        tokio::join!(self.clone().pump(output, Stream::Output), self.pump(errors, Stream::Errors));
    }

    /// A line of the platform's own.
    pub(crate) async fn note(&self, line: &str) {
        self.writer.lock().await.write(format!("[leadersboard] {line}\n").as_bytes()).await;
    }

    /// Has what is kept of the log where every reader finds it.
    pub(crate) async fn close(&self) -> Result<(), PortError> {
        match &mut self.writer.lock().await.target {
            Some(target) => target.close().await,
            None => Ok(()),
        }
    }

    /// The end of the log, at most [`LOG_TAIL_BYTES`], from the beginning of a character.
    pub(crate) fn tail(&self) -> String {
        let kept = self.all.kept();
        let from = kept.len().saturating_sub(LOG_TAIL_BYTES);
        let mut text = String::from_utf8_lossy(&kept[from..]).into_owned();
        // A character cut in two becomes a longer replacement character.
        while text.len() > LOG_TAIL_BYTES || (from > 0 && text.starts_with('\u{fffd}')) {
            text.remove(0);
        }
        text
    }

    /// As much of the end as is kept.
    pub(crate) fn kept(&self) -> String {
        String::from_utf8_lossy(&self.all.kept()).into_owned()
    }

    /// The last line on stderr that is not empty.
    pub(crate) fn last_error_line(&self) -> Option<String> {
        let kept = self.errors.kept();
        let text = String::from_utf8_lossy(&kept);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().filter(|c| !c.is_control()).take(300).collect())
    }
}

/// Reads what is there, and waits a moment for the end of a line that has begun: a program may write a line and its
/// newline apart, and the other stream must not come between. Nothing is left to read at 0.
async fn read_lines(from: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> usize {
    // A stream that can't be read any more has ended.
    let mut filled = from.read(buffer).await.unwrap_or(0);
    while filled > 0 && filled < buffer.len() && buffer[filled - 1] != b'\n' {
        match timeout(LINE_PATIENCE, from.read(&mut buffer[filled..])).await {
            Ok(Ok(read)) if read > 0 => filled += read,
            _ => break,
        }
    }
    filled
}

impl Writer {
    async fn write(&mut self, chunk: &[u8]) {
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len());
        self.left -= take as u64;
        self.tell_loss().await;
        if self.lost > 0 || !self.append(&chunk[..take]).await {
            self.lost += take as u64;
        }
        if take < chunk.len() {
            self.append(b"\n[leadersboard] the log has reached its limit; the rest is not kept\n").await;
            self.is_full = true;
        }
    }

    /// Writes how much could not be kept, if there is room again.
    async fn tell_loss(&mut self) {
        let loss = format!("\n[leadersboard] {} bytes of the log could not be kept\n", self.lost);
        if self.lost > 0 && self.append(loss.as_bytes()).await {
            self.lost = 0;
        }
    }

    /// Whether the bytes are kept.
    async fn append(&mut self, bytes: &[u8]) -> bool {
        let Some(target) = self.target.as_mut().filter(|_| !self.is_full) else { return false };
        match target.append(bytes).await {
            Ok(()) => {
                if let Some(live) = &self.live {
                    live.push(target.position() - bytes.len() as u64, bytes);
                }
                true
            }
            Err(error) => {
                if self.lost == 0 {
                    tracing::warn!(%error, "a part of the log is lost; the job goes on");
                }
                false
            }
        }
    }
}

/// The last bytes of a stream.
#[derive(Debug, Clone, Default)]
struct Tail(Arc<SyncMutex<Vec<u8>>>);

impl Tail {
    fn push(&self, chunk: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&chunk[chunk.len().saturating_sub(KEPT_BYTES)..]);
        if kept.len() > 2 * KEPT_BYTES {
            let surplus = kept.len() - KEPT_BYTES;
            kept.drain(..surplus);
        }
    }

    fn kept(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<SyncMutex<Vec<u8>>>);

    #[async_trait]
    impl LogWriter for Memory {
        async fn append(&mut self, chunk: &[u8]) -> Result<(), PortError> {
            self.0.lock().unwrap().extend_from_slice(chunk);
            Ok(())
        }

        fn position(&self) -> u64 {
            self.0.lock().unwrap().len() as u64
        }
    }

    #[tokio::test]
    async fn the_log_is_cut_at_its_limit_and_says_so() {
        let memory = Memory::default();
        let log = JobLog::new(Some(Box::new(memory.clone())), 10);
        log.clone().pump(&b"0123456789abc"[..], Stream::Output).await;
        log.clone().pump(&b"more"[..], Stream::Output).await;
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("0123456789\n[leadersboard]"), "{text}");
        assert!(!text.contains("more"));
        assert_eq!(log.tail(), "0123456789abcmore");
    }

    /// A disk that is full when it is asked for the first time.
    struct FullAtFirst(Memory, bool);

    #[async_trait]
    impl LogWriter for FullAtFirst {
        async fn append(&mut self, chunk: &[u8]) -> Result<(), PortError> {
            if std::mem::replace(&mut self.1, false) {
                return Err(PortError::Unavailable("the disk is full".into()));
            }
            self.0.append(chunk).await
        }

        fn position(&self) -> u64 {
            self.0.position()
        }
    }

    #[tokio::test]
    async fn what_could_not_be_kept_is_told_once_there_is_room_again() {
        let memory = Memory::default();
        let log = JobLog::new(Some(Box::new(FullAtFirst(memory.clone(), true))), 1 << 20);
        log.writer.lock().await.write(b"lost\n").await;
        log.writer.lock().await.write(b"kept\n").await;
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "\n[leadersboard] 5 bytes of the log could not be kept\nkept\n");
    }

    #[tokio::test]
    async fn a_line_and_its_newline_written_apart_stay_together() {
        let memory = Memory::default();
        let log = JobLog::new(Some(Box::new(memory.clone())), 1 << 20);
        let ((mut output, read_output), (mut errors, read_errors)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let pumps = [
            tokio::spawn(log.clone().pump(read_output, Stream::Output)),
            tokio::spawn(log.clone().pump(read_errors, Stream::Errors)),
        ];
        output.write_all(b"loading").await.unwrap();
        tokio::task::yield_now().await;
        errors.write_all(b"boom\n").await.unwrap();
        output.write_all(b"\n").await.unwrap();
        drop((output, errors));
        for pump in pumps {
            pump.await.unwrap();
        }
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert!(["loading\nboom\n", "boom\nloading\n"].contains(&text.as_str()), "{text:?}");
    }

    #[tokio::test]
    async fn the_tail_begins_with_a_whole_character_and_is_short() {
        let log = JobLog::new(None, 1 << 20);
        log.clone().pump("é".repeat(2000).as_bytes(), Stream::Output).await;
        log.clone().pump(&b"x"[..], Stream::Output).await;
        let tail = log.tail();
        assert!(tail.len() <= LOG_TAIL_BYTES);
        assert!(tail.starts_with('é') && tail.ends_with('x'));
    }

    #[tokio::test]
    async fn the_last_error_line_is_the_last_that_says_something() {
        let log = JobLog::new(None, 1 << 20);
        log.clone().pump(&b"Traceback\nValueError: no data\n\n  \n"[..], Stream::Errors).await;
        log.clone().pump(&b"done\n"[..], Stream::Output).await;
        assert_eq!(log.last_error_line().as_deref(), Some("ValueError: no data"));
    }
}

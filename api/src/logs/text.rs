//! Reading a log's text without ever holding more of it than an answer may have.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use events::ports::{LogPort, PortError};
use events::{Fence, JobId};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use super::lines::{Excerpt, Lines, View};

/// The most bytes of a log that one answer carries; of a longer one its end is given.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// How much is read at once on the way back from the end.
const BLOCK_BYTES: u64 = 64 << 10;

/// How many blocks are rendered at once; other requests wait for their turn at the next block.
static RENDERING: Semaphore = Semaphore::const_new(2);

/// Of each user's jobs one block is rendered at once, so that nobody who asks for many logs keeps others waiting. Users
/// that share one of these wait for each other.
static USERS: [Semaphore; 64] = [const { Semaphore::const_new(1) }; 64];

/// A log of a job, and whose turn is taken to render it.
pub(super) struct Source<'a> {
    log: &'a dyn LogPort,
    job: JobId,
    fence: &'a Fence,
    user: &'static Semaphore,
}

impl<'a> Source<'a> {
    pub(super) fn new(log: &'a dyn LogPort, job: JobId, fence: &'a Fence, user: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        let user = usize::try_from(hasher.finish() % USERS.len() as u64).unwrap_or_default();
        Self { log, job, fence, user: &USERS[user] }
    }

    async fn end(&self) -> Result<u64, PortError> {
        Ok(self.log.len(self.job, self.fence).await?.unwrap_or(0))
    }
}

/// A part of a log, and where it stands in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) text: String,
    pub(super) offset: u64,
    pub(super) next_offset: u64,
    /// Something before it was asked for too, and is too far from the end.
    pub(super) truncated: bool,
}

/// A whole log, or the last 16 MiB of a longer one below a line that says so.
pub(super) async fn whole(source: &Source<'_>, view: View) -> Result<Part, PortError> {
    let end = source.end().await?;
    let start = end.saturating_sub(MAX_TEXT_BYTES);
    let mut part = read(source, start..end, view).await?.part;
    if start > 0 {
        part.truncated = true;
        let note = format!(
            "[these are the last 16 MiB of the log; read the {start} bytes before them with ?offset=0 and next_offset]\n"
        );
        part.text.insert_str(0, &note);
    }
    Ok(part)
}

/// The last `lines` lines, within the last 16 MiB.
pub(super) async fn tail(source: &Source<'_>, lines: u64, view: View) -> Result<Part, PortError> {
    let Source { log, job, fence, .. } = *source;
    let end = source.end().await?;
    let floor = end.saturating_sub(MAX_TEXT_BYTES);
    let mut raw_lines = lines;
    let mut start = lines_before(log, job, fence, floor..end, raw_lines).await?;
    loop {
        let Reading { mut part, went_above } = read(source, start..end, view).await?;
        let cut = last_lines(&part.text, lines);
        if start <= floor || cut.is_some() && !went_above {
            part.truncated = start > 0 && cut.is_none();
            part.text.drain(..cut.unwrap_or(0));
            return Ok(part);
        }
        // Lines were written over from below. Those that are shown begin further up. Each try reads four times as much as
        // the one before, so that all of them together cost little more than the last.
        let enough = end - (end - start).max(1).saturating_mul(4).min(end - floor);
        while start > enough {
            raw_lines = raw_lines.saturating_mul(4).max(64);
            start = lines_before(log, job, fence, floor..start, raw_lines).await?;
        }
    }
}

/// Where the last `lines` lines of a text begin, if it has as many.
fn last_lines(text: &str, lines: u64) -> Option<usize> {
    let Some(before) = usize::try_from(lines).unwrap_or(usize::MAX).checked_sub(1) else {
        return Some(text.len());
    };
    let open = text.strip_suffix('\n').unwrap_or(text);
    let ends = open.bytes().enumerate().rev().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    let mut begins = ends.chain((!text.is_empty()).then_some(0));
    begins.nth(before)
}

struct Reading {
    part: Part,
    went_above: bool,
}

/// Reads a part block by block. A character that it only begins is read again by the next part.
async fn read(source: &Source<'_>, range: Range<u64>, view: View) -> Result<Reading, PortError> {
    let Source { log, job, fence, user } = *source;
    let mut lines = Lines::from(range.start, view);
    let mut text = String::new();
    while lines.end() < range.end {
        let left = usize::try_from((range.end - lines.end()).min(BLOCK_BYTES)).unwrap_or(usize::MAX);
        let bytes = log.read(job, fence, lines.end(), left).await?;
        if bytes.is_empty() {
            break;
        }
        let excerpt;
        (lines, excerpt) = render(user, lines, move |lines| lines.take(&bytes)).await?;
        text.extend(excerpt.map(|excerpt| excerpt.text));
    }
    let next_offset = lines.resume();
    let excerpt;
    (lines, excerpt) = render(user, lines, Lines::finish).await?;
    text.extend(excerpt.map(|excerpt| excerpt.text));
    let part = Part { text, offset: range.start, next_offset, truncated: false };
    Ok(Reading { part, went_above: lines.went_above() })
}

/// Renders on a thread where it holds up no other request. The thread has the turn, so that requests whose clients have
/// left don't add up.
async fn render(
    user: &'static Semaphore,
    mut lines: Lines,
    step: impl FnOnce(&mut Lines) -> Option<Excerpt> + Send + 'static,
) -> Result<(Lines, Option<Excerpt>), PortError> {
    let turn = turn(user, &RENDERING).await;
    let rendered = spawn_blocking(move || {
        let _turn = turn;
        let excerpt = step(&mut lines);
        (lines, excerpt)
    });
    rendered.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => PortError::Unavailable(format!("the log was not rendered: {error}").into()),
    })
}

/// Waits for a user's turn, then for a place among all users.
async fn turn(user: &'static Semaphore, all: &'static Semaphore) -> [Option<SemaphorePermit<'static>>; 2] {
    // Neither is ever closed.
    [user.acquire().await.ok(), all.acquire().await.ok()]
}

/// Where the last `lines` lines before `end` begin, as they were printed, within the 16 MiB before it.
pub(super) async fn tail_start(
    log: &dyn LogPort,
    job: JobId,
    fence: &Fence,
    end: u64,
    lines: u64,
) -> Result<u64, PortError> {
    lines_before(log, job, fence, end.saturating_sub(MAX_TEXT_BYTES)..end, lines).await
}

/// Where the last `lines` lines of a range begin, as they were printed. Reads backwards in blocks, so that the cost is
/// that of those lines, and no more than a block is in memory.
async fn lines_before(
    log: &dyn LogPort,
    job: JobId,
    fence: &Fence,
    Range { start: floor, end }: Range<u64>,
    lines: u64,
) -> Result<u64, PortError> {
    let mut wanted = lines;
    let mut start = end;
    while start > floor && wanted > 0 {
        let from = start.saturating_sub(BLOCK_BYTES).max(floor);
        let block = range(log, job, fence, from, start).await?;
        // The newline at the very end closes the last line and begins none.
        let searched = block.len() - usize::from(start == end && block.last() == Some(&b'\n'));
        for at in (0..searched).rev() {
            if block[at] == b'\n' {
                wanted -= 1;
                if wanted == 0 {
                    return Ok(from + at as u64 + 1);
                }
            }
        }
        start = from;
    }
    Ok(start)
}

/// The bytes from `start` to `end`; fewer where the log has been cut meanwhile.
async fn range(log: &dyn LogPort, job: JobId, fence: &Fence, start: u64, end: u64) -> Result<Vec<u8>, PortError> {
    let mut bytes = Vec::new();
    while start + (bytes.len() as u64) < end {
        let at = start + bytes.len() as u64;
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let more = log.read(job, fence, at, left).await?;
        if more.is_empty() {
            break;
        }
        bytes.extend_from_slice(&more);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use events::ports::LogWriter;

    use super::*;

    /// One log, given out in pieces of at most 1,000 bytes, and how many were.
    struct OneLog(Vec<u8>, AtomicU64);

    impl OneLog {
        fn of(bytes: impl Into<Vec<u8>>) -> Self {
            Self(bytes.into(), AtomicU64::new(0))
        }
    }

    #[async_trait]
    impl LogPort for OneLog {
        async fn create(&self, _: JobId, _: &Fence) -> Result<Box<dyn LogWriter>, PortError> {
            Err(PortError::Unavailable("read only".into()))
        }

        async fn len(&self, _: JobId, _: &Fence) -> Result<Option<u64>, PortError> {
            Ok(Some(self.0.len() as u64))
        }

        async fn read(&self, _: JobId, _: &Fence, at: u64, max: usize) -> Result<Bytes, PortError> {
            let at = usize::try_from(at).unwrap().min(self.0.len());
            let end = self.0.len().min(at + max.min(1000));
            self.1.fetch_add((end - at) as u64, Ordering::Relaxed);
            Ok(Bytes::copy_from_slice(&self.0[at..end]))
        }

        async fn delete(&self, _: JobId) -> Result<(), PortError> {
            Err(PortError::Unavailable("read only".into()))
        }
    }

    fn run() -> (JobId, Fence) {
        let id = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap();
        (id, "00112233445566778899aabb".parse().unwrap())
    }

    fn source<'a>(log: &'a OneLog, job: JobId, fence: &'a Fence) -> Source<'a> {
        Source::new(log, job, fence, &"ann")
    }

    async fn tail_of(text: &str, lines: u64) -> String {
        let (job, fence) = run();
        tail(&source(&OneLog::of(text), job, &fence), lines, View::Settled).await.unwrap().text
    }

    #[tokio::test]
    async fn a_tail_is_the_last_lines_whether_the_last_is_closed_or_not() {
        for (text, lines, expected) in [
            ("", 3, ""),
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\nc\n", 9, "a\nb\nc\n"),
            ("a\nb\n\n", 2, "b\n\n"),
            ("\n", 1, "\n"),
            ("a\n", 0, ""),
            ("one line", 1, "one line"),
        ] {
            assert_eq!(tail_of(text, lines).await, expected, "{text:?} {lines}");
        }
    }

    #[tokio::test]
    async fn a_tail_crosses_blocks() {
        let lines: Vec<String> = (0..20_000).map(|n| format!("line {n} ✓\n")).collect();
        let text = lines.concat();
        assert!(text.len() as u64 > 3 * BLOCK_BYTES);
        for count in [1, 5_000, 10_000, 20_000] {
            let expected = lines[20_000 - count..].concat();
            assert!(tail_of(&text, count as u64).await == expected, "{count}");
        }
    }

    #[tokio::test]
    async fn a_tail_costs_what_it_is_long_not_what_its_log_is() {
        let (job, fence) = run();
        let log = OneLog::of("0123456789\n".repeat(1 << 20));
        let part = tail(&source(&log, job, &fence), 100, View::Settled).await.unwrap();
        assert_eq!((part.text.len() as u64, part.next_offset), (1100, log.0.len() as u64));
        assert!(log.1.load(Ordering::Relaxed) <= BLOCK_BYTES + 1100);
    }

    #[tokio::test]
    async fn a_long_log_gives_its_end_and_says_so() {
        let (job, fence) = run();
        let short = whole(&source(&OneLog::of("all\nof it\n"), job, &fence), View::Settled).await.unwrap().text;
        assert_eq!(short, "all\nof it\n");
        let long = vec![b'x'; usize::try_from(MAX_TEXT_BYTES).unwrap() + 7];
        let part = whole(&source(&OneLog::of(long), job, &fence), View::Settled).await.unwrap();
        assert!(part.text.starts_with("[these are the last 16 MiB of the log; read the 7 bytes before them"));
        assert_eq!(part.text.trim_start_matches(|c| c != '\n').matches('x').count() as u64, MAX_TEXT_BYTES);
        assert!(part.truncated && part.offset == 7);
    }

    #[tokio::test]
    async fn lines_are_counted_as_they_are_shown() {
        let (job, fence) = run();
        let bar = (0..20_000).map(|n| format!("\r{n:6}|{}", "#".repeat(60))).collect::<Vec<_>>().concat();
        let last = format!(" 19999|{}", "#".repeat(60));
        let log = format!("first\nsecond\n{bar}\nthird\n");
        assert_eq!(tail_of(&log, 2).await, format!("{last}\nthird\n"));
        assert_eq!(tail_of(&log, 9).await, format!("first\nsecond\n{last}\nthird\n"));
        let nested = (0..20_000).map(|n| format!("\n\r{n:6}|inner\x1b[A")).collect::<Vec<_>>().concat();
        let log = format!("{}\r  0%|outer{nested}\r100%|outer\n\nlast\n", "before\n".repeat(50_000));
        assert_eq!(tail_of(&log, 3).await, "100%|outer\n 19999|inner\nlast\n");
        assert_eq!(tail_of(&log, 4).await, "before\n100%|outer\n 19999|inner\nlast\n");
        let raw = tail(&source(&OneLog::of(log.as_str()), job, &fence), 2, View::Raw).await.unwrap();
        assert_eq!(raw.text, "\nlast\n");
        assert_eq!(log.len() as u64, raw.next_offset);
    }

    #[tokio::test]
    async fn a_tail_whose_lines_were_written_over_reads_little_more_than_the_whole() {
        let (job, fence) = run();
        let bytes = 1 << 20;
        let log = OneLog::of(format!("{}\x1b[A{}\n", "\n".repeat(bytes / 2), "x".repeat(bytes / 2)));
        let part = tail(&source(&log, job, &fence), 1, View::Settled).await.unwrap();
        assert_eq!(part.text.trim_end().len(), bytes / 2);
        assert!(log.1.load(Ordering::Relaxed) < 5 * bytes as u64, "{:?}", log.1);
    }

    #[tokio::test]
    async fn no_user_has_two_turns_and_one_who_has_left_keeps_no_other_from_his() {
        static ALL: Semaphore = Semaphore::const_new(2);
        let (ann, bob) = (&USERS[0], &USERS[1]);
        let first = turn(ann, &ALL).await;
        let mut second = std::pin::pin!(turn(ann, &ALL));
        assert!(futures::poll!(&mut second).is_pending());
        let other = turn(bob, &ALL).await;
        assert_eq!(ALL.available_permits(), 0);
        drop((first, other));
        assert!(futures::poll!(&mut second).is_ready());
    }
}

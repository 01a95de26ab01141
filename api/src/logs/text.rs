//! Reading a log's text without ever holding more of it than an answer may have.

use std::ops::Range;

use events::ports::{LogPort, PortError};
use events::{Fence, JobId};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::lines::{Excerpt, Lines, View};

/// The most bytes of a log that one answer carries; of a longer one its end is given.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// How much is read at once on the way back from the end.
const BLOCK_BYTES: u64 = 64 << 10;

/// How many blocks are rendered at once; other requests wait for their turn at the next block.
static RENDERING: Semaphore = Semaphore::const_new(2);

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
pub(super) async fn whole(log: &dyn LogPort, job: JobId, fence: &Fence, view: View) -> Result<Part, PortError> {
    let end = log.len(job, fence).await?.unwrap_or(0);
    let start = end.saturating_sub(MAX_TEXT_BYTES);
    let mut part = read(log, job, fence, start..end, view).await?.part;
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
pub(super) async fn tail(
    log: &dyn LogPort,
    job: JobId,
    fence: &Fence,
    lines: u64,
    view: View,
) -> Result<Part, PortError> {
    let end = log.len(job, fence).await?.unwrap_or(0);
    let mut raw_lines = lines;
    loop {
        let start = tail_start(log, job, fence, end, raw_lines).await?;
        let Reading { mut part, went_above } = read(log, job, fence, start..end, view).await?;
        let cut = last_lines(&part.text, lines);
        let at_floor = start <= end.saturating_sub(MAX_TEXT_BYTES);
        if at_floor || cut.is_some() && !went_above {
            part.truncated = start > 0 && cut.is_none();
            part.text.drain(..cut.unwrap_or(0));
            return Ok(part);
        }
        // Lines were written over from below. Those that are shown begin further up.
        raw_lines = raw_lines.saturating_mul(4).max(64);
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
async fn read(
    log: &dyn LogPort,
    job: JobId,
    fence: &Fence,
    range: Range<u64>,
    view: View,
) -> Result<Reading, PortError> {
    let mut lines = Lines::from(range.start, view);
    let mut text = String::new();
    while lines.end() < range.end {
        let left = usize::try_from((range.end - lines.end()).min(BLOCK_BYTES)).unwrap_or(usize::MAX);
        let bytes = log.read(job, fence, lines.end(), left).await?;
        if bytes.is_empty() {
            break;
        }
        let excerpt;
        (lines, excerpt) = render(lines, move |lines| lines.take(&bytes)).await?;
        text.extend(excerpt.map(|excerpt| excerpt.text));
    }
    let next_offset = lines.resume();
    let excerpt;
    (lines, excerpt) = render(lines, Lines::finish).await?;
    text.extend(excerpt.map(|excerpt| excerpt.text));
    let part = Part { text, offset: range.start, next_offset, truncated: false };
    Ok(Reading { part, went_above: lines.went_above() })
}

/// Renders on a thread where it holds up no other request.
async fn render(
    mut lines: Lines,
    step: impl FnOnce(&mut Lines) -> Option<Excerpt> + Send + 'static,
) -> Result<(Lines, Option<Excerpt>), PortError> {
    let _turn = RENDERING.acquire().await;
    let rendered = spawn_blocking(move || {
        let excerpt = step(&mut lines);
        (lines, excerpt)
    });
    rendered.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => PortError::Unavailable(format!("the log was not rendered: {error}").into()),
    })
}

/// Where the last `lines` lines before `end` begin, as they were printed, within the 16 MiB before it. Reads backwards in
/// blocks, so that the cost is that of those lines, and no more than a block is in memory.
pub(super) async fn tail_start(
    log: &dyn LogPort,
    job: JobId,
    fence: &Fence,
    end: u64,
    lines: u64,
) -> Result<u64, PortError> {
    let floor = end.saturating_sub(MAX_TEXT_BYTES);
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

    async fn tail_of(text: &str, lines: u64) -> String {
        let (job, fence) = run();
        tail(&OneLog::of(text), job, &fence, lines, View::Settled).await.unwrap().text
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
        let part = tail(&log, job, &fence, 100, View::Settled).await.unwrap();
        assert_eq!((part.text.len() as u64, part.next_offset), (1100, log.0.len() as u64));
        assert!(log.1.load(Ordering::Relaxed) <= BLOCK_BYTES + 1100);
    }

    #[tokio::test]
    async fn a_long_log_gives_its_end_and_says_so() {
        let (job, fence) = run();
        let short = whole(&OneLog::of("all\nof it\n"), job, &fence, View::Settled).await.unwrap().text;
        assert_eq!(short, "all\nof it\n");
        let long = vec![b'x'; usize::try_from(MAX_TEXT_BYTES).unwrap() + 7];
        let part = whole(&OneLog::of(long), job, &fence, View::Settled).await.unwrap();
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
        let raw = tail(&OneLog::of(log.as_str()), job, &fence, 2, View::Raw).await.unwrap();
        assert_eq!(raw.text, "\nlast\n");
        assert_eq!(log.len() as u64, raw.next_offset);
    }
}

//! A log where nothing can be written over, as in a file: of each line what it came to be in the end.

/// A longer line is not waited for.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Holds the last line until it has its end.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    line: String,
}

impl Settled {
    /// Takes a piece of the log, and gives the lines that are settled.
    pub(crate) fn take(&mut self, text: &str) -> String {
        self.line.push_str(text);
        let whole = self.line.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.line.split_off(whole);
        let whole = std::mem::replace(&mut self.line, rest);
        let mut settled: String = whole.split_inclusive('\n').map(settle).collect();
        if self.line.len() > MAX_LINE_BYTES {
            settled.push_str(&self.finish());
        }
        settled
    }

    /// What is left of the last line when nothing more comes.
    pub(crate) fn finish(&mut self) -> String {
        settle(&std::mem::take(&mut self.line))
    }
}

/// What was written last between carriage returns, and the line's end.
fn settle(line: &str) -> String {
    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
    let line = line.trim_end_matches('\r');
    let last = line.rsplit('\r').next().unwrap_or(line);
    format!("{last}{end}")
}

/// A log on a terminal: what takes the place of a line also clears what was longer.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    /// A carriage return that the next text will tell the meaning of: it may be a part of the line's end.
    held: String,
}

impl Rewritten {
    /// Takes a piece of the log, and gives what to write.
    pub(crate) fn take(&mut self, text: &str) -> String {
        let mut text = std::mem::take(&mut self.held) + text;
        let whole = text.trim_end_matches('\r').len();
        if whole < text.len() {
            "\r".clone_into(&mut self.held);
        }
        text.truncate(whole);
        let clear = |line: &str| {
            let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
            line.trim_end_matches('\r').replace('\r', "\r\x1b[K") + end
        };
        text.split_inclusive('\n').map(clear).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_when_it_is_settled() {
        let mut settled = Settled::default();
        let pieces = ["a\n 10%", "\r 20%\r", "\r100%", "\r\nend\r\n", "las", "t"];
        let told: Vec<String> = pieces.iter().map(|piece| settled.take(piece)).collect();
        assert_eq!(told, ["a\n", "", "", "100%\nend\n", "", ""]);
        assert_eq!((settled.finish().as_str(), settled.finish().as_str()), ("last", ""));
    }

    #[test]
    fn a_line_that_grows_and_grows_is_not_waited_for() {
        let mut settled = Settled::default();
        assert_eq!(settled.take(&"x".repeat(MAX_LINE_BYTES)), "");
        assert_eq!(settled.take("y").len(), MAX_LINE_BYTES + 1);
    }

    #[test]
    fn a_terminal_is_cleared_behind_what_is_written_over_and_at_no_lines_end() {
        let mut rewritten = Rewritten::default();
        let pieces = ["a\r\nlong\rb\r", "\n 50%\r", "\r 60%\r\r\nend"];
        let written: Vec<String> = pieces.iter().map(|piece| rewritten.take(piece)).collect();
        assert_eq!(written, ["a\nlong\r\u{1b}[Kb", "\n 50%", "\r\u{1b}[K\r\u{1b}[K 60%\nend"]);
    }
}

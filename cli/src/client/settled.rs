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

/// For a terminal: what takes the place of a line also clears what was longer.
pub(crate) fn cleared(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\r\x1b[K")
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
    fn a_terminal_is_cleared_behind_what_is_written_over() {
        assert_eq!(cleared("a\r\nlong\rb"), "a\nlong\r\u{1b}[Kb");
    }
}

//! A log where nothing can be written over, as in a file: of each line what it came to be in the end. And one on a
//! terminal, where lines are written over.

use api::terminal::{Effect, Reader};
use unicode_width::UnicodeWidthChar;

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
    /// How wide the line is that can be written over.
    cells: usize,
}

impl Rewritten {
    /// Takes a piece of the log, and gives what to write to a terminal of so many columns.
    pub(crate) fn take(&mut self, text: &str, columns: usize) -> String {
        let mut text = std::mem::take(&mut self.held) + text;
        let whole = text.trim_end_matches('\r').len();
        if whole < text.len() {
            "\r".clone_into(&mut self.held);
        }
        text.truncate(whole);
        let mut written = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
            for (at, part) in line.trim_end_matches('\r').split('\r').enumerate() {
                if at > 0 {
                    written.push_str(&self.erase(columns));
                }
                written.push_str(part);
                self.cells = cells(part, self.cells);
            }
            written.push_str(end);
            if !end.is_empty() {
                self.cells = 0;
            }
        }
        written
    }

    /// Knows that something else was written, on a line of its own.
    pub(crate) fn end_line(&mut self) {
        self.cells = 0;
    }

    /// Goes to the beginning of the line, which may be several rows up, and clears it.
    fn erase(&mut self, columns: usize) -> String {
        let rows_above = self.cells.saturating_sub(1) / columns.max(1);
        self.cells = 0;
        match rows_above {
            0 => "\r\x1b[K".to_owned(),
            rows => format!("\r\x1b[{rows}A\x1b[J"),
        }
    }
}

/// Where a text ends that begins in this column, were the terminal as wide as need be.
fn cells(text: &str, begin: usize) -> usize {
    let mut column = begin;
    Reader::default().read(text, |effect| {
        if let Effect::Text(text) = effect {
            for c in text.chars() {
                column += if c == '\t' { 8 - column % 8 } else { c.width().unwrap_or(0) };
            }
        }
    });
    column
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
        let written: Vec<String> = pieces.iter().map(|piece| rewritten.take(piece, 80)).collect();
        assert_eq!(written, ["a\nlong\r\u{1b}[Kb", "\n 50%", "\r\u{1b}[K\r\u{1b}[K 60%\nend"]);
    }

    #[test]
    fn a_bar_that_is_wider_than_the_terminal_is_cleared_whole() {
        let mut rewritten = Rewritten::default();
        let bar = "\x1b[32m".to_owned() + &"#".repeat(80) + "\x1b[0m";
        assert_eq!(rewritten.take(&bar, 40), bar);
        assert_eq!(rewritten.take("\rx", 40), "\r\x1b[1A\x1b[Jx", "80 cells are two rows of 40");
        rewritten.take(&"\u{4e00}".repeat(60), 40);
        assert_eq!(rewritten.take("\ry", 40), "\r\x1b[3A\x1b[Jy", "121 cells are four rows");
        rewritten.take("\n\tx", 40);
        assert_eq!(rewritten.take("\ry", 8), "\r\x1b[1A\x1b[Jy", "a tab reaches to the next stop");
    }
}

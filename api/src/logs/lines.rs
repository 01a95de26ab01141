//! What a client is shown of a log's bytes: whole characters, and lines as a terminal shows them.

use super::screen::Screen;

/// How a log is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// As it comes. Where the text begins with `\r` it takes the place of what was shown of its first line before.
    Live,
    /// As it came to look. What can still change is only shown at the end.
    Settled,
    /// As it was printed.
    Raw,
}

/// The way through one log. Any bytes may come; what they hold of a character or a sequence that is not whole yet waits
/// for the rest.
pub(super) struct Lines {
    view: View,
    screen: Screen,
    /// Where the next excerpt begins.
    offset: u64,
    /// Where a client that has seen all excerpts goes on without missing anything of the line.
    resume: u64,
    /// How many bytes are on the screen.
    taken: u64,
    /// The bytes behind them: at most three of a character.
    held: Vec<u8>,
}

/// Text of a log, and where it stands in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) text: String,
    pub(super) offset: u64,
    pub(super) next_offset: u64,
}

impl Lines {
    /// From an offset on.
    pub(super) fn from(offset: u64, view: View) -> Self {
        let screen = if offset > 0 && view == View::Live { Screen::continued() } else { Screen::new() };
        Self { view, screen, offset, resume: offset, taken: offset, held: Vec::new() }
    }

    /// Where the next bytes to be taken stand.
    pub(super) fn end(&self) -> u64 {
        self.taken + self.held.len() as u64
    }

    /// Where to go on after what was taken. It is before what was taken last if that has no effect without what
    /// follows.
    pub(super) fn resume(&self) -> u64 {
        self.resume
    }

    /// Whether lines above those that were taken were written over.
    pub(super) fn went_above(&self) -> bool {
        self.screen.went_above()
    }

    /// Takes the next bytes, and gives what can be shown.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<Excerpt> {
        let mut bytes = [std::mem::take(&mut self.held).as_slice(), bytes].concat();
        self.held = bytes.split_off(whole_characters(&bytes));
        let text = self.write(&bytes);
        self.excerpt(text)
    }

    /// Gives what was held, once nothing more comes.
    pub(super) fn finish(&mut self) -> Option<Excerpt> {
        let held = std::mem::take(&mut self.held);
        let text = self.write(&held) + &self.screen.finish();
        self.resume = self.taken;
        self.excerpt(text)
    }

    /// Gives what can still change, for a client that asks anew for what follows.
    pub(super) fn rest(&mut self) -> String {
        self.screen.finish()
    }

    fn write(&mut self, bytes: &[u8]) -> String {
        let begin = self.taken;
        self.taken += bytes.len() as u64;
        let text = String::from_utf8_lossy(bytes);
        if self.view == View::Raw {
            self.resume = self.taken;
            return text.into_owned();
        }
        self.screen.write(&text);
        let told = match self.view {
            View::Live => self.screen.news(),
            View::Settled | View::Raw => self.screen.settled(),
        };
        let effective = self.effective(bytes);
        if effective > 0 {
            self.resume = begin + effective as u64;
        }
        told
    }

    /// How many of these bytes need not be read again: all but a sequence and carriage returns that await what follows,
    /// and lines that are not told to their end.
    fn effective(&self, bytes: &[u8]) -> usize {
        let begun = self.screen.is_amid_sequence().then(|| bytes.iter().rposition(|byte| *byte == b'\x1b')).flatten();
        let bytes = &bytes[..begun.unwrap_or(bytes.len())];
        let mut ends = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        let untold = match (self.view, self.screen.waiting().checked_sub(1)) {
            (View::Live, Some(before)) => ends.nth(before).unwrap_or(0),
            _ => bytes.len(),
        };
        bytes[..untold].iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1)
    }

    fn excerpt(&mut self, text: String) -> Option<Excerpt> {
        if text.is_empty() {
            return None;
        }
        // Every excerpt gets on.
        if self.resume <= self.offset {
            self.resume = self.taken;
        }
        let offset = std::mem::replace(&mut self.offset, self.resume);
        Some(Excerpt { text, offset, next_offset: self.resume })
    }
}

/// How many of these bytes end with a whole character: all but the at most three that only begin one.
///
/// What is no UTF-8 at all counts as whole; it is shown as U+FFFD wherever it is cut.
fn whole_characters(bytes: &[u8]) -> usize {
    let last = bytes.len().saturating_sub(3)..bytes.len();
    for at in last.rev() {
        let continues = bytes[at] & 0b1100_0000 == 0b1000_0000;
        if !continues {
            let incomplete = std::str::from_utf8(&bytes[at..])
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none());
            return if incomplete { at } else { bytes.len() };
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of a log that comes in these pieces.
    fn shown(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::from(0, View::Live);
        let mut at = 0;
        let mut shown = Vec::new();
        let mut look = |excerpt: Option<Excerpt>| {
            if let Some(Excerpt { text, offset, next_offset }) = excerpt {
                assert!(at == offset && offset < next_offset, "{at} {offset} {next_offset} {text:?}");
                at = next_offset;
                shown.push(text);
            }
        };
        for piece in pieces {
            look(lines.take(piece));
        }
        look(lines.finish());
        assert_eq!(lines.end(), pieces.concat().len() as u64);
        shown
    }

    /// What a terminal, which replaces a line at a carriage return, shows in the end.
    fn screen(texts: &[String]) -> String {
        let mut screen = String::new();
        for c in texts.concat().chars() {
            match c {
                '\r' => screen.truncate(screen.rfind('\n').map_or(0, |at| at + 1)),
                c => screen.push(c),
            }
        }
        screen
    }

    #[test]
    fn a_line_that_was_written_over_is_shown_as_it_came_to_look() {
        for (pieces, expected) in [
            (vec![&b"a\nb\n"[..]], vec!["a\nb\n"]),
            (vec![b" 10%\r 20%\r 30%\ndone\n"], vec![" 30%\ndone\n"]),
            (vec![b"\r 10%\r 20%", b"\r 30%", b"\n"], vec![" 20%", "\r 30%", "\n"]),
            (vec![b"10%\r", b"20%\r", b"30%\r", b"\n"], vec!["10%", "\r20%", "\r30%", "\n"]),
            (vec![b"dos\r\nlines\r", b"\n"], vec!["dos\nlines", "\n"]),
            (vec![b"a\r\r", b"\r\nb"], vec!["a", "\nb"]),
            (vec![b"bar\r   \rnext\n"], vec!["next", "\n"]),
            (vec![b"bar", b"\r   \rnext\n"], vec!["bar", "\rnext", "\n"]),
            (vec![b"\r\r", b"\r"], vec![]),
            (vec![b"50%\r"], vec!["50%"]),
            (vec![b"nul \0 and \x1b[1m\n"], vec!["nul  and \x1b[1m\n"]),
            (vec![b"\x1b]0;ti", b"tle\x07a\x1b[", b"31mb"], vec!["a", "\x1b[31mb"]),
        ] {
            assert_eq!(shown(&pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_character_is_whole_wherever_it_was_cut_and_what_is_none_is_replaced() {
        let text = "a✓\nβ😀\n".as_bytes();
        for cut in 0..=text.len() {
            assert_eq!(shown(&[&text[..cut], &text[cut..]]).concat().as_bytes(), text, "{cut}");
        }
        assert_eq!(shown(&[b"a\xff", b"\xe2\x9c", b"z\n"]), ["a\u{fffd}", "\u{fffd}z\n"]);
        assert_eq!(shown(&[b"a\xe2\x9c"]), ["a", "\u{fffd}"]);
    }

    #[test]
    fn a_screen_looks_the_same_wherever_the_log_was_cut() {
        let log = "begin\r\n\r 1%\r 2%\r100%\nnext: \u{2713}\r\r\nlast\rLAST";
        let whole = screen(&shown(&[log.as_bytes()]));
        assert_eq!(whole, "begin\n100%\nnext: ✓\nLAST");
        for first in 0..log.len() {
            for second in first..log.len() {
                let pieces = [&log.as_bytes()[..first], &log.as_bytes()[first..second], &log.as_bytes()[second..]];
                assert_eq!(screen(&shown(&pieces)), whole, "{first} {second}");
            }
        }
    }

    #[test]
    fn a_client_that_goes_on_amid_a_line_is_told_to_replace_it() {
        let mut lines = Lines::from(7, View::Live);
        assert_eq!(lines.take(b"\r 50%").map(|excerpt| excerpt.text).as_deref(), Some("\r 50%"));
    }

    #[test]
    fn a_client_goes_on_before_what_has_no_effect_alone() {
        for (log, resume) in [
            (&b"50%"[..], 3),
            (b"50%\r", 3),
            (b"50%\r\r", 3),
            (b"a\xe2\x9c", 1),
            (b"a\x1b[3", 1),
            (b"a\r\x1b]0;ti", 1),
            (b"a\x1b[31m", 6),
            (b"a\n", 2),
            (b"\r 50%\r100%\n", 10),
            (b"\r50%\n\r 1%\x1b[A\n\r 2%\x1b[A", 12),
        ] {
            let mut lines = Lines::from(0, View::Live);
            lines.take(log);
            assert_eq!(lines.resume(), resume, "{log:?}");
        }
    }

    #[test]
    fn a_character_is_never_cut() {
        for text in ["aé", "a€", "a😀"] {
            let bytes = text.as_bytes();
            for cut in 2..bytes.len() {
                assert_eq!(whole_characters(&bytes[..cut]), 1, "{text} {cut}");
            }
            assert_eq!(whole_characters(bytes), bytes.len());
        }
        assert_eq!(whole_characters(b""), 0);
        for broken in [&b"a\xff"[..], b"a\xc0\x80", b"\x80\x80\x80\x80", b"a\xe2("] {
            assert_eq!(whole_characters(broken), broken.len(), "{broken:?}");
        }
    }
}

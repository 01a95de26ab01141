//! What a client is shown of a log's bytes: whole characters, and a line that was written over as it came to look.

use super::text::whole_characters;

/// The way through one log. Any bytes may come; what they hold of a line, a character or a rewrite that is not whole
/// yet waits for the rest.
pub(super) struct Lines {
    /// Where the first byte that is not shown stands.
    offset: u64,
    /// Bytes from there on that wait for the rest: of a character at most three, and one carriage return, which is a
    /// rewrite or belongs to a line's end.
    held: Vec<u8>,
    mid_line: Shown,
}

/// How much is shown of the line at which a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Some,
}

/// Text of a log, and where it stands in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// Of each line what was left when it had been written over. Where it begins with `\r` it takes the place of what
    /// was shown of its first line before.
    pub(super) text: String,
    pub(super) offset: u64,
    pub(super) next_offset: u64,
}

impl Lines {
    /// From an offset on.
    pub(super) fn from(offset: u64) -> Self {
        // Amid a log something of the line may be on the screen. If not, to be told to replace it does no harm.
        let mid_line = if offset == 0 { Shown::Nothing } else { Shown::Some };
        Self { offset, held: Vec::new(), mid_line }
    }

    /// Where the next bytes to be taken stand.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.held.len() as u64
    }

    /// Takes the next bytes, and gives what can be shown.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<Excerpt> {
        let mut bytes = [std::mem::take(&mut self.held).as_slice(), bytes].concat();
        let whole = whole_characters(&bytes);
        let whole = whole - usize::from(bytes[..whole].last() == Some(&b'\r'));
        self.held = bytes.split_off(whole);
        self.show(&bytes)
    }

    /// Gives what was held, once nothing more comes.
    pub(super) fn finish(&mut self) -> Option<Excerpt> {
        let held = std::mem::take(&mut self.held);
        self.show(&held)
    }

    fn show(&mut self, bytes: &[u8]) -> Option<Excerpt> {
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        let text = settle(&String::from_utf8_lossy(bytes), self.mid_line);
        if text.is_empty() {
            return None;
        }
        self.mid_line = if text.ends_with('\n') { Shown::Nothing } else { Shown::Some };
        Some(Excerpt { text, offset, next_offset: self.offset })
    }
}

/// Leaves of each line what comes after its last carriage return, but for those at its very end.
fn settle(text: &str, mid_line: Shown) -> String {
    let mut settled = String::with_capacity(text.len());
    let mut before = mid_line;
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let line = line.trim_end_matches('\r');
        match line.rfind('\r') {
            None => settled.push_str(line),
            Some(at) => {
                if before == Shown::Some {
                    settled.push('\r');
                }
                settled.push_str(&line[at + 1..]);
            }
        }
        settled.push_str(end);
        before = Shown::Nothing;
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of a log that comes in these pieces.
    fn shown(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::from(0);
        let mut at = 0;
        let mut shown = Vec::new();
        let mut look = |excerpt: Option<Excerpt>| {
            if let Some(Excerpt { text, offset, next_offset }) = excerpt {
                assert!(at <= offset && offset < next_offset);
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
            (vec![b"bar\r   \rnext\n"], vec!["next\n"]),
            (vec![b"bar", b"\r   \rnext\n"], vec!["bar", "\rnext\n"]),
            (vec![b"\r\r", b"\r"], vec![]),
            (vec![b"50%\r"], vec!["50%"]),
            (vec![b"nul \0 and \x1b[1m\n"], vec!["nul \0 and \x1b[1m\n"]),
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
        let mut lines = Lines::from(7);
        assert_eq!(lines.take(b"\r 50%").map(|excerpt| excerpt.text).as_deref(), Some("\r 50%"));
    }
}

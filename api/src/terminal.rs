//! What a text would do to a terminal, read without a terminal: strangers' text is shown from this alone.

use anstyle_parse::{Params, Parser, Perform};

/// The longest escape sequence that is read to its end. What follows a longer one is text again, so that a sequence
/// without an end hides no more than this, or the rest of its line.
const MAX_SEQUENCE_BYTES: usize = 4 << 10;

/// One effect of a text on a terminal. Everything else that a terminal understands has no effect here: titles,
/// clipboards, other screens, cursor shapes, character sets, bells, and marks that turn the direction of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Shows characters; a tab is one.
    Text(&'a str),
    /// Changes colours or weight: a whole SGR sequence.
    Style(&'a str),
    /// Goes to the beginning of the next line.
    NewLine,
    /// Goes to the beginning of the line.
    Return,
    /// Goes some characters back.
    Back(u16),
    /// Goes some lines up.
    Up(u16),
    /// Goes some lines down, though not below the last.
    Down(u16),
    /// Erases the line from the cursor on.
    EraseRest,
    /// Erases the line.
    EraseLine,
    /// Erases the line from the cursor on, and all lines below.
    EraseBelow,
}

/// Reads a text piece by piece; a sequence may be cut anywhere.
#[derive(Debug, Default)]
pub struct Reader {
    parser: Parser,
    sequence: Sequence,
    /// Bytes since a sequence last had an effect or an end.
    unended: usize,
}

/// Whether a sequence is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Sequence {
    #[default]
    None,
    Perhaps,
}

impl Reader {
    /// Reads the next piece, and tells its effects in order.
    pub fn read(&mut self, text: &str, mut tell: impl FnMut(Effect<'_>)) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let plain = match self.sequence {
                Sequence::None => rest.find(|c: char| c != '\t' && c.is_control() || turns(c)).unwrap_or(rest.len()),
                Sequence::Perhaps => 0,
            };
            if plain > 0 {
                tell(Effect::Text(&rest[..plain]));
                rest = &rest[plain..];
            } else {
                self.character(c, &mut tell);
                rest = &rest[c.len_utf8()..];
            }
        }
    }

    /// Whether what was read last may be the beginning of a sequence.
    #[must_use]
    pub fn is_amid_sequence(&self) -> bool {
        self.sequence == Sequence::Perhaps
    }

    fn character(&mut self, c: char, tell: &mut dyn FnMut(Effect<'_>)) {
        match c {
            // Ends a sequence that has no end.
            '\n' => self.byte(CANCEL, tell),
            // The control characters of 8-bit terminals, as those of 7 bits.
            '\u{80}'..='\u{9f}' => {
                self.byte(ESCAPE, tell);
                let second = u8::try_from(u32::from(c) - 0x40).unwrap_or(CANCEL);
                return self.byte(second, tell);
            }
            _ => {}
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            self.byte(byte, tell);
        }
    }

    fn byte(&mut self, byte: u8, tell: &mut dyn FnMut(Effect<'_>)) {
        if self.unended > MAX_SEQUENCE_BYTES {
            self.advance(CANCEL, tell);
        }
        self.advance(byte, tell);
    }

    fn advance(&mut self, byte: u8, tell: &mut dyn FnMut(Effect<'_>)) {
        if byte == ESCAPE {
            self.sequence = Sequence::Perhaps;
        }
        let mut listener = Listener { tell, sequence: self.sequence, told: false };
        self.parser.advance(&mut listener, byte);
        self.sequence = listener.sequence;
        self.unended = if listener.told { 0 } else { self.unended + 1 };
    }
}

const CANCEL: u8 = 0x18;
const ESCAPE: u8 = 0x1b;

struct Listener<'a> {
    tell: &'a mut dyn FnMut(Effect<'_>),
    sequence: Sequence,
    told: bool,
}

impl Listener<'_> {
    fn ends(&mut self) {
        self.sequence = Sequence::None;
        self.told = true;
    }
}

impl Perform for Listener<'_> {
    fn print(&mut self, c: char) {
        self.ends();
        if !c.is_control() && !turns(c) {
            (self.tell)(Effect::Text(c.encode_utf8(&mut [0; 4])));
        }
    }

    /// Some of these may stand within a sequence.
    fn execute(&mut self, byte: u8) {
        self.told = true;
        match byte {
            b'\n' => (self.tell)(Effect::NewLine),
            b'\r' => (self.tell)(Effect::Return),
            b'\t' => (self.tell)(Effect::Text("\t")),
            0x08 => (self.tell)(Effect::Back(1)),
            CANCEL => self.ends(),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        self.ends();
        // With a mark, such as `>`, the same letter means something else.
        if ignore || !intermediates.is_empty() {
            return;
        }
        let first = params.iter().next().and_then(|param| param.first()).copied().unwrap_or(0);
        let count = first.max(1);
        match (action, first) {
            (b'm', _) => (self.tell)(Effect::Style(&style(params))),
            (b'A', _) => (self.tell)(Effect::Up(count)),
            (b'B', _) => (self.tell)(Effect::Down(count)),
            (b'D', _) => (self.tell)(Effect::Back(count)),
            (b'E', _) => {
                (self.tell)(Effect::Down(count));
                (self.tell)(Effect::Return);
            }
            (b'F', _) => {
                (self.tell)(Effect::Up(count));
                (self.tell)(Effect::Return);
            }
            (b'G', 0 | 1) => (self.tell)(Effect::Return),
            (b'K', 0) => (self.tell)(Effect::EraseRest),
            (b'K', 2) => (self.tell)(Effect::EraseLine),
            (b'J', 0) => (self.tell)(Effect::EraseBelow),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, _: u8) {
        self.ends();
    }

    /// One that an escape ends goes on with what that begins.
    fn osc_dispatch(&mut self, _: &[&[u8]], ended_by_bell: bool) {
        self.told = true;
        if ended_by_bell {
            self.ends();
        }
    }

    fn unhook(&mut self) {
        self.told = true;
    }
}

/// The SGR sequence of these parameters.
fn style(params: &Params) -> String {
    let numbers = |param: &[u16]| param.iter().map(u16::to_string).collect::<Vec<_>>().join(":");
    let params: Vec<String> = params.iter().map(numbers).collect();
    format!("\x1b[{}m", params.join(";"))
}

/// Whether a character turns the direction in which what follows is read.
#[must_use]
pub fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The effects of a text that comes in these pieces; neighbouring texts are one.
    fn effects(pieces: &[&str]) -> Vec<String> {
        let mut reader = Reader::default();
        let mut effects = Vec::new();
        let mut text = String::new();
        for piece in pieces {
            reader.read(piece, |effect| match effect {
                Effect::Text(more) => text.push_str(more),
                other => {
                    effects.extend((!text.is_empty()).then(|| std::mem::take(&mut text)));
                    effects.push(format!("{other:?}"));
                }
            });
        }
        effects.extend((!text.is_empty()).then_some(text));
        effects
    }

    /// What is left to be seen.
    fn seen(text: &str) -> String {
        let mut seen = String::new();
        Reader::default().read(text, |effect| match effect {
            Effect::Text(text) | Effect::Style(text) => seen.push_str(text),
            Effect::NewLine => seen.push('\n'),
            _ => {}
        });
        seen
    }

    /// What a hostile job prints, each between `a` and `b`.
    const HOSTILE: [&str; 26] = [
        "\x1b]52;c;cm0gLXJmIC8=\x07",
        "\x1b]0;title\x1b\\",
        "\x1b]8;;http://evil\x1b\\",
        "\u{9d}0;title\u{9c}",
        "\u{9d}52;c;eA==\x07",
        "\x1b[?1049h",
        "\x1b[?25l",
        "\x1b[2J",
        "\x1b[H",
        "\u{9b}2J",
        "\x1b[6n",
        "\x1b[>4;1m",
        "\x1b[?4m",
        "\x1bP+q544e\x1b\\",
        "\u{90}1$r0m\u{9c}",
        "\x1b_apc\x1b\\",
        "\x1b^pm\x1b\\",
        "\x1bXsos\x1b\\",
        "\u{9f}apc\u{9c}",
        "\x1b(0",
        "\x1b#8",
        "\x1bc",
        "\x0e\x07\0\x7f",
        "\u{202e}\u{2066}\u{200f}\u{61c}\u{2069}",
        "\x1b[1 q",
        "\x1b[!p",
    ];

    #[test]
    fn what_drives_a_terminal_is_gone_wherever_it_is_cut() {
        for hostile in HOSTILE {
            assert_eq!(seen(&format!("a{hostile}b")), "ab", "{hostile:?}");
            let text = format!("a{hostile}b");
            for (cut, _) in text.char_indices() {
                let (first, second) = text.split_at(cut);
                assert_eq!(effects(&[first, second]), effects(&[&text]), "{hostile:?} {cut}");
            }
        }
    }

    #[test]
    fn colours_stay_and_lose_nothing() {
        for kept in ["\x1b[1;31mred\x1b[0m", "\x1b[38;2;1;2;3mx", "\x1b[4:3mx", "✓\tβ😀\n"] {
            assert_eq!(seen(kept), kept);
        }
        assert_eq!(seen("\x1b[mx"), "\x1b[0mx");
    }

    #[test]
    fn a_sequence_without_an_end_hides_its_line_at_most() {
        assert_eq!(seen("a\x1b]0;hidden\nb"), "a\nb");
        assert_eq!(seen("a\x1bPhidden\nb"), "a\nb");
        for begin in ["\x1b]", "\x1bP1q", "\x1b_", "\x1b["] {
            let long = format!("{begin}{}end", "1".repeat(1 << 20));
            let shown = seen(&long);
            assert!(shown.ends_with("1end") && long.len() - shown.len() < 2 * MAX_SEQUENCE_BYTES, "{begin:?}");
        }
    }

    #[test]
    fn moves_of_the_cursor_are_told() {
        assert_eq!(effects(&["\r\x08\x1b[A\x1b[3", "B"]), ["Return", "Back(1)", "Up(1)", "Down(3)"]);
        let erasing = ["Up(2)", "Return", "Return", "EraseRest", "EraseLine", "EraseBelow"];
        assert_eq!(effects(&["\x1b[2F\x1b[1G\x1b[K\x1b[2K\x1b[J"]), erasing);
    }

    #[test]
    fn a_sequence_under_way_is_known() {
        for (text, amid) in [("a", false), ("\x1b", true), ("\x1b[3", true), ("\x1b[3m", false), ("\x1b]0;a\x1b", true)]
        {
            let mut reader = Reader::default();
            reader.read(text, |_| {});
            assert_eq!(reader.is_amid_sequence(), amid, "{text:?}");
        }
    }
}

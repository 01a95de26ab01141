//! Finds the lines by which a program tells how far it is and how its numbers go.

use events::ports::Progress;
use events::results::is_name;

/// The longest line that can tell something.
const MAX_LINE_BYTES: usize = 4 << 10;
/// The most characters of a message that are kept.
const MAX_MESSAGE_CHARS: usize = 200;

/// Names that are the platform's own begin so.
pub(super) const SYSTEM: &str = "system/";

/// What a line tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Marker {
    /// `::progress 0.42 message`: how far the program is, from 0 to 1.
    Progress(Progress),
    /// `::metric loss 0.12 step=3`: a number now, or at a step.
    Metric { name: String, value: f64, step: Option<f64> },
}

/// The lines of an output that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line that may tell something; at most [`MAX_LINE_BYTES`].
    begun: Vec<u8>,
    /// The rest of the line tells nothing.
    skips: bool,
}

impl Lines {
    /// Takes the next piece, and gives what it told.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Vec<Marker> {
        let mut told = Vec::new();
        while let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
            self.add(&piece[..end]);
            told.extend(self.finish());
            piece = &piece[end + 1..];
        }
        self.add(piece);
        told
    }

    /// Ends the line that has begun, and gives what it told.
    pub(super) fn finish(&mut self) -> Option<Marker> {
        let told = if self.skips { None } else { parse(&self.begun) };
        self.begun.clear();
        self.skips = false;
        told
    }

    fn add(&mut self, part: &[u8]) {
        if self.skips {
            return;
        }
        let bytes = self.begun.len() + part.len();
        let may_tell = self.begun.iter().chain(part).take(2).eq(b"::".iter().take(bytes));
        if may_tell && bytes <= MAX_LINE_BYTES {
            self.begun.extend_from_slice(part);
        } else {
            self.skips = true;
            self.begun.clear();
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.begun.len()
    }
}

/// What a line tells; none for one that is just printed.
fn parse(line: &[u8]) -> Option<Marker> {
    let text = String::from_utf8_lossy(line);
    if let Some(rest) = text.strip_prefix("::progress ") {
        let rest = rest.trim();
        let (fraction, message) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let fraction = number(fraction).filter(|fraction| (0.0..=1.0).contains(fraction))?;
        let message = message.trim().chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect();
        return Some(Marker::Progress(Progress { fraction, message }));
    }
    let mut words = text.strip_prefix("::metric ")?.split_whitespace();
    let (name, value) = (words.next()?, number(words.next()?)?);
    let step = match words.next() {
        None => None,
        Some(word) => Some(number(word.strip_prefix("step=")?)?),
    };
    if words.next().is_some() || !is_name(name) || name.starts_with(SYSTEM) {
        return None;
    }
    Some(Marker::Metric { name: name.to_owned(), value, step })
}

/// A finite number.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(output: &[u8]) -> Vec<Marker> {
        let mut lines = Lines::default();
        let mut told = lines.push(output);
        told.extend(lines.finish());
        told
    }

    fn progress(fraction: f64, message: &str) -> Marker {
        Marker::Progress(Progress { fraction, message: message.to_owned() })
    }

    fn metric(name: &str, value: f64, step: Option<f64>) -> Marker {
        Marker::Metric { name: name.to_owned(), value, step }
    }

    #[test]
    fn what_a_program_tells_is_found_among_what_it_prints() {
        let output =
            b"begin\n::progress 0.42 epoch 3 of 7\r\n::metric loss 1.5e-3 step=3\n ::progress 0.5\nx::metric a 1\n\
                       ::metric val/acc@1 -2\n:\n::\n\n::progress 1";
        let wanted = [
            progress(0.42, "epoch 3 of 7"),
            metric("loss", 0.0015, Some(3.0)),
            metric("val/acc@1", -2.0, None),
            progress(1.0, ""),
        ];
        assert_eq!(told(output), wanted);
    }

    #[test]
    fn what_breaks_a_rule_is_just_printed() {
        for line in [
            "::progress",
            "::progress 1.01 too much",
            "::progress -0.1",
            "::progress nan",
            "::progress half",
            "::progressive 0.5",
            "::metric loss",
            "::metric loss inf",
            "::metric loss NaN step=1",
            "::metric loss 1 step=inf",
            "::metric loss 1 step=",
            "::metric loss 1 epoch=1",
            "::metric loss 1 step=1 more",
            "::metric system/cpu_percent 1",
            "::metric \u{1}loss 1",
        ] {
            assert_eq!(told(line.as_bytes()), [], "{line}");
        }
        let name = "n".repeat(251);
        assert_eq!(told(format!("::metric {name} 1\n::metric {} 1", &name[1..]).as_bytes()).len(), 1);
    }

    #[test]
    fn a_line_too_long_tells_nothing_and_a_long_message_is_cut() {
        let long = format!("::progress 0.5 {}", "é".repeat(300));
        assert_eq!(told(long.as_bytes()), [progress(0.5, &"é".repeat(200))]);
        let output = format!("::progress 0.1 {}\n::progress 0.2\n", "x".repeat(MAX_LINE_BYTES));
        assert_eq!(told(output.as_bytes()), [progress(0.2, "")]);
        assert_eq!(told(b"::progress 0.5 \x1b[2J\xff!"), [progress(0.5, "[2J\u{fffd}!")]);
    }
}

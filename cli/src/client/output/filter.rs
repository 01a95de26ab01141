//! What a reader's terminal is let have of a log: text, lines, carriage returns, and colours.

use api::terminal::{Effect, Reader};

/// Ends all colours.
const PLAIN: &str = "\x1b[0m";

/// Whether colours are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    Shown,
    Dropped,
}

/// Lets a log through piece by piece; what drives a terminal otherwise is taken away, wherever it is cut.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    reader: Reader,
    coloured: bool,
}

impl Filter {
    pub(crate) fn take(&mut self, text: &str, colours: Colours) -> String {
        let Self { reader, coloured } = self;
        let mut shown = String::with_capacity(text.len());
        reader.read(text, |effect| match effect {
            Effect::Text(text) => shown.push_str(text),
            Effect::NewLine => shown.push('\n'),
            Effect::Return => shown.push('\r'),
            Effect::Style(style) if colours == Colours::Shown => {
                *coloured = style != PLAIN;
                shown.push_str(style);
            }
            _ => {}
        });
        shown
    }

    /// What ends the colours that were shown.
    pub(crate) fn reset(&mut self) -> &'static str {
        if std::mem::take(&mut self.coloured) { PLAIN } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_and_rewrites_reach_the_terminal() {
        let log = "\x1b]52;c;cm0gLXJm\x07\x1b[?1049h\x1b[?25l\x1b[1;32m 50%\r\x1b[K 60%\x1b[0m\u{202e}\u{9d}0;t\u{9c}\x08\x1b[A\n";
        let mut filter = Filter::default();
        assert_eq!(filter.take(log, Colours::Shown), "\x1b[1;32m 50%\r 60%\x1b[0m\n");
        assert_eq!(filter.reset(), "", "the log has ended them itself");
        filter.take("\x1b[31mred", Colours::Shown);
        assert_eq!((filter.reset(), filter.reset()), (PLAIN, ""));
        assert_eq!(Filter::default().take(log, Colours::Dropped), " 50%\r 60%\n");
        for (cut, _) in log.char_indices() {
            let mut filter = Filter::default();
            let told = filter.take(&log[..cut], Colours::Shown) + &filter.take(&log[cut..], Colours::Shown);
            assert_eq!(told, "\x1b[1;32m 50%\r 60%\x1b[0m\n", "{cut}");
        }
    }
}

//! One line of a screen.

/// As much of a line is kept from one piece of a live log to the next.
pub(super) const KEPT_BYTES: usize = 4 << 10;
/// The longest line that can be written over as a whole. Of a longer one each full piece is settled.
pub(super) const FULL_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is true or false of a row whatever the others are")]
pub(super) struct Row {
    pub(super) text: String,
    /// `text` has a style somewhere. To search it at every effect would cost the square of its length.
    pub(super) styled: bool,
    /// Where the last style in `text` ends: characters behind it can be counted.
    plain_from: usize,
    /// How many characters are behind it. To count them at every effect would cost the square of their number.
    plain_chars: usize,
    /// As much of it was told.
    pub(super) sent: usize,
    /// What was told of it before is to be replaced.
    pub(super) replaced: bool,
    /// Something before `text` was told, and is not kept.
    pub(super) continues: bool,
    /// What was told before `text` stays, because the row was full.
    settled: bool,
    /// It stands in for one that has left.
    pub(super) again: bool,
    /// It was begun with a carriage return, as bars are: the cursor may come back to it.
    pub(super) is_bar: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Start,
    /// After a carriage return.
    Returned,
    /// So many characters before the end.
    Back(usize),
}

/// What taking away the end of a row came to.
pub(super) struct Cut {
    /// The row begins anew.
    pub(super) begins_anew: bool,
    /// How many characters were passed on the way.
    pub(super) walked: usize,
}

impl Row {
    /// One for a row that has left.
    pub(super) fn standing_in() -> Self {
        Self { again: true, ..Self::default() }
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.plain_chars += text.chars().count();
    }

    pub(super) fn push_style(&mut self, style: &str) {
        if !style.is_empty() {
            self.styled = true;
            self.text.push_str(style);
            self.plain_from = self.text.len();
            self.plain_chars = 0;
        }
    }

    /// Takes away what stands from a column on.
    pub(super) fn cut(&mut self, column: Column) -> Cut {
        match column {
            Column::Back(chars) => Cut { begins_anew: false, walked: self.cut_back(chars) },
            Column::Start | Column::Returned => Cut { begins_anew: self.clear(), walked: 0 },
        }
    }

    /// Takes away so many characters from the end, and tells how many it passed to find the place: no more than it
    /// takes away, so that each character is passed once at most.
    fn cut_back(&mut self, chars: usize) -> usize {
        if chars == 0 {
            return 0;
        }
        let mut walked = 0;
        let left = if chars <= self.plain_chars {
            let plain = self.text[self.plain_from..].char_indices().rev();
            let found = plain.inspect(|_| walked += 1).nth(chars - 1);
            self.plain_from + found.map_or(0, |(at, _)| at)
        } else if self.styled {
            // Characters can't be counted among styles.
            return 0;
        } else {
            0
        };
        self.text.truncate(left);
        self.plain_chars = self.plain_chars.saturating_sub(chars);
        if self.sent > left {
            self.sent = 0;
            self.replaced = true;
        }
        walked
    }

    /// Takes away all that can be, and tells whether that was anything.
    fn clear(&mut self) -> bool {
        if self.text.is_empty() && !self.continues {
            return false;
        }
        self.replaced |= !self.settled || self.sent > 0;
        self.continues = false;
        self.forget();
        true
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= FULL_BYTES
    }

    /// Forgets a text that was told, and that nothing takes back.
    pub(super) fn settle(&mut self) {
        self.forget();
        self.settled = true;
    }

    fn forget(&mut self) {
        self.text.clear();
        self.styled = false;
        self.plain_from = 0;
        self.plain_chars = 0;
        self.sent = 0;
    }

    /// Keeps no more than a part; the end of a long one that was told is enough to go on with it.
    pub(super) fn clip(&mut self, told: bool) {
        if self.text.len() <= KEPT_BYTES {
            return;
        }
        if told {
            self.forget();
            self.continues = true;
        } else {
            self.text.truncate(self.text.floor_char_boundary(KEPT_BYTES));
            self.styled = self.text.contains('\x1b');
            self.plain_from = if self.styled { self.text.len() } else { 0 };
            self.plain_chars = self.text[self.plain_from..].chars().count();
            self.sent = self.sent.min(self.text.len());
        }
    }
}

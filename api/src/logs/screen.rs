//! A log as a terminal would show it: lines that are written over, and the lines above that nested progress bars go
//! back to.

use std::collections::VecDeque;
use std::mem::take;

use crate::terminal::{Effect, Reader};

/// How many lines a cursor can go back to. What is above them stays as it is.
const ROWS: usize = 32;
/// As much of each of these lines is kept from one piece of a log to the next.
const KEPT_BYTES: usize = 4 << 10;
/// The longest styles that are carried from one text to the next.
const STYLE_BYTES: usize = 128;
const PLAIN_STYLE: &str = "\x1b[0m";

/// The last lines of a log. Only one line of what it tells can be replaced, namely the last, by a text that begins with
/// `\r`. Lines to which the cursor went back are therefore told once it has gone on below them, and until then only the
/// one that was written last is.
#[derive(Debug)]
pub(super) struct Screen {
    reader: Reader,
    /// Those that can still change; never none.
    rows: VecDeque<Row>,
    cursor: usize,
    column: Column,
    /// The row that was written last, and is among them.
    touched: Option<usize>,
    /// The row that stands at the end of what was told.
    told: Told,
    /// What is to be told.
    unsent: String,
    style: Style,
    /// How many of the first rows were held when news were asked for last.
    held: usize,
    /// How many rows have left at the top.
    gone: usize,
    went_above: bool,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is true or false of a row whatever the others are")]
struct Row {
    text: String,
    /// `text` has a style somewhere. To search it at every effect would cost the square of its length.
    styled: bool,
    /// Where the last style in `text` ends: characters behind it can be counted.
    plain_from: usize,
    /// As much of it was told.
    sent: usize,
    /// What was told of it before is to be replaced.
    replaced: bool,
    /// Something before `text` was told, and is not kept.
    continues: bool,
    /// It stands in for one that has left.
    again: bool,
    /// It was begun with a carriage return, as bars are: the cursor may come back to it.
    is_bar: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Start,
    /// After a carriage return.
    Returned,
    /// So many characters before the end.
    Back(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Row(usize),
    /// One that is no longer among the rows.
    Gone,
}

#[derive(Debug, Default)]
struct Style {
    /// That of what is written now.
    current: String,
    /// What of it the text does not have yet.
    pending: String,
    used: bool,
}

impl Screen {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            reader: Reader::default(),
            rows: VecDeque::from([Row::default()]),
            cursor: 0,
            column: Column::Back(0),
            touched: None,
            told: Told::Nothing,
            unsent: String::new(),
            style: Style::default(),
            held: 0,
            gone: 0,
            went_above: false,
        }
    }

    /// One whose line has been begun: something of it may have been told. If not, to be told to replace it does no harm.
    pub(super) fn continued() -> Self {
        let mut screen = Self::new();
        screen.rows[0].continues = true;
        screen.told = Told::Row(0);
        screen
    }

    /// Writes a piece of the log.
    pub(super) fn write(&mut self, text: &str) {
        let mut reader = take(&mut self.reader);
        reader.read(text, |effect| self.effect(effect));
        self.reader = reader;
    }

    /// Whether the log ended amid a sequence.
    pub(super) fn is_amid_sequence(&self) -> bool {
        self.reader.is_amid_sequence()
    }

    /// How many lines are not told to their end, though they have one.
    pub(super) fn waiting(&self) -> usize {
        self.rows.len() - 1
    }

    /// Whether the cursor went above the first line.
    pub(super) fn went_above(&self) -> bool {
        self.went_above
    }

    /// What has become of the log since the last call, for a reader who waits for it.
    pub(super) fn news(&mut self) -> String {
        if self.cursor + 1 == self.rows.len() {
            // Of bars above each other only a part of an update may have come. They are held once.
            let held = self.bars_above().min((self.rows.len() - 1).saturating_sub(self.held));
            self.scroll_to(held + 1);
            self.held = held;
        }
        if let Some(touched) = self.touched
            && self.has_news(touched)
        {
            self.tell(touched);
        }
        for (at, row) in self.rows.iter_mut().enumerate() {
            row.clip(self.told == Told::Row(at));
        }
        take(&mut self.unsent)
    }

    /// Lines that can't change any more, for a reader who wants nothing else.
    pub(super) fn settled(&mut self) -> String {
        take(&mut self.unsent)
    }

    /// All that is left, for a reader who is not told more.
    pub(super) fn finish(&mut self) -> String {
        self.scroll_to(1);
        if self.has_news(0) {
            self.tell(0);
        }
        self.unsent.push_str(&take(&mut self.style.pending));
        take(&mut self.unsent)
    }

    /// How many bars are right above the cursor, if it is at a bar too or at the beginning of one.
    fn bars_above(&self) -> usize {
        let row = &self.rows[self.cursor];
        if !row.is_bar && !row.text.is_empty() {
            return 0;
        }
        self.rows.iter().take(self.cursor).rev().take_while(|row| row.is_bar).count()
    }

    fn effect(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Text(text) => self.print(text),
            Effect::Style(style) => self.style.change(style),
            Effect::NewLine => self.new_line(),
            Effect::Return => self.column = Column::Returned,
            Effect::Back(count) => {
                if let Column::Back(chars) = &mut self.column {
                    *chars = chars.saturating_add(count.into());
                }
            }
            Effect::Up(lines) => {
                let lines = usize::from(lines);
                self.went_above |= lines > self.cursor;
                self.held = 0;
                self.make_room_above(lines.saturating_sub(self.cursor));
                self.go_to(self.cursor.saturating_sub(lines));
            }
            Effect::Down(lines) => self.go_to((self.cursor + usize::from(lines)).min(self.rows.len() - 1)),
            Effect::EraseRest => self.erase(self.column),
            Effect::EraseLine => self.erase(Column::Start),
            Effect::EraseBelow => {
                self.erase(self.column);
                self.rows.truncate(self.cursor + 1);
                self.touched = self.touched.filter(|row| *row <= self.cursor);
                if let Told::Row(row) = self.told
                    && row > self.cursor
                {
                    self.told = Told::Gone;
                }
            }
        }
    }

    /// What was told of a row can't be taken back: a row that has left is written anew below it.
    fn make_room_above(&mut self, rows: usize) {
        let room = rows.min(self.gone).min(ROWS - self.rows.len());
        for _ in 0..room {
            self.rows.push_front(Row { again: true, ..Row::default() });
        }
        self.gone -= room;
        self.cursor += room;
        self.touched = self.touched.map(|row| row + room);
        if let Told::Row(row) = &mut self.told {
            *row += room;
        }
    }

    fn go_to(&mut self, row: usize) {
        self.cursor = row;
        if let Column::Back(_) = self.column {
            self.column = Column::Back(0);
        }
    }

    fn erase(&mut self, from: Column) {
        let row = &mut self.rows[self.cursor];
        let was_styled = row.continues || row.styled;
        if row.cut(from) {
            self.touched = Some(self.cursor);
            if was_styled {
                self.style.renew();
            }
        } else if let Column::Back(1..) = from {
            // What stood behind the cursor is gone, and it is at the end.
            self.column = Column::Back(0);
            self.touched = Some(self.cursor);
        }
    }

    fn print(&mut self, text: &str) {
        let row = &mut self.rows[self.cursor];
        row.is_bar |= self.column == Column::Returned;
        let was_styled = row.continues || row.styled;
        if row.cut(self.column) && was_styled {
            self.style.restore(row);
        }
        row.push_style(&take(&mut self.style.pending));
        row.text.push_str(text);
        self.column = Column::Back(0);
        self.touched = Some(self.cursor);
    }

    fn new_line(&mut self) {
        self.rows[self.cursor].push_style(&take(&mut self.style.pending));
        if self.cursor + 1 == self.rows.len() {
            self.rows.push_back(Row::default());
        }
        self.cursor += 1;
        self.column = Column::Start;
        if self.rows.len() > ROWS {
            self.scroll_to(ROWS);
        }
    }

    /// Tells the first rows, which are settled, until so many are left.
    fn scroll_to(&mut self, rows: usize) {
        while self.rows.len() > rows {
            self.leave();
            self.rows.pop_front();
            self.gone += 1;
            self.held = self.held.saturating_sub(1);
            self.cursor = self.cursor.saturating_sub(1);
            self.touched = self.touched.and_then(|row| row.checked_sub(1));
        }
    }

    /// Tells the first row as one that stays.
    fn leave(&mut self) {
        if self.rows[0].again
            && self.rows[0].text.is_empty()
            && let Told::Row(row @ 1..) = self.told
        {
            self.told = Told::Row(row - 1);
            return;
        }
        if self.told != Told::Row(0) || self.has_news(0) {
            self.tell(0);
        }
        self.unsent.push('\n');
        self.told = Told::Nothing;
    }

    fn has_news(&self, row: usize) -> bool {
        let text = &self.rows[row];
        match self.told {
            Told::Row(told) if told == row => text.replaced || text.sent < text.text.len(),
            Told::Row(_) | Told::Gone => true,
            Told::Nothing => !text.text.is_empty(),
        }
    }

    fn tell(&mut self, at: usize) {
        let row = &mut self.rows[at];
        match self.told {
            Told::Nothing => self.unsent.push_str(&row.text),
            Told::Row(told) if told == at && !row.replaced => self.unsent.push_str(&row.text[row.sent..]),
            Told::Row(_) | Told::Gone => {
                self.unsent.push('\r');
                self.unsent.push_str(&row.text);
            }
        }
        row.sent = row.text.len();
        row.replaced = false;
        self.told = Told::Row(at);
    }
}

impl Row {
    fn push_style(&mut self, style: &str) {
        if !style.is_empty() {
            self.styled = true;
            self.text.push_str(style);
            self.plain_from = self.text.len();
        }
    }

    /// Takes away what stands from a column on, and tells whether the row begins anew.
    fn cut(&mut self, column: Column) -> bool {
        match column {
            Column::Back(0) => return false,
            Column::Back(chars) => {
                let plain = &self.text[self.plain_from..];
                let left = if chars > plain.len() { None } else { plain.char_indices().rev().nth(chars - 1) };
                let left = match left {
                    Some((at, _)) => self.plain_from + at,
                    // Characters can't be counted among styles.
                    None if self.styled => return false,
                    None => 0,
                };
                self.text.truncate(left);
                if self.sent > left {
                    self.sent = 0;
                    self.replaced = true;
                }
                return false;
            }
            Column::Start | Column::Returned => {}
        }
        if self.text.is_empty() && !self.continues {
            return false;
        }
        self.text.clear();
        self.styled = false;
        self.plain_from = 0;
        self.sent = 0;
        self.continues = false;
        self.replaced = true;
        true
    }

    /// Keeps no more than a part; the end of a long one that was told is enough to go on with it.
    fn clip(&mut self, told: bool) {
        if self.text.len() <= KEPT_BYTES {
            return;
        }
        if told {
            self.text.clear();
            self.styled = false;
            self.plain_from = 0;
            self.continues = true;
        } else {
            self.text.truncate(self.text.floor_char_boundary(KEPT_BYTES));
            self.styled = self.text.contains('\x1b');
            self.plain_from = if self.styled { self.text.len() } else { 0 };
        }
        self.sent = self.sent.min(self.text.len());
    }
}

impl Style {
    fn change(&mut self, style: &str) {
        self.used = true;
        if style == PLAIN_STYLE {
            self.current.clear();
            self.pending.clear();
        }
        for styles in [&mut self.current, &mut self.pending] {
            if styles.len() + style.len() > STYLE_BYTES {
                styles.clear();
            }
            styles.push_str(style);
        }
        if style == PLAIN_STYLE {
            self.current.clear();
        }
    }

    /// Has the next text begin with the style of now, after one that was erased.
    fn renew(&mut self) {
        if self.used {
            self.pending = format!("{PLAIN_STYLE}{}", self.current);
        }
    }

    /// Begins a text that takes the place of another.
    fn restore(&mut self, row: &mut Row) {
        if self.used {
            self.pending.clear();
            row.push_style(PLAIN_STYLE);
            row.push_style(&self.current);
        }
    }
}

#[cfg(test)]
mod tests;

//! A log as a terminal would show it: lines that are written over, and the lines above that nested progress bars go
//! back to.

use std::collections::VecDeque;
use std::mem::take;

use crate::terminal::{Effect, Reader};

mod budget;
mod row;

use budget::Budget;
use row::{Column, Row};

/// How many lines a cursor can go back to. What is above them stays as it is.
const ROWS: usize = 32;
/// The longest styles that are carried from one text to the next.
const STYLE_BYTES: usize = 64;
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
    budget: Budget,
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
            budget: Budget::default(),
        }
    }

    /// One whose line has been begun: something of it may have been told. If not, to be told to replace it does no
    /// harm.
    pub(super) fn continued() -> Self {
        let mut screen = Self::new();
        screen.rows[0].continues = true;
        screen.told = Told::Row(0);
        screen
    }

    /// Writes a piece of the log.
    pub(super) fn write(&mut self, text: &str) {
        self.budget.earn(text.len());
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
        self.budget.spend(1);
        if self.budget.is_spent() {
            // Only text and the ends of lines are left; both cost no more than they have earned.
            match effect {
                Effect::Text(_) | Effect::NewLine => {
                    self.column = Column::Back(0);
                    self.style.pending.clear();
                }
                _ => return,
            }
        }
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
            self.rows.push_front(Row::standing_in());
        }
        self.budget.spend(room);
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
        let cut = row.cut(from);
        self.budget.spend(cut.walked);
        if cut.begins_anew {
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
        let cut = row.cut(self.column);
        if cut.begins_anew && was_styled {
            self.style.restore(row);
            self.budget.spend(self.style.current.len());
        }
        self.budget.spend(cut.walked + self.style.pending.len() + text.len());
        row.push_style(&take(&mut self.style.pending));
        row.push(text);
        self.column = Column::Back(0);
        self.touched = Some(self.cursor);
        if row.is_full() {
            self.settle_full_row();
        }
    }

    /// Tells a row that is full and forgets its text: the cursor comes back neither to this nor to what is above.
    fn settle_full_row(&mut self) {
        self.scroll_to(self.rows.len() - self.cursor);
        if self.told != Told::Row(0) || self.has_news(0) {
            self.tell(0);
        }
        self.rows[0].settle();
        self.gone = 0;
    }

    fn new_line(&mut self) {
        self.budget.spend(self.style.pending.len());
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

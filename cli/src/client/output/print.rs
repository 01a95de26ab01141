//! Prints answers: text for people, JSON for programs.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use api::terminal::turns;
use serde_json::Value;

use crate::client::document::Document;
use crate::client::http::error::ClientError;
use crate::client::output::human;

/// Who reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// A person: tables and sentences.
    Human,
    /// A program: one JSON document on stdout, everything else on stderr.
    Json,
}

/// How a command that was carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The job that was waited for failed or was cancelled.
    JobFailed,
}

/// Writes one JSON document to stdout.
pub(crate) fn print_json(document: &Value) -> Result<(), ClientError> {
    let text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", escape_c1(&text))?;
    Ok(())
}

/// Writes an answer of the server's to stdout, its numbers as they came.
pub(crate) fn print_document(document: &Document) -> Result<(), ClientError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", escape_c1(&crate::client::document::indented(&document.text)))?;
    Ok(())
}

/// JSON without the characters that may stand in a text of JSON and could still drive a terminal.
pub(crate) fn escape_c1(json: &str) -> Cow<'_, str> {
    let drives = |c| ('\u{7f}'..='\u{9f}').contains(&c) || turns(c);
    if !json.contains(drives) {
        return Cow::Borrowed(json);
    }
    let escape = |c: char| if drives(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(json.chars().map(escape).collect())
}

/// Writes text for people to stdout; `println!` would panic when the reader (`| head`) is gone.
pub(crate) fn print_text(text: &str) -> Result<(), ClientError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", human::plain(text.trim_end_matches('\n')))?;
    Ok(())
}

/// Writes text that is as well meant for a file: to a terminal like [`print_text`], elsewhere as it is.
pub(crate) fn print_file(text: &str) -> Result<(), ClientError> {
    if io::stdout().is_terminal() {
        return print_text(text);
    }
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

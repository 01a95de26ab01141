//! The commands for users: they speak HTTP to a server and know nothing of what stands behind it.

mod board;
mod document;
mod file;
pub(crate) mod http;
mod jobs;
mod me;
pub(crate) mod output;
mod submissions;
mod submit;
mod watch;

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use api::terminal::turns;
use clap::Subcommand;
use serde_json::Value;

pub(crate) use file::ClientFile;

use document::Document;
use http::error::ClientError;
use http::interrupt::Interrupt;

/// Who reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// A person: tables and sentences.
    Human,
    /// A program: one JSON document on stdout, everything else on stderr.
    Json,
}

/// What a researcher does from a shell.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Send a folder and run it as a job
    Submit(Box<submit::SubmitCommand>),
    /// Look at jobs, follow them, read their logs, or cancel one
    Jobs(jobs::JobsCommand),
    /// Look at what was uploaded
    Submissions(submissions::SubmissionsCommand),
    /// Show who is best in a metric, each user with their best job
    Board(Box<board::BoardCommand>),
    /// Show who you are to the server, your limits, and what of them is left
    Me(me::MeCommand),
}

/// How a command that was carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The job that was waited for failed or was cancelled.
    JobFailed,
}

/// Runs one command to its end and says how it went: 0 done (a watched job completed), 1 the watched
/// job failed or was cancelled, 2 bad input or refused, 3 no answer to be had, 130 interrupted.
pub(crate) async fn run(command: ClientCommand, output: Output) -> ExitCode {
    let interrupt = Interrupt::new();
    let work = async {
        match command {
            ClientCommand::Submit(submit) => submit.run(output, &interrupt).await,
            ClientCommand::Jobs(jobs) => jobs.run(output, &interrupt).await,
            ClientCommand::Submissions(submissions) => submissions.run(output).await,
            ClientCommand::Board(board) => board.run(output).await,
            ClientCommand::Me(me) => me.run(output).await,
        }
    };
    match interrupt.end(work).await {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::JobFailed) => ExitCode::from(1),
        Err(error) => {
            if let Some(sentence) = error.sentence() {
                // Nothing is left to tell a user whose stderr is gone.
                let _ = writeln!(io::stderr(), "{}", output::human::plain(&sentence));
            }
            error.exit_code()
        }
    }
}

/// Writes one JSON document to stdout.
fn print_json(document: &Value) -> Result<(), ClientError> {
    let text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", escape_c1(&text))?;
    Ok(())
}

/// Writes an answer of the server's to stdout, its numbers as they came.
fn print_document(document: &Document) -> Result<(), ClientError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", escape_c1(&document::indented(&document.text)))?;
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
fn print_text(text: &str) -> Result<(), ClientError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", output::human::plain(text.trim_end_matches('\n')))?;
    Ok(())
}

/// Writes text that is as well meant for a file: to a terminal like [`print_text`], elsewhere as it is.
fn print_file(text: &str) -> Result<(), ClientError> {
    if io::stdout().is_terminal() {
        return print_text(text);
    }
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

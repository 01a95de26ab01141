//! The commands for operators: they speak to Redis.

pub(crate) mod api;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod migrate;
pub(crate) mod policy;
pub(crate) mod policy_change;
pub(crate) mod projections;
pub(crate) mod stop;
pub(crate) mod storage;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod worker;
pub(crate) mod workers;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use events::problem::chain;
use serde::Serialize;

use crate::bad_usage::BadUsage;
use crate::client::output::human;
use crate::client::{Output, escape_c1};

/// What a shell shows for a program that SIGPIPE ended.
const READER_GONE: u8 = 141;
/// The exit code of a command with a value that can't be used.
const BAD_USAGE: u8 = 2;

/// The reader of the answer went away, as `head` does when it has enough.
#[derive(Debug)]
struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reader of the answer went away")
    }
}

impl std::error::Error for ReaderGone {}

/// Says why a command could not be carried out. Returns the exit code: 2 for bad usage, as clap does, 1 for a failure.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    if error.is::<ReaderGone>() {
        return ExitCode::from(READER_GONE);
    }
    // Where stderr is closed nobody is there to be told.
    let _ = writeln!(io::stderr(), "error: {}", human::plain(&chain(error.as_ref())));
    if error.is::<BadUsage>() { ExitCode::from(BAD_USAGE) } else { ExitCode::FAILURE }
}

/// Prints one answer: the sentence for people, the document for programs.
pub(crate) fn answer(output: Output, sentence: &str, document: &impl Serialize) -> Result<()> {
    match output {
        Output::Human => tell(sentence),
        Output::Json => print(&serde_json::to_string(document)?),
    }
}

/// Prints a sentence for people.
pub(crate) fn tell(sentence: &str) -> Result<()> {
    print(&human::plain(sentence))
}

fn print(text: &str) -> Result<()> {
    // `println!` would panic.
    match writeln!(io::stdout().lock(), "{}", escape_c1(text)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bad_usage::Given;

    fn code(error: &anyhow::Error) -> String {
        format!("{:?}", fail(error))
    }

    #[test]
    fn a_failure_is_1_bad_usage_is_2_and_a_reader_that_went_away_ends_like_a_broken_pipe() {
        let refused: Result<()> = Err(anyhow::anyhow!("0 is too few").context("--slots")).or_bad_usage();
        let refused = refused.unwrap_err();
        assert_eq!(refused.to_string(), "--slots: 0 is too few");
        assert_eq!(code(&refused), format!("{:?}", ExitCode::from(BAD_USAGE)));
        assert_eq!(code(&refused.context("the start")), format!("{:?}", ExitCode::from(BAD_USAGE)));
        assert_eq!(code(&anyhow::anyhow!("Redis is away")), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(code(&ReaderGone.into()), format!("{:?}", ExitCode::from(READER_GONE)));
    }
}

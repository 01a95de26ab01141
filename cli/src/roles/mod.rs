//! The commands for operators: they speak to Redis.

pub(crate) mod api;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod migrate;
pub(crate) mod policy;
pub(crate) mod policy_change;
pub(crate) mod projections;
pub(crate) mod stop;
pub(crate) mod up;
pub(crate) mod worker;
pub(crate) mod workers;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use events::problem::chain;
use serde::Serialize;

use crate::client::output::human;
use crate::client::{Output, escape_c1};

/// Says why a command could not be carried out.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    // Where stderr is closed nobody is there to be told.
    let _ = writeln!(io::stderr(), "leadersboard: {}", human::plain(&chain(error.as_ref())));
    ExitCode::FAILURE
}

/// Prints one answer: the sentence for people, the document for programs.
pub(crate) fn answer(output: Output, sentence: &str, document: &impl Serialize) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match output {
        Output::Human => writeln!(stdout, "{}", human::plain(sentence))?,
        Output::Json => writeln!(stdout, "{}", escape_c1(&serde_json::to_string(document)?))?,
    }
    Ok(())
}

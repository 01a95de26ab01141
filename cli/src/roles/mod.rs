//! The commands for operators: they speak to Redis.

pub(crate) mod api;
pub(crate) mod doctor;
pub(crate) mod migrate;
pub(crate) mod stop;
pub(crate) mod up;
pub(crate) mod worker;

use std::io::{self, Write};
use std::process::ExitCode;

use adapters::redis::Redis;
use adapters::redis::check::Verdict;
use anyhow::{Result, bail};
use serde::Serialize;

use crate::client::Output;

/// Says why a command could not be carried out.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    // Where stderr is closed nobody is there to be told.
    let _ = writeln!(io::stderr(), "leadersboard: {error:#}");
    ExitCode::FAILURE
}

/// Says loudly what may be lost with this Redis, and refuses one that can't work.
pub(crate) async fn warn_of_risks(redis: &Redis) -> Result<()> {
    for finding in redis.check().await? {
        match finding.verdict {
            Verdict::Good => {}
            Verdict::Risky(risk) => tracing::warn!(found = finding.found, "Redis {}: {risk}", finding.name),
            Verdict::Unusable(why) => bail!("Redis {}: {why}", finding.name),
        }
    }
    Ok(())
}

/// Prints one answer: the sentence for people, the document for programs.
pub(crate) fn answer(output: Output, sentence: &str, document: &impl Serialize) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match output {
        Output::Human => writeln!(stdout, "{sentence}")?,
        Output::Json => writeln!(stdout, "{}", serde_json::to_string(document)?)?,
    }
    Ok(())
}

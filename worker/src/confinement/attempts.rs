//! Attempts to get out of the sandbox, made inside it to show what it denies.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::probe::Probe;
use super::sandbox::Applied;
use super::{Network, Sandbox};
use crate::python::Python;

const SCRIPT: &str = include_str!("attempts.py");

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried.
    pub what: String,
    /// The answer to it.
    pub answer: Answer,
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was denied, with this error.
    Denied(String),
    /// It can't be denied here, for this reason, or was allowed by the settings.
    Known(&'static str),
    /// It went through.
    Done,
}

/// What is to be kept from a job.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// Files and folders.
    pub secrets: &'a [PathBuf],
    /// UNIX sockets of services.
    pub sockets: &'a [PathBuf],
}

#[derive(Deserialize)]
struct Line {
    attempt: String,
    denied: Option<String>,
}

impl Sandbox {
    /// Makes them all, one after the other.
    ///
    /// # Errors
    /// If they could not be made.
    pub async fn attempts(
        &self,
        python: &Python,
        work_root: &Path,
        targets: Targets<'_>,
    ) -> Result<Vec<Attempt>, String> {
        let argument = json!({
            "worker": std::process::id(),
            "secrets": targets.secrets,
            "sockets": targets.sockets,
        });
        let probe = Probe { script: SCRIPT, argument: &argument.to_string(), ..Probe::default() };
        let printed = self.run_probe(python, work_root, &probe).await?;
        let lines = printed.lines().map(serde_json::from_str::<Line>).collect::<Result<Vec<_>, _>>();
        let lines = lines.map_err(|error| format!("what the attempts printed can't be read: {error}"))?;
        Ok(lines.into_iter().map(|line| self.judge(line)).collect())
    }

    fn judge(&self, line: Line) -> Attempt {
        let answer = match line.denied {
            Some(error) => Answer::Denied(error),
            None => self.known(&line.attempt).map_or(Answer::Done, Answer::Known),
        };
        Attempt { what: line.attempt, answer }
    }

    /// Why an attempt goes through, where that is no surprise.
    fn known(&self, what: &str) -> Option<&'static str> {
        match (self.applied, what) {
            (Applied::Off, _) => Some("SANDBOX=off confines nothing"),
            (_, "use TCP" | "use UDP" | "use netlink") if self.network != Network::None => Some("NETWORK allows it"),
            (_, "use other netlink") if self.network == Network::Host => Some("NETWORK allows it"),
            // In namespaces of its own the first process is its own supervisor, or there is none of that number.
            (Applied::Floor, "signal the worker") if self.landlock < 6 => {
                Some("without namespaces a signal to a process of the same user needs Landlock 6 to be denied")
            }
            (Applied::Floor, what) if what.starts_with("connect to ") => Some(
                "without namespaces the way to a socket can't be closed: what lies behind it must ask for a password, as Redis does",
            ),
            _ => None,
        }
    }
}

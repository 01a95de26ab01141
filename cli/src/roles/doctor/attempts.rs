//! `leadersboard doctor sandbox`: makes a hostile job's attempts inside the sandbox, and shows what was denied.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Args;
use serde::Serialize;
use worker::{Answer, Attempt, Targets};

use crate::client::Output;
use crate::client::output::table::{Align, render};
use crate::options::python::PythonOption;
use crate::options::redis::RedisOptions;
use crate::options::sandbox::{ConfinementOptions, Site};
use crate::options::storage::StorageOptions;
use crate::roles::answer;
use crate::roles::doctor::missing::Missing;

/// Attack the sandbox as a job with these settings could, and show what it denies
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0: everything was denied except known gaps of the floor; 1: an attempt succeeded.")]
pub(crate) struct SandboxDoctor {
    #[command(flatten)]
    redis: RedisOptions,
    #[command(flatten)]
    storage: StorageOptions,
    #[command(flatten)]
    confinement: ConfinementOptions,
    #[command(flatten)]
    python: PythonOption,
}

#[derive(Debug, Serialize)]
struct Report {
    sandbox: String,
    attempts: Vec<Row>,
    /// What the interpreter imports from, and data, that jobs can't read.
    unseen: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    attempt: String,
    verdict: &'static str,
    found: String,
}

impl SandboxDoctor {
    pub(crate) async fn run(&self, output: Output) -> Result<ExitCode> {
        let python = self.python.find().await?;
        let data = &self.redis.data;
        let _made = Missing::before(&self.confinement.work_root(data));
        let Site { sandbox, work_root } = self.confinement.prepare(&python, (data, &self.storage), "doctor", 1).await?;
        let data = std::path::absolute(data)?;
        let secrets =
            [data.join("redis.url"), data.join("token"), self.storage.uploads(&data), self.storage.logs(&data)];
        let secrets: Vec<PathBuf> = secrets.into_iter().filter(|path| path.exists()).collect();
        let sockets: Vec<PathBuf> = self.redis.socket().into_iter().collect();
        let targets = Targets { secrets: &secrets, sockets: &sockets };
        let attempts = sandbox.attempts(&python, &work_root, targets).await.map_err(|error| anyhow!(error))?;
        let rows: Vec<Row> = attempts.into_iter().map(Row::from).collect();
        let leaks = rows.iter().any(|row| row.verdict == "leak");
        let unseen = sandbox.unseen().iter().map(ToString::to_string).collect();
        let report = Report { sandbox: sandbox.to_string(), attempts: rows, unseen };
        answer(output, &table(&report), &report)?;
        Ok(if leaks { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl From<Attempt> for Row {
    fn from(Attempt { what, answer }: Attempt) -> Self {
        let (verdict, found) = match answer {
            Answer::Denied(error) => ("denied", error),
            Answer::Known(why) => ("known", why.to_owned()),
            Answer::Done => ("leak", "it went through".to_owned()),
        };
        Self { attempt: what, verdict, found }
    }
}

fn table(report: &Report) -> String {
    let columns = [("ATTEMPT", Align::Left), ("VERDICT", Align::Left), ("FOUND", Align::Left)];
    let cells = |row: &Row| [row.attempt.clone(), row.verdict.to_owned(), row.found.clone()];
    let mut text = format!("sandbox: {}\n\n{}", report.sandbox, render(columns, report.attempts.iter().map(cells)));
    for one in &report.unseen {
        text.push_str("\njobs can't read ");
        text.push_str(one);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_verdict_and_only_a_leak_went_through() {
        let attempt = |what: &str, answer| Attempt { what: what.to_owned(), answer };
        let attempts = [
            attempt("read a secret", Answer::Denied("Permission denied".to_owned())),
            attempt("see processes", Answer::Known("needs namespaces")),
            attempt("write /etc", Answer::Done),
        ];
        let report = Report {
            sandbox: "standard".to_owned(),
            attempts: attempts.into_iter().map(Row::from).collect(),
            unseen: vec!["/opt/x: it is private".to_owned()],
        };
        let text = table(&report);
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let expected = [
            "sandbox: standard",
            "",
            "ATTEMPT VERDICT FOUND",
            "read a secret denied Permission denied",
            "see processes known needs namespaces",
            "write /etc leak it went through",
            "jobs can't read /opt/x: it is private",
        ];
        assert_eq!(lines, expected);
    }
}

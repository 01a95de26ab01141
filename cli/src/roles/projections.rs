//! `leadersboard projections`: the read models, compared with the log and restored from it.

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use adapters::redis::audit::{AuditReport, Mode, Progress};
use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::answer;
use crate::client::Output;
use crate::client::output::human;
use crate::client::output::table::{Align, render};
use crate::options::redis::RedisOptions;
use crate::wiring::connect;

/// The maximum length of the reason why an entry is unreadable.
const MAX_REASON_CHARS: usize = 160;

/// Compare the read models with the log, or restore them from it.
#[derive(Debug, Args)]
pub(crate) struct ProjectionsCommand {
    #[command(flatten)]
    redis: RedisOptions,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Compare every read model with the event log; writes nothing
    #[command(after_help = "Exit code 0: every read model equals the fold of the log; 1: some differ, or an entry of \
                            the log can't be read. You can run it at any time, on a live system.")]
    Verify,
    /// Restore read models that differ from the event log
    #[command(after_help = "You can run it at any time, on a live system: nothing waits for it. The objects of \
                            unreadable log entries do not change; the output names them. The reconciler \
                            restores lost tickets and leases afterwards; `leadersboard doctor --repair` does \
                            it at once.")]
    Rebuild,
}

impl ProjectionsCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        let mode = match self.what {
            What::Verify => Mode::Verify,
            What::Rebuild => Mode::Rebuild,
        };
        let redis = connect(&self.redis).await?;
        let bar = bar();
        let report = redis.audit(mode, |progress| show(&bar, progress)).await?;
        bar.finish_and_clear();
        answer(output, &sentence(mode, &report), &document(&report))?;
        let failed = mode == Mode::Verify && report.differences + report.unreadable > 0;
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn bar() -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.of);
    bar.set_position(progress.compared);
    if progress.part.of > 1 {
        bar.set_message(format!("part {} of {}", progress.part.number + 1, progress.part.of));
    }
}

fn sentence(mode: Mode, report: &AuditReport) -> String {
    let folded = format!("{} of {} jobs and submissions", human::counted(report.events, "event"), report.aggregates);
    let unreadable = unreadable(mode, report);
    if report.differences == 0 {
        let others = if unreadable.is_empty() { "Every read model" } else { "Every other read model" };
        return format!("{unreadable}{others} is what the log folds to: {folded}.");
    }
    let columns = [("KEY", Align::Left), ("FOUND", Align::Left), ("BY THE LOG", Align::Left)];
    let rows = report.first.iter().map(|it| [it.key.clone(), it.found.clone(), it.wanted.clone()]);
    let cure = match (mode, report.differences) {
        (Mode::Verify, 1) => "`leadersboard projections rebuild` restores it",
        (Mode::Verify, _) => "`leadersboard projections rebuild` restores them",
        (Mode::Rebuild, 1) => "it was restored",
        (Mode::Rebuild, _) => "they were restored",
    };
    let rest = report.differences - report.first.len() as u64;
    let unshown = if rest > 0 { format!("\n… and {rest} more") } else { String::new() };
    let differences = human::counted(report.differences, "difference");
    format!("{unreadable}{}{unshown}\n\n{differences} in {folded}; {cure}.", render(columns, rows))
}

/// What of the log can't be read; empty if all of it can.
fn unreadable(mode: Mode, report: &AuditReport) -> String {
    if report.unreadable == 0 {
        return String::new();
    }
    let columns = [("UNREADABLE IN THE LOG", Align::Left), ("WHY", Align::Left)];
    let rows = report.first_unreadable.iter().map(|it| [it.what.clone(), human::line(&it.why, MAX_REASON_CHARS)]);
    let rest = report.unreadable - report.first_unreadable.len() as u64;
    let unshown = if rest > 0 { format!("\n… and {rest} more") } else { String::new() };
    let what = match mode {
        Mode::Verify => "were not compared",
        Mode::Rebuild => "do not change",
    };
    format!(
        "{}{unshown}\n\nThe objects of these entries {what}: {} in all.\n\n",
        render(columns, rows),
        report.unreadable
    )
}

fn document(report: &AuditReport) -> serde_json::Value {
    let first: Vec<_> =
        report.first.iter().map(|it| json!({ "key": it.key, "found": it.found, "wanted": it.wanted })).collect();
    let unreadable: Vec<_> =
        report.first_unreadable.iter().map(|it| json!({ "what": it.what, "reason": it.why })).collect();
    json!({
        "unreadable": report.unreadable,
        "first_unreadable": unreadable,
        "events": report.events,
        "aggregates": report.aggregates,
        "differences": report.differences,
        "first": first,
    })
}

#[cfg(test)]
mod tests {
    use adapters::redis::audit::{Difference, Unreadable};

    use super::*;

    fn report(differences: u64, unreadable: u64) -> AuditReport {
        let first = Difference { key: "job:1".to_owned(), found: "a".to_owned(), wanted: "b".to_owned() };
        let why = "no type\n\u{1b}[31m".to_owned();
        let first_unreadable = Unreadable { what: "job 2".to_owned(), why };
        let mut report = AuditReport::default();
        (report.events, report.aggregates) = (7, 3);
        (report.differences, report.unreadable) = (differences, unreadable);
        report.first = [first].into_iter().take(usize::try_from(differences).unwrap()).collect();
        report.first_unreadable = [first_unreadable].into_iter().take(usize::try_from(unreadable).unwrap()).collect();
        report
    }

    #[test]
    fn read_models_that_equal_the_log_are_one_sentence() {
        let told = sentence(Mode::Verify, &report(0, 0));
        assert_eq!(told, "Every read model is what the log folds to: 7 events of 3 jobs and submissions.");
    }

    #[test]
    fn differences_come_with_what_restores_them() {
        let told = sentence(Mode::Verify, &report(3, 0));
        assert!(told.contains("job:1  a") && told.contains("… and 2 more"), "{told}");
        assert!(told.ends_with("submissions; `leadersboard projections rebuild` restores them."), "{told}");
        assert!(sentence(Mode::Rebuild, &report(1, 0)).ends_with("; it was restored."));
        assert!(sentence(Mode::Rebuild, &report(2, 0)).ends_with("; they were restored."));
    }

    #[test]
    fn what_can_not_be_read_is_named_first_and_is_neither_compared_nor_restored() {
        let told = sentence(Mode::Verify, &report(0, 2));
        assert!(told.contains("job 2                  no type [31m\n… and 1 more"), "{told}");
        assert!(told.contains("were not compared: 2 in all.\n\nEvery other read model is"), "{told}");
        assert!(sentence(Mode::Rebuild, &report(0, 1)).contains("do not change: 1 in all."));
        assert_eq!(document(&report(0, 1))["first_unreadable"][0]["what"], "job 2");
    }
}

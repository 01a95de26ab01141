//! `leadersboard projections`: the read models, compared with the log and restored from it.

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use adapters::redis::audit::{Mode, Progress, Report};
use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::answer;
use crate::client::Output;
use crate::options::RedisOptions;
use crate::table::{Align, render};
use crate::wiring::connect;

/// Compare the read models with the log, or restore them from it.
#[derive(Debug, Args)]
pub(crate) struct ProjectionsCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Fold the log and compare every read model with it; writes nothing
    #[command(after_help = "Exit code 0: every read model is what the log folds to; 1: some differ. May run at any \
                            time, beside a live system.")]
    Verify(RedisOptions),
    /// Restore from the log whatever read model differs from it
    #[command(after_help = "May run at any time, beside a live system: nothing waits for it. Work lost with a read \
                            model (tickets, leases) is restored by the reconciler afterwards: `leadersboard doctor \
                            --repair` runs it at once.")]
    Rebuild(RedisOptions),
}

impl ProjectionsCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        let (mode, options) = match self.what {
            What::Verify(options) => (Mode::Verify, options),
            What::Rebuild(options) => (Mode::Rebuild, options),
        };
        let redis = connect(&options).await?;
        let bar = bar();
        let report = redis.audit(mode, |progress| show(&bar, progress)).await?;
        bar.finish_and_clear();
        answer(output, &sentence(mode, &report), &document(&report))?;
        let failed = mode == Mode::Verify && report.differences > 0;
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

fn sentence(mode: Mode, report: &Report) -> String {
    let folded = format!("{} events of {} jobs and submissions", report.events, report.aggregates);
    if report.differences == 0 {
        return format!("Every read model is what the log folds to: {folded}.");
    }
    let columns = [("KEY", Align::Left), ("FOUND", Align::Left), ("BY THE LOG", Align::Left)];
    let rows = report.first.iter().map(|it| [it.key.clone(), it.found.clone(), it.wanted.clone()]);
    let cure = match mode {
        Mode::Verify => "`leadersboard projections rebuild` restores them",
        Mode::Rebuild => "they were restored",
    };
    let rest = report.differences - report.first.len() as u64;
    let unshown = if rest > 0 { format!("\n… and {rest} more") } else { String::new() };
    format!("{}{unshown}\n\n{} differences in {folded}; {cure}.", render(columns, rows), report.differences)
}

fn document(report: &Report) -> serde_json::Value {
    let first: Vec<_> =
        report.first.iter().map(|it| json!({ "key": it.key, "found": it.found, "wanted": it.wanted })).collect();
    json!({
        "events": report.events,
        "aggregates": report.aggregates,
        "differences": report.differences,
        "first": first,
    })
}

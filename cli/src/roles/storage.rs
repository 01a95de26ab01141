//! `leadersboard storage`: a board's files, moved between folders and buckets.

use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::process::ExitCode;

use adapters::copy::{Board, Copied, Copy, CopyError, Item};
use adapters::object::StorageUrl;
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::answer;
use crate::board_files;
use crate::client::Output;
use crate::client::output::human;

/// How many items are copied at once.
const AT_ONCE: usize = 4;
/// How many items are named that could not be copied; the rest is counted.
const MAX_NAMED: usize = 100;

/// Move a board's files between folders and S3.
#[derive(Debug, Args)]
pub(crate) struct StorageCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Copy submissions, artifacts and logs from one storage to another
    #[command(after_help = "\
The command deletes nothing. It passes over what the target has already, so you can repeat it, also beside a running \
board. For the last time, stop all roles and run it again: then the target has everything. Start the roles with the \
new STORAGE_URL. S3 reads the AWS_* variables, for both storages.

Exit code 0: the target has everything; 1: it does not, and the output names what is missing.

Example:
  leadersboard storage copy --from file:///srv/leadersboard --to s3://board/prefix")]
    Copy(CopyCommand),
}

#[derive(Debug, Args)]
struct CopyCommand {
    /// The storage to read: `file:///folder`, with `uploads`, `logs` and `artifacts` in it, or `s3://bucket/prefix`
    #[arg(long, value_name = "URL")]
    from: String,
    /// The storage to write
    #[arg(long, value_name = "URL")]
    to: String,
}

impl StorageCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        let What::Copy(copy) = self.what;
        copy.run(output).await
    }
}

/// What a copy has done.
#[derive(Debug, Default)]
struct Report {
    submissions: u64,
    artifacts: u64,
    logs: u64,
    bytes: u64,
    present: u64,
    /// Items that the target lacks in the end, and why, as far as that is known.
    missing: Vec<String>,
    missing_count: u64,
}

impl CopyCommand {
    async fn run(self, output: Output) -> Result<ExitCode> {
        let url = |name: &str, text: &str| {
            text.parse::<StorageUrl>().map_err(|error| anyhow!("{error}")).with_context(|| name.to_owned())
        };
        let (from, to) = (url("--from", &self.from)?, url("--to", &self.to)?);
        refuse_same(&from, &to)?;
        let spool = tempfile::tempdir().context("no folder for local copies can be made")?;
        let (source, target) = (open(&from, spool.path())?, open(&to, spool.path())?);
        let copy = Copy::begin(source, target).await.with_context(|| format!("{to} can't be used"))?;
        let bar = bar();
        let mut report = Report::default();
        copy_all(&copy, &mut report, &bar).await?;
        if copy.boards() == 0 && report.is_empty() {
            bail!("there are no files of a board in {from}: is the URL right?");
        }
        // What came or changed meanwhile is missing: only a pass beside which nothing runs finds nothing.
        if report.missing_count == 0 {
            compare_all(&copy, &mut report, &bar).await?;
        }
        bar.finish_and_clear();
        let is_complete = report.missing_count == 0;
        answer(output, &sentence(&report, &to), &document(&report))?;
        Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn copy_all(copy: &Copy, report: &mut Report, bar: &ProgressBar) -> Result<(), CopyError> {
    let copied = copy.items().map(async |item| {
        let item = item?;
        let copied = copy.copy(&item).await?;
        Ok::<_, CopyError>((item, copied))
    });
    let mut copied = copied.buffer_unordered(AT_ONCE);
    while let Some((item, copied)) = copied.try_next().await? {
        report.note(&item, copied);
        bar.set_message(format!("{} copied, {} there already", human::size(report.bytes), report.present));
        bar.inc(1);
    }
    Ok(())
}

async fn compare_all(copy: &Copy, report: &mut Report, bar: &ProgressBar) -> Result<(), CopyError> {
    bar.set_message("comparing");
    let compared = copy.items().map(async |item| {
        let item = item?;
        let is_done = copy.is_done(&item).await?;
        Ok::<_, CopyError>((item, is_done))
    });
    let mut compared = compared.buffer_unordered(AT_ONCE);
    while let Some((item, is_done)) = compared.try_next().await? {
        if !is_done {
            report.miss(format!("{item}: it came or changed while the command ran"));
        }
    }
    Ok(())
}

impl Report {
    const fn is_empty(&self) -> bool {
        self.submissions + self.artifacts + self.logs + self.present + self.missing_count == 0
    }

    fn note(&mut self, item: &Item, copied: Copied) {
        match copied {
            Copied::Now(bytes) => {
                self.bytes += bytes;
                match item {
                    Item::Submission(_) => self.submissions += 1,
                    Item::Artifacts(..) => self.artifacts += 1,
                    Item::Log(..) => self.logs += 1,
                }
            }
            Copied::Before => self.present += 1,
            Copied::Gone => {}
            Copied::Damaged(why) => self.miss(format!("{item}: {why}")),
        }
    }

    fn miss(&mut self, what: String) {
        self.missing_count += 1;
        if self.missing.len() < MAX_NAMED {
            self.missing.push(what);
        }
    }
}

/// Refuses to copy a storage into itself.
fn refuse_same(from: &StorageUrl, to: &StorageUrl) -> Result<()> {
    let is_same = match (from, to) {
        (StorageUrl::Folder(from), StorageUrl::Folder(to)) => {
            let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
            let (from, to) = (real(from)?, real(to)?);
            from.starts_with(&to) || to.starts_with(&from)
        }
        (from, to) => from == to,
    };
    if is_same {
        bail!("--from and --to are the same storage, or one is in the other: {from} and {to}");
    }
    Ok(())
}

fn open(url: &StorageUrl, spool: &Path) -> Result<Board> {
    Ok(match url {
        StorageUrl::Folder(root) => Board::in_folder(root.clone()),
        StorageUrl::Bucket(bucket) => Board::in_bucket(board_files::store(bucket)?, spool.to_owned()),
    })
}

fn bar() -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} items, {msg}, {elapsed}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn sentence(report: &Report, to: &StorageUrl) -> String {
    let counted = |count, noun| human::counted(count, noun);
    let copied = format!(
        "{}, {} and {} copied, {}; {} there already.",
        counted(report.submissions, "submission"),
        counted(report.artifacts, "artifact set"),
        counted(report.logs, "log"),
        human::size(report.bytes),
        counted(report.present, "item"),
    );
    if report.missing_count == 0 {
        return format!("{copied} {to} has everything.");
    }
    let mut text = format!("{copied}\n{to} lacks {}:", counted(report.missing_count, "item"));
    for one in &report.missing {
        text.push_str("\n  ");
        text.push_str(one);
    }
    let unnamed = report.missing_count - report.missing.len() as u64;
    if unnamed > 0 {
        // Writing to a text does not fail.
        let _ = write!(text, "\n  and {unnamed} more");
    }
    text + "\nStop all roles and run the command again, so that nothing changes meanwhile."
}

fn document(report: &Report) -> serde_json::Value {
    json!({
        "complete": report.missing_count == 0,
        "copied": {
            "submissions": report.submissions, "artifacts": report.artifacts, "logs": report.logs, "bytes": report.bytes,
        },
        "present": report.present,
        "missing_count": report.missing_count,
        "missing": report.missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_is_not_copied_into_itself() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("file://{}", root.path().join(name).display());
        std::fs::create_dir(root.path().join("a")).unwrap();
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("link")).unwrap();
        for (from, to, refused) in [
            (at("a"), at("a"), true),
            (at("a"), at("link"), true),
            (at("a"), at("a/b"), true),
            (at("new"), at("new"), true),
            (at("a"), at("b"), false),
            ("s3://board/x".to_owned(), "s3://board/x/".to_owned(), true),
            ("s3://board/x".to_owned(), "s3://board/y".to_owned(), false),
            (at("a"), "s3://board".to_owned(), false),
        ] {
            let same = refuse_same(&from.parse().unwrap(), &to.parse().unwrap());
            assert_eq!(same.is_err(), refused, "{from} {to}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_the_rest_counted() {
        let mut report = Report { logs: 1, bytes: 3, ..Report::default() };
        let to = "s3://board".parse().unwrap();
        assert!(sentence(&report, &to).ends_with("s3://board has everything."));
        (0..MAX_NAMED + 7).for_each(|number| report.miss(format!("log {number}")));
        let text = sentence(&report, &to);
        assert!(text.contains("lacks 107 items:\n  log 0\n") && text.contains("\n  and 7 more\n"), "{text}");
        assert_eq!(document(&report)["complete"], false);
    }
}

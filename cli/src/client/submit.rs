//! `leadersboard submit`: pack, send, start, and watch if asked to.

pub(crate) mod pack;
pub(crate) mod slot;
pub(crate) mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde_json::{Map, Value, json};

use super::watch::{Server, follow};
use crate::client::http::begun::Begun;
use crate::client::http::connect::ConnectOptions;
use crate::client::http::error::ClientError;
use crate::client::http::interrupt::Interrupt;
use crate::client::http::model::parse_id;
use crate::client::http::request::{Client, request_key};
use crate::client::output::human;
use crate::client::output::print::{Outcome, Output, print_json, print_text};
use crate::client::output::screen;
use crate::client::output::table;
use crate::client::submit::pack::{BUNDLE_NAME, Limits, Package, Plan};

/// One of the two is required.
const USAGE: &str = "leadersboard submit [OPTIONS] <DIR | --submission ID>";

const EXAMPLES: &str = "\
Examples:
  leadersboard submit examples/quickstart --watch     follow the log, show the metrics
  leadersboard submit . --dry-run                     list what would be sent, send nothing
  leadersboard submit . --entrypoint src/train.py --config conf/small.yaml --class medium
  leadersboard submit . --wait                        wait for a free slot if all are in use
  JOB=$(leadersboard submit .)                        stdout has only the job's id

What is sent:
  .py and .yaml files at the top of the folder as they are, everything else in one archive.
  Not sent: hidden files, __pycache__, virtual environments, names in .gitignore or .ignore.

Exit codes:
  0    the job was accepted; with --watch: it completed
  1    with --watch: the job failed or was cancelled
  2    bad input, or refused by the server
  3    the server could not be reached
  130  Ctrl-C: nothing is started after it, and a job that was accepted goes on";

/// Send a folder and run it as a job
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
pub(crate) struct SubmitCommand {
    /// Folder to send
    #[arg(value_name = "DIR", required_unless_present = "submission")]
    folder: Option<PathBuf>,

    /// Start a job from an earlier submission
    #[arg(long, value_name = "ID", value_parser = parse_id, conflicts_with_all = ["folder", "dry_run", "metadata", "entrypoint", "config"])]
    submission: Option<String>,

    /// Follow the job's log to its end; the exit code is the outcome
    #[arg(long, short, conflicts_with = "dry_run")]
    watch: bool,

    /// If a limit is reached, wait until the server accepts the job
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,

    /// Resource class, such as small or medium [default: the server's]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,

    /// The program to run, a path below the folder
    #[arg(long, value_name = "FILE", default_value = "main.py")]
    entrypoint: String,

    /// The configuration file, a path below the folder
    #[arg(long, value_name = "FILE", default_value = "config.yaml")]
    config: String,

    /// List the files without sending them
    #[arg(long)]
    dry_run: bool,

    /// A JSON object to keep with the submission
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<String>,

    #[command(flatten)]
    connect: ConnectOptions,
}

/// A JSON object, looked at before anything is sent, and sent as it was written.
fn parse_metadata(text: &str) -> Result<String, String> {
    events::json::read_distinct(text).map(|_| text.to_owned()).map_err(|error| format!("metadata {error}"))
}

impl SubmitCommand {
    pub(super) async fn run(self, output: Output, interrupt: &Interrupt) -> Result<Outcome, ClientError> {
        if self.dry_run {
            return list(&self.pack().await?, output);
        }
        let client = self.connect.client()?;
        // One for all tries, so that none makes a second submission.
        let upload_key = request_key();
        let submission_id = match &self.submission {
            Some(id) => id.clone(),
            None if self.wait => slot::wait(async || self.send(&client, &upload_key, interrupt).await).await?,
            None => self.send(&client, &upload_key, interrupt).await?,
        };
        // One for all tries, so that none makes a second job.
        let key = request_key();
        let accepted = if self.wait {
            slot::wait(async || self.start(&client, &submission_id, &key, interrupt).await).await
        } else {
            self.start(&client, &submission_id, &key, interrupt).await
        };
        let accepted = accepted.map_err(|error| self.advise(error, &submission_id))?;
        let job_id = accepted.get("job_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        interrupt.begin(Begun::Job(job_id.clone()))?;
        if self.watch {
            screen::note(&format!("job {job_id}"));
            return follow(&client, &job_id, output, Server::Answered).await;
        }
        match output {
            Output::Json => print_json(&accepted)?,
            Output::Human => {
                print_text(&job_id)?;
                screen::note(&format!("accepted; follow it with: leadersboard jobs watch {job_id}"));
            }
        }
        Ok(Outcome::Done)
    }

    async fn send(&self, client: &Client, key: &str, interrupt: &Interrupt) -> Result<String, ClientError> {
        interrupt.begin(Begun::Upload)?;
        let package = self.pack().await?;
        for left_out in &package.left_out {
            screen::note(&format!("left out {left_out}"));
        }
        let (count, size) = (package.count(), package.size());
        let uploaded = upload::send(client, &package, self.metadata.as_deref(), key).await?;
        interrupt.begin_after_answer(Begun::Submission(uploaded.submission_id.clone())).await?;
        let files = human::counted(count as u64, "file");
        screen::note(&format!("sent {files}, {}: submission {}", human::size(size), uploaded.submission_id));
        for warning in &uploaded.warnings {
            screen::note(&human::plain(warning));
        }
        Ok(uploaded.submission_id)
    }

    async fn start(
        &self,
        client: &Client,
        submission_id: &str,
        key: &str,
        interrupt: &Interrupt,
    ) -> Result<Value, ClientError> {
        let mut config = Map::new();
        if let Some(class) = &self.class {
            config.insert("resource_class".into(), json!(class));
        }
        let body = json!({"submission_id": submission_id, "config": config});
        interrupt.begin(Begun::Request(submission_id.to_owned()))?;
        let answer = client.post_once("/jobs", &body, key, interrupt).await;
        if let Err(ClientError::Limited { .. } | ClientError::Refused { .. }) = answer {
            interrupt.begin(Begun::Submission(submission_id.to_owned()))?;
        }
        answer
    }

    /// What can be done about a job that was not accepted, its files being there.
    fn advise(&self, error: ClientError, submission_id: &str) -> ClientError {
        if let ClientError::Away { .. } = error {
            // It may have been taken although nothing was heard of it.
            let advice = format!(
                "A job of submission {submission_id} may have been started: leadersboard jobs list tells. If it was not: \
                 leadersboard submit --submission {submission_id}"
            );
            error.with_advice(&advice)
        } else if slot::is_lifted_by_itself(&error) {
            let advice = format!("Or let it wait for that: leadersboard submit --submission {submission_id} --wait");
            error.with_advice(&advice)
        } else if self.submission.is_none() {
            let advice = format!("The files need not be sent again: leadersboard submit --submission {submission_id}");
            error.with_advice(&advice)
        } else {
            error
        }
    }

    /// Packs on a thread of its own, which stops when this future is dropped.
    async fn pack(&self) -> Result<Package, ClientError> {
        let plan = Plan {
            folder: self.folder.clone().unwrap_or_default(),
            entrypoint: self.entrypoint.clone(),
            config_file: self.config.clone(),
            server_data: self.connect.data.clone(),
            limits: Limits::default(),
        };
        let stop = StopOnDrop::default();
        let flag = Arc::clone(&stop.0);
        let spinner = screen::spinner("packing");
        let packed = tokio::task::spawn_blocking(move || Package::build(&plan, &flag)).await;
        drop(spinner);
        packed.map_err(std::io::Error::other)?
    }
}

/// The runtime waits for its blocking threads at the end, so an interrupted one must be told.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn list(package: &Package, output: Output) -> Result<Outcome, ClientError> {
    let bundle_size = package.bundle.as_ref().map_or(0, |bundle| bundle.size);
    match output {
        Output::Json => {
            let entries = |entries: &[_]| -> Vec<Value> { entries.iter().map(entry_json).collect() };
            let mut files = entries(&package.loose);
            if package.bundle.is_some() {
                files.push(json!({"name": BUNDLE_NAME, "size": bundle_size, "contains": entries(&package.bundled)}));
            }
            print_json(&json!({
                "entrypoint": package.entrypoint, "config_file": package.config_file,
                "files": files, "size": package.size(), "left_out": package.left_out,
            }))?;
        }
        Output::Human => {
            let row = |indent: &str, name: &str, bytes| [format!("{indent}{name}"), human::size(bytes)];
            let mut rows: Vec<_> =
                package.loose.iter().map(|entry| row("", &human::plain(&entry.path), entry.size)).collect();
            if package.bundle.is_some() {
                rows.push(row("", BUNDLE_NAME, bundle_size));
                rows.extend(package.bundled.iter().map(|entry| row("  ", &human::plain(&entry.path), entry.size)));
            }
            print_text(&table::render([("FILE", table::Align::Left), ("SIZE", table::Align::Right)], rows))?;
            for left_out in &package.left_out {
                screen::note(&format!("left out {left_out}"));
            }
            screen::note(&format!(
                "would send {} in {} and run {}",
                human::size(package.size()),
                human::counted(package.count() as u64, "file"),
                package.entrypoint
            ));
        }
    }
    Ok(Outcome::Done)
}

fn entry_json(entry: &crate::client::submit::pack::Entry) -> Value {
    json!({"name": entry.path, "size": entry.size})
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        command: SubmitCommand,
    }

    fn command(args: &[&str]) -> SubmitCommand {
        Cli::try_parse_from(["submit"].iter().chain(args)).unwrap().command
    }

    #[test]
    fn a_job_that_was_not_accepted_comes_with_what_can_be_done() {
        let limited =
            |code: &str| ClientError::Limited { sentence: "no.".to_owned(), code: code.to_owned(), retry_after: None };
        let refused = || ClientError::Refused { sentence: "no.".to_owned() };
        let again = "leadersboard submit --submission s1";
        for (args, error, advice) in [
            (
                ["."].as_slice(),
                ClientError::Away { sentence: "no.".to_owned(), retry_after: None },
                format!(
                    " A job of submission s1 may have been started: leadersboard jobs list tells. If it was not: {again}"
                ),
            ),
            (&["."], limited("running"), format!(" Or let it wait for that: {again} --wait")),
            (&["."], limited("stored_bytes"), format!(" The files need not be sent again: {again}")),
            (&["."], refused(), format!(" The files need not be sent again: {again}")),
            (&["--submission", "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5"], refused(), String::new()),
        ] {
            let told = command(args).advise(error, "s1").sentence().unwrap();
            assert_eq!(told, format!("error: no.{advice}"), "{args:?}");
        }
    }

    #[test]
    fn metadata_is_an_object_as_it_was_written() {
        assert_eq!(parse_metadata(r#"{"a": 1.10}"#).unwrap(), r#"{"a": 1.10}"#);
        for bad in ["[1]", "7", "{", r#"{"a": 1, "a": 2}"#] {
            let error = parse_metadata(bad).unwrap_err();
            assert!(error.starts_with("metadata "), "{bad}: {error}");
        }
    }
}

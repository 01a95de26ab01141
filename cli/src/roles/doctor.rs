//! `leadersboard doctor`: checks everything that a job needs, and names a cure for each problem.

pub(crate) mod attempts;
mod missing;

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::mlflow::Mlflow;
use adapters::object::Bucket;
use adapters::redis::audit::Mode;
use adapters::redis::check::Verdict;
use adapters::redis::{self, Redis};
use adapters::storage::room_of;
use anyhow::Result;
use clap::{Args, Subcommand};
use events::policy::LivePolicy;
use events::ports::{Room, TrackingError};
use events::problem::chain;
use migrations::MigrateError;
use serde::Serialize;
use worker::{Python, Reconciler, ReconcilerPorts};

use super::answer;
use crate::board_files;
use crate::client::Output;
use crate::client::output::human;
use crate::client::output::table::{Align, render};
use crate::options::python::PythonOption;
use crate::options::redis::RedisOptions;
use crate::options::sandbox::ConfinementOptions;
use crate::options::storage::StorageOptions;
use crate::options::tracking::TrackingOptions;
use crate::roles::doctor::attempts::SandboxDoctor;
use crate::roles::doctor::missing::Missing;
use crate::shared_policy;
use crate::wiring::connect;

/// Check Redis, storage, Python and MLflow, and name a fix for each problem.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: everything works, perhaps with a risk; 1: something can't work.",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct DoctorCommand {
    #[command(subcommand)]
    subject: Option<Subject>,
    #[command(flatten)]
    redis: RedisOptions,
    #[command(flatten)]
    storage: StorageOptions,
    #[command(flatten)]
    tracking: TrackingOptions,
    #[command(flatten)]
    python: PythonOption,
    #[command(flatten)]
    confinement: ConfinementOptions,
    /// First repair open jobs (lost tickets, lost leases, forgotten retries), move unreadable entries to quarantine,
    /// and restore damaged records from the event log
    #[arg(long)]
    repair: bool,
}

#[derive(Debug, Subcommand)]
enum Subject {
    Sandbox(Box<SandboxDoctor>),
}

/// How long a repair waits between the two walks that must agree.
const BETWEEN_WALKS: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    verdict: &'static str,
    found: String,
    cure: Option<String>,
}

impl Row {
    fn good(name: &str, found: impl Into<String>) -> Self {
        Self { name: name.to_owned(), verdict: "good", found: found.into(), cure: None }
    }

    fn risky(name: &str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name: name.to_owned(), verdict: "risky", found: found.into(), cure: Some(cure.into()) }
    }

    fn unusable(name: &str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name: name.to_owned(), verdict: "unusable", found: found.into(), cure: Some(cure.into()) }
    }
}

impl DoctorCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        if let Some(Subject::Sandbox(sandbox)) = self.subject {
            return sandbox.run(output).await;
        }
        let mut rows = if self.repair { vec![self.repair().await?] } else { vec![] };
        rows.extend(self.look_at_redis().await);
        let data = &self.redis.data;
        match self.storage.bucket() {
            Err(error) => rows.push(Row::unusable("storage", format!("{error:#}"), "correct this setting")),
            Ok(Some(bucket)) => rows.push(look_at_bucket(&bucket).await),
            Ok(None) => {
                rows.push(self.look_at_uploads());
                rows.push(self.look_at_folder("logs", &self.storage.logs(data), "LOG_ROOT"));
                rows.push(self.look_at_folder("artifacts", &self.storage.artifacts(data), "ARTIFACT_ROOT"));
            }
        }
        rows.extend(self.look_at_python().await);
        rows.extend(self.look_at_mlflow().await);
        let code = if rows.iter().any(|row| row.verdict == "unusable") { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        answer(output, &table(&rows), &rows)?;
        Ok(code)
    }

    /// Checks that MLflow accepts runs, if it is configured. Jobs run without it.
    async fn look_at_mlflow(&self) -> Option<Row> {
        let server = match self.tracking.server(self.redis.namespace.namespace.namespace()) {
            Ok(server) => server?,
            Err(error) => return Some(Row::unusable("mlflow", format!("{error:#}"), "correct this setting")),
        };
        Some(match Mlflow::probe(&server).await {
            Ok(()) => Row::good("mlflow", "answers"),
            Err(TrackingError::Refused(why)) => {
                Row::unusable("mlflow", why, "correct the settings of MLflow, or unset MLFLOW_TRACKING_URI")
            }
            Err(error) => Row::risky(
                "mlflow",
                error.to_string(),
                "runs are recorded when MLflow answers again; jobs continue meanwhile",
            ),
        })
    }

    /// Walks over the open jobs twice. The second walk repairs what it finds again.
    async fn repair(&self) -> Result<Row> {
        let redis = Arc::new(connect(&self.redis).await?);
        let mut set_aside = redis.tidy_all().await?;
        let unreadable = redis.count_unreadable_records().await?;
        // A record that can't be read, and an index that was set aside as a whole, are restored from the log alone.
        let restored =
            if set_aside + unreadable > 0 { redis.audit(Mode::Rebuild, |_| {}).await?.differences } else { 0 };
        let policy = Arc::new(LivePolicy::from(shared_policy::stored(&redis).await?.policy()));
        let ports =
            ReconcilerPorts { log: redis.clone(), queue: redis.clone(), work_state: redis, ids: Arc::new(SystemIds) };
        let mut reconciler = Reconciler::new(ports, policy);
        let suspected = reconciler.walk().await?.suspected;
        if suspected > 0 {
            tokio::time::sleep(BETWEEN_WALKS).await;
        }
        let walk = reconciler.walk().await?;
        set_aside += walk.set_aside;
        let in_quarantine = "unreadable entries moved into quarantine: `leadersboard dlq list --quarantine`";
        let more = [
            (set_aside, in_quarantine),
            (unreadable, "unreadable records"),
            (restored, "differences restored from the event log"),
        ];
        let more = more.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("; {count} {what}"));
        let counted = |count, noun| human::counted(count, noun);
        let (open, repaired) = (counted(walk.open, "open job"), counted(walk.repaired, "repair"));
        let found = format!("{open}, {repaired}{}", more.collect::<String>());
        let elsewhere =
            "leaderboards and lists are not compared here: `leadersboard projections rebuild` restores them";
        Ok(Row { cure: Some(elsewhere.to_owned()), ..Row::good("repair", found) })
    }

    async fn look_at_redis(&self) -> Vec<Row> {
        let url = match self.redis.url() {
            Ok(url) => url,
            Err(error) => {
                return vec![Row::unusable(
                    "redis",
                    "unknown",
                    error.root_cause().to_string() + ": " + &error.to_string(),
                )];
            }
        };
        let (keys, address) = (self.redis.namespace.namespace.clone(), redis::address(&url));
        let version = migrations::version(&url, &keys).await;
        if let Err(MigrateError::Redis(error)) = &version {
            let found = format!("{address}: {}", redis::describe(error));
            return vec![Row::unusable("redis", found, redis::cure(error))];
        }
        let findings = match Redis::connect(&url, keys).await {
            Ok(redis) => match redis.check().await {
                Ok(findings) => Ok([findings, vec![redis.check_writes().await]].concat()),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let mut rows: Vec<Row> = match findings {
            Ok(findings) => findings.into_iter().map(of_finding).collect(),
            Err(error) => {
                let found = format!("{address}: {error}");
                return vec![Row::unusable("redis", found, "start it, or give the right REDIS_URL")];
            }
        };
        rows.insert(0, Row::good("redis", format!("{address} answers")));
        rows.push(match version {
            Ok(version) if version == migrations::CURRENT => Row::good("key schema", format!("version {version}")),
            Ok(version) => Row::unusable(
                "key schema",
                format!("version {version}, {} is needed", migrations::CURRENT),
                "run `leadersboard migrate`",
            ),
            Err(error) => Row::unusable("key schema", error.to_string(), "make Redis answer"),
        });
        rows
    }

    fn look_at_uploads(&self) -> Row {
        let (name, root) = ("uploads", self.storage.uploads(&self.redis.data));
        match room_of(&root) {
            Ok(space) if space.is_scarce() => Row::unusable(
                name,
                format!(
                    "less than {} % of {} is free: uploads are refused, jobs go on",
                    Room::LEAST_FREE_PERCENT,
                    root.display()
                ),
                "make room, or lower RETENTION or SUBMISSION_TTL",
            ),
            // What keeps it from being asked keeps it from being written.
            Ok(_) | Err(_) => self.look_at_folder(name, &root, "UPLOAD_ROOT"),
        }
    }

    /// Whether a folder can be written to. Makes neither the folder nor anything in it that stays.
    fn look_at_folder(&self, name: &str, root: &Path, variable: &str) -> Row {
        let (data, shown) = (&self.redis.data, root.display());
        match tempfile::tempfile_in(root) {
            Ok(_) => Row::good(name, format!("{shown} is writable")),
            Err(error) if error.kind() == ErrorKind::NotFound && root.starts_with(data) && !data.exists() => {
                Row::risky(
                    name,
                    format!("there is no data directory {}", data.display()),
                    "`leadersboard up` makes it; or give --data or DATA_DIR",
                )
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Row::risky(name, format!("there is no folder {shown}"), format!("a role makes it; or give {variable}"))
            }
            Err(error) => {
                let found = format!("{shown} is not writable: {error}");
                Row::unusable(name, found, format!("make {shown} writable, or give {variable}"))
            }
        }
    }

    async fn look_at_python(&self) -> Vec<Row> {
        match self.python.find().await {
            Ok(python) => {
                let mut rows = vec![Row::good("python", python.to_string())];
                if !python.imports.is_empty() {
                    rows.extend(self.look_at_imports(&python).await);
                }
                rows
            }
            Err(error) => vec![Row::unusable("python", "no interpreter runs", error.to_string())],
        }
    }

    /// Checks that jobs can read the folders outside its own that the interpreter imports from.
    async fn look_at_imports(&self, python: &Python) -> Vec<Row> {
        let name = "imports";
        let data = &self.redis.data;
        if !data.exists() {
            let found = format!("not checked: there is no data directory {}", data.display());
            return vec![Row::risky(name, found, "`leadersboard up` makes it; or give --data or DATA_DIR")];
        }
        let _made = Missing::before(&self.confinement.work_root(data));
        let site = self.confinement.prepare(python, (&self.redis.data, &self.storage), "doctor", 1).await;
        let sandbox = match site {
            Ok(site) => site.sandbox,
            Err(error) => return vec![Row::risky(name, "could not be looked at", chain(error.as_ref()))],
        };
        let unseen = sandbox.unseen();
        if unseen.is_empty() {
            return vec![Row::good(name, "jobs can read all that the interpreter imports from")];
        }
        unseen.iter().map(|one| Row::risky(name, one.path.display().to_string(), one.why.clone())).collect()
    }
}

/// Whether a bucket can be written, read and listed.
async fn look_at_bucket(bucket: &Bucket) -> Row {
    let checked = async { board_files::store(bucket)?.check().await.map_err(anyhow::Error::from) };
    match checked.await {
        Ok(()) => Row::good("storage", format!("{bucket} can be written, read and listed")),
        Err(error) => Row::unusable("storage", format!("{error:#}"), "correct STORAGE_URL or the AWS_* variables"),
    }
}

fn of_finding(finding: adapters::redis::check::Finding) -> Row {
    let (verdict, cure) = match finding.verdict {
        Verdict::Good => ("good", None),
        Verdict::Risky(risk) => ("risky", Some(risk)),
        Verdict::Unusable(why) => ("unusable", Some(why)),
    };
    Row { name: format!("redis {}", finding.name), verdict, found: finding.found, cure }
}

fn table(rows: &[Row]) -> String {
    let columns = [("CHECK", Align::Left), ("VERDICT", Align::Left), ("FOUND", Align::Left), ("FIX", Align::Left)];
    let cells =
        |row: &Row| [row.name.clone(), row.verdict.to_owned(), row.found.clone(), row.cure.clone().unwrap_or_default()];
    render(columns, rows.iter().map(cells))
}

#[cfg(test)]
mod tests {
    use adapters::redis::check::Finding;

    use super::*;

    #[test]
    fn what_redis_may_lose_is_shown_with_its_cure() {
        let finding = |verdict| Finding { name: "appendonly", found: "no".to_owned(), verdict };
        let rows = [
            of_finding(finding(Verdict::Good)),
            of_finding(finding(Verdict::Risky("set appendonly yes".to_owned()))),
            of_finding(finding(Verdict::Unusable("it evicts keys".to_owned()))),
        ];
        let shown: Vec<_> = rows.iter().map(|row| (row.verdict, row.cure.as_deref())).collect();
        let expected = [("good", None), ("risky", Some("set appendonly yes")), ("unusable", Some("it evicts keys"))];
        assert_eq!(shown, expected);
        assert!(table(&rows).contains("redis appendonly  risky     no     set appendonly yes"), "{}", table(&rows));
    }
}

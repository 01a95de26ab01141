//! `leadersboard doctor`: looks at everything a job needs, and says how to cure what is wrong.

pub(crate) mod attempts;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::mlflow::Mlflow;
use adapters::redis::audit::Mode;
use adapters::redis::check::Verdict;
use adapters::redis::{self, Redis};
use adapters::storage::DirectoryStorage;
use anyhow::Result;
use clap::{Args, Subcommand};
use events::policy::LivePolicy;
use events::ports::{Room, StorageError, StoragePort, TrackingError};
use events::problem::chain;
use migrations::MigrateError;
use serde::Serialize;
use worker::{Python, Reconciler, ReconcilerPorts};

use super::answer;
use crate::client::Output;
use crate::client::output::table::{Align, render};
use crate::options::python::PythonOption;
use crate::options::redis::RedisOptions;
use crate::options::sandbox::ConfinementOptions;
use crate::options::storage::StorageOptions;
use crate::options::tracking::TrackingOptions;
use crate::roles::doctor::attempts::SandboxDoctor;
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
        rows.push(self.look_at_uploads().await);
        let data = &self.redis.data;
        rows.push(look_at_folder("logs", &self.storage.logs(data), "LOG_ROOT"));
        rows.push(look_at_folder("artifacts", &self.storage.artifacts(data), "ARTIFACT_ROOT"));
        rows.extend(self.look_at_python().await);
        rows.extend(self.look_at_mlflow().await);
        let code = if rows.iter().any(|row| row.verdict == "unusable") { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        answer(output, &table(&rows), &rows)?;
        Ok(code)
    }

    /// Whether MLflow takes runs, where there is one. Jobs run without it.
    async fn look_at_mlflow(&self) -> Option<Row> {
        let server = match self.tracking.server(self.redis.namespace.namespace.namespace()) {
            Ok(server) => server?,
            Err(error) => return Some(Row::unusable("mlflow", format!("{error:#}"), "set it right")),
        };
        Some(match Mlflow::probe(&server).await {
            Ok(()) => Row::good("mlflow", "answers"),
            Err(TrackingError::Refused(why)) => {
                Row::unusable("mlflow", why, "set what is wrong right, or MLFLOW_TRACKING_URI to nothing")
            }
            Err(error) => {
                Row::risky("mlflow", error.to_string(), "runs are recorded when it answers; jobs go on meanwhile")
            }
        })
    }

    /// Walks twice: what the second walk finds again is repaired.
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
        let found = format!("{} open jobs, {} repairs{}", walk.open, walk.repaired, more.collect::<String>());
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

    async fn look_at_uploads(&self) -> Row {
        let root = self.storage.uploads(&self.redis.data);
        let name = "uploads";
        let shown = root.display().to_string();
        let probed = match DirectoryStorage::open(root) {
            Ok(storage) => look_at(&storage).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match probed {
            Ok(space) if space.is_scarce() => Row::unusable(
                name,
                format!("less than {} % of {shown} is free: uploads are refused, jobs go on", Room::LEAST_FREE_PERCENT),
                "make room, or lower RETENTION or SUBMISSION_TTL",
            ),
            Ok(_) => Row::good(name, format!("{shown} is writable")),
            Err(error) => Row::unusable(name, error, format!("make {shown} writable, or give UPLOAD_ROOT")),
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

    /// Whether jobs can read what the interpreter imports from outside of its own folders.
    async fn look_at_imports(&self, python: &Python) -> Vec<Row> {
        let name = "imports";
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

fn look_at_folder(name: &str, root: &Path, variable: &str) -> Row {
    let shown = root.display().to_string();
    match std::fs::create_dir_all(root).and_then(|()| tempfile::tempfile_in(root)) {
        Ok(_) => Row::good(name, format!("{shown} is writable")),
        Err(error) => Row::unusable(name, error.to_string(), format!("make {shown} writable, or give {variable}")),
    }
}

async fn look_at(storage: &DirectoryStorage) -> Result<Room, StorageError> {
    storage.probe().await?;
    storage.room().await
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
    let columns = [("CHECK", Align::Left), ("VERDICT", Align::Left), ("FOUND", Align::Left), ("CURE", Align::Left)];
    let cells =
        |row: &Row| [row.name.clone(), row.verdict.to_owned(), row.found.clone(), row.cure.clone().unwrap_or_default()];
    render(columns, rows.iter().map(cells))
}

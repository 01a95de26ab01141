//! `leadersboard dlq purge`.

use std::path::Path;
use std::process::ExitCode;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use events::execute::{ExecuteError, Origin};
use events::ports::{DeadLetterPort, Ids};
use events::{Actor, UserId};
use serde_json::json;

use super::select::Filters;
use crate::board_files::{self, JobFiles};
use crate::client::Output;
use crate::client::output::human;
use crate::options::storage::StorageOptions;
use crate::roles::answer;
use crate::shared_policy;

#[derive(Debug, Args)]
#[command(after_help = "A purged job disappears from every list; the event log keeps its history.")]
pub(super) struct Purge {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    storage: StorageOptions,
    /// Delete the entries in quarantine instead
    #[arg(long, conflicts_with_all = ["kind", "user", "since", "limit"])]
    quarantine: bool,
    /// Do it; without this option the command only counts
    #[arg(long)]
    yes: bool,
    /// Your name, for the event
    #[arg(long, env = "USER", value_name = "NAME", default_value = "operator")]
    by: UserId,
}

impl Purge {
    pub(super) async fn run(self, redis: &Redis, data: &Path, output: Output) -> Result<ExitCode> {
        let (what, count) = if self.quarantine {
            ("quarantined ticket", self.quarantine(redis).await?)
        } else {
            ("dead letter", self.dead_letters(redis, data).await?)
        };
        let counted = human::counted(count, what);
        let sentence =
            if self.yes { format!("{counted} purged.") } else { format!("{counted} would be purged: --yes does it.") };
        answer(output, &sentence, &json!({ "purged": if self.yes { count } else { 0 }, "selected": count }))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn quarantine(&self, redis: &Redis) -> Result<u64> {
        if self.yes {
            return Ok(redis.purge_quarantine().await?);
        }
        Ok(redis.quarantined(usize::MAX >> 1).await?.len() as u64)
    }

    async fn dead_letters(&self, redis: &Redis, data: &Path) -> Result<u64> {
        let origin = Origin { actor: Actor::User(self.by.clone()), trace: None };
        let JobFiles { logs, artifacts } = board_files::open_jobs(&self.storage, data, redis)?;
        let files = worker::JobFiles { logs: &*logs, artifacts: &*artifacts };
        let mut selection = self.filters.select(redis, u64::MAX).await?;
        let policy = shared_policy::stored(redis).await?.policy();
        let mut count = 0;
        while let Some(page) = selection.next(redis).await? {
            for job in page {
                if self.yes {
                    let jitter = SystemIds.jitter();
                    match worker::remove_job(redis, files, &policy, &origin, &job, jitter).await {
                        Ok(()) => {}
                        // It was replayed or purged by somebody else meanwhile.
                        Err(ExecuteError::Rejected(_) | ExecuteError::GuardFailed(_)) => continue,
                        Err(error) => bail!(anyhow!("{error}").context(format!("after {count} were purged"))),
                    }
                }
                count += 1;
            }
        }
        Ok(count)
    }
}

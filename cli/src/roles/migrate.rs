//! `leadersboard migrate`: brings a Redis to the key schema of this version.

use std::process::ExitCode;

use adapters::redis::address;
use anyhow::{Context, Result};
use clap::Args;
use events::Actor;
use events::policy::PolicySettings;
use serde_json::json;

use super::answer;
use crate::client::Output;
use crate::options::policy::PolicyOptions;
use crate::options::shared::RedisOptions;
use crate::roles::policy_change;
use crate::wiring::{connect, migrate};

/// Update the key schema of a Redis to this version.
#[derive(Debug, Args)]
pub(crate) struct MigrateCommand {
    #[command(flatten)]
    redis: RedisOptions,
    #[command(flatten)]
    policy: PolicyOptions,
}

impl MigrateCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        let given = self.policy.given()?;
        let report = migrate(&self.redis.url()?, &self.redis.namespace.namespace).await?;
        if given != PolicySettings::default() {
            let redis = connect(&self.redis).await?;
            let set = policy_change::set_at_start(&redis, Actor::System("migrate".to_owned()), &given).await;
            let address = address(&self.redis.url().unwrap_or_default());
            for left in set.with_context(|| format!("Redis at {address}"))? {
                eprintln!("{left}");
            }
        }
        let sentence = match report.taken.as_slice() {
            [] => format!("the key schema has version {}: nothing to do", report.to),
            _ if report.from == 0 => format!("the key schema is ready (version {})", report.to),
            steps => {
                let steps = steps.join("\n  ");
                format!("the key schema went from version {} to {}:\n  {steps}", report.from, report.to)
            }
        };
        let document = json!({ "from": report.from, "to": report.to, "steps": report.taken });
        answer(output, &sentence, &document)?;
        Ok(ExitCode::SUCCESS)
    }
}

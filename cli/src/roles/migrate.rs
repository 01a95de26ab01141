//! `leadersboard migrate`: brings a Redis to the key schema of this version.

use std::process::ExitCode;

use adapters::redis::address;
use anyhow::{Context, Result};
use clap::Args;
use events::Actor;
use events::policy::PolicySettings;
use migrations::Report;
use serde_json::json;

use super::answer;
use crate::bad_usage::Given;
use crate::client::Output;
use crate::options::policy::PolicyOptions;
use crate::options::redis::RedisOptions;
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
        let given = self.policy.given().or_bad_usage()?;
        let report = migrate(&self.redis.url()?, &self.redis.namespace.namespace).await?;
        if given != PolicySettings::default() {
            let redis = connect(&self.redis).await?;
            let set = policy_change::set_at_start(&redis, Actor::System("migrate".to_owned()), &given).await;
            let address = address(&self.redis.url().unwrap_or_default());
            for left in set.with_context(|| format!("Redis at {address}"))? {
                eprintln!("{left}");
            }
        }
        let document = json!({ "from": report.from, "to": report.to, "steps": report.taken });
        answer(output, &sentence(&report), &document)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn sentence(report: &Report) -> String {
    if report.taken.is_empty() {
        return format!("the key schema has version {}: nothing to do", report.to);
    }
    if report.from == 0 {
        return format!("the key schema is ready (version {})", report.to);
    }
    let steps = report.taken.join("\n  ");
    format!("the key schema went from version {} to {}:\n  {steps}", report.from, report.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_named() {
        let report = |from, to, taken: &[&'static str]| Report { from, to, taken: taken.to_vec() };
        assert_eq!(sentence(&report(0, 5, &["one", "two"])), "the key schema is ready (version 5)");
        assert_eq!(sentence(&report(4, 4, &[])), "the key schema has version 4: nothing to do");
        let told = sentence(&report(2, 4, &["add boards", "rename slots"]));
        assert_eq!(told, "the key schema went from version 2 to 4:\n  add boards\n  rename slots");
    }
}

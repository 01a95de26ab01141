//! `leadersboard policy`: what all roles must agree on.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use events::policy::PolicySettings;
use events::{Actor, UserId};
use serde_json::{Value, json};

use super::answer;
use crate::client::Output;
use crate::options::RedisOptions;
use crate::policy::{self, PolicyOptions};
use crate::table::{Align, render};
use crate::wiring::connect;

/// Show or change what all roles must agree on.
#[derive(Debug, Args)]
pub(crate) struct PolicyCommand {
    #[command(flatten)]
    redis: RedisOptions,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the policy, and what of it was set
    Show,
    /// Change it; running processes follow within ten seconds
    #[command(after_help = "Only what is given is changed. A lease in force keeps its length; a worker serves a new \
                            resource class from its next start on.")]
    Set {
        #[command(flatten)]
        policy: PolicyOptions,
        /// Who asks, for the event
        #[arg(long, env = "USER", default_value = "operator")]
        by: UserId,
    },
}

impl PolicyCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        let redis = connect(&self.redis).await?;
        let settings = match self.what {
            What::Show => policy::stored(&redis).await?,
            What::Set { policy: options, by } => {
                let given = options.given()?;
                if given == PolicySettings::default() {
                    bail!("nothing to set: give --lease, --max-retries, --retry-backoff or --resource-classes");
                }
                policy::set(&redis, Actor::User(by), &given).await?
            }
        };
        answer(output, &table(&settings), &document(&settings))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn document(settings: &PolicySettings) -> Value {
    let policy = settings.policy();
    let classes: Vec<Value> = policy
        .classes
        .iter()
        .map(|(name, class)| {
            let is_default = *name == policy.default_class;
            json!({ "name": name, "time_limit_s": class.time_limit_s, "default": is_default })
        })
        .collect();
    json!({
        "lease_ms": policy.lease.as_millis(),
        "max_retries": policy.max_retries,
        "retry_backoff_ms": policy.retry_backoff.iter().map(Duration::as_millis).collect::<Vec<_>>(),
        "classes": classes,
        "set": settings,
    })
}

fn table(settings: &PolicySettings) -> String {
    let policy = settings.policy();
    let time = |time: Duration| humantime::format_duration(time).to_string();
    let origin = |is_set: bool| if is_set { "set".to_owned() } else { "default".to_owned() };
    let waits: Vec<String> = policy.retry_backoff.iter().map(|wait| time(*wait)).collect();
    let class =
        |name| policy.class(name).map(|class| format!("{name}={}", time(Duration::from_secs(class.time_limit_s))));
    let others = policy.classes.keys().filter(|name| **name != policy.default_class);
    let classes: Vec<String> = std::iter::once(&policy.default_class).chain(others).filter_map(class).collect();
    let rows = [
        ["lease".to_owned(), time(policy.lease), origin(settings.lease_ms.is_some())],
        ["max retries".to_owned(), policy.max_retries.to_string(), origin(settings.max_retries.is_some())],
        ["retry backoff".to_owned(), waits.join(","), origin(settings.retry_backoff_ms.is_some())],
        ["resource classes".to_owned(), classes.join(","), origin(settings.classes.is_some())],
    ];
    render([("POLICY", Align::Left), ("VALUE", Align::Left), ("", Align::Left)], rows)
}

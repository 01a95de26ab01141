//! `leadersboard jobs compare`: jobs side by side.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::http::error::ClientError;
use crate::client::http::model::{Job, parse_id, parse_job};
use crate::client::http::request::Client;
use crate::client::output::human;
use crate::client::output::print::{Output, print_json, print_text};
use crate::client::output::table::{Align, render_wide};

/// As many characters of a value as a table shows.
const VALUE_CHARS: usize = 40;
/// What stands before a param that is not the same everywhere.
const DIFFERENT: &str = "*";

/// A part of a job's results.
type Section = fn(&Job) -> Option<&Map<String, Value>>;

/// Compare jobs side by side
#[derive(Debug, Args)]
pub(super) struct CompareCommand {
    /// The jobs' ids
    #[arg(value_name = "ID", value_parser = parse_id, num_args = 2..=8, required = true)]
    job_ids: Vec<String>,
}

impl CompareCommand {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), ClientError> {
        let mut documents = Vec::with_capacity(self.job_ids.len());
        for job_id in &self.job_ids {
            documents.push(client.get::<Value>(&format!("/jobs/{job_id}"), &[]).await?);
        }
        let jobs = documents.iter().map(parse_job).collect::<Result<Vec<_>, _>>()?;
        match output {
            Output::Json => print_json(&json!({ "jobs": documents, "different_params": different(&jobs) })),
            Output::Human => print_text(&report(&jobs)),
        }
    }
}

/// The params that not all of the jobs have with the same value.
fn different(jobs: &[Job]) -> Vec<&str> {
    let all = jobs.iter().map(|job| job.params.as_ref());
    names(all.clone()).into_iter().filter(|name| !is_same(all.clone().map(|params| params?.get(*name)))).collect()
}

fn names<'a>(all: impl Iterator<Item = Option<&'a Map<String, Value>>>) -> BTreeSet<&'a str> {
    all.flatten().flat_map(|values| values.keys().map(String::as_str)).collect()
}

fn is_same<'a>(mut values: impl Iterator<Item = Option<&'a Value>>) -> bool {
    let first = values.next();
    values.all(|value| Some(value) == first)
}

/// One column a job, one row a value; an empty cell where a job has it not.
fn report(jobs: &[Job]) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut fixed = |name: &str, of: fn(&Job) -> String| {
        rows.push([String::new(), name.to_owned()].into_iter().chain(jobs.iter().map(of)).collect());
    };
    fixed("user", |job| human::plain(&job.user_id));
    fixed("status", |job| job.status.name().to_owned());
    fixed("created", |job| human::time(&job.created_at));
    fixed("ran", |job| job.run_seconds.map(seconds).unwrap_or_default());
    let different: BTreeSet<&str> = different(jobs).into_iter().collect();
    let sections: [(&str, Section); 3] = [
        ("params", |job| job.params.as_ref()),
        ("metrics", |job| job.metrics.as_ref()),
        ("performance", |job| job.performance.as_ref()),
    ];
    for (section, of) in sections {
        for name in names(jobs.iter().map(of)) {
            let is_different = section == "params" && different.contains(name);
            let mark = if is_different { DIFFERENT } else { "" };
            let value = |job| of(job).and_then(|values| values.get(name));
            let words = |value| if section == "params" { human::value(value) } else { human::result(name, value) };
            let shown = |job| value(job).map(|value| human::line(&words(value), VALUE_CHARS));
            let values = jobs.iter().map(|job| shown(job).unwrap_or_default());
            let name = format!("{section}.{}", human::plain(name));
            rows.push([mark.to_owned(), name].into_iter().chain(values).collect());
        }
    }
    let ids: Vec<String> = jobs.iter().map(|job| human::plain(&job.job_id)).collect();
    let mut columns = vec![("", Align::Left), ("JOB", Align::Left)];
    columns.extend(ids.iter().map(|id| (id.as_str(), Align::Right)));
    let table = render_wide(&columns, rows);
    if different.is_empty() { table } else { format!("{table}\n\n{DIFFERENT} params that differ") }
}

fn seconds(seconds: f64) -> String {
    human::duration(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, params: &Value, metrics: &Value) -> Job {
        serde_json::from_value(json!({
            "job_id": id, "submission_id": "s", "user_id": "alice", "status": "completed",
            "created_at": "2026-01-31T12:00:01Z", "params": params, "metrics": metrics, "run_seconds": 2.9,
        }))
        .unwrap()
    }

    #[test]
    fn params_that_differ_are_marked_and_missing_values_are_empty() {
        let jobs = [
            job("j1", &json!({ "lr": 0.1, "seed": 7, "only": "here" }), &json!({ "auc": 0.5 })),
            job("j2", &json!({ "lr": 0.2, "seed": 7 }), &json!({ "auc": 0.6, "f1": 1 })),
        ];
        assert_eq!(different(&jobs), ["lr", "only"]);
        let text = report(&jobs);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["JOB", "j1", "j2"]);
        assert!(lines.contains(&vec!["*", "params.lr", "0.1", "0.2"]), "{text}");
        assert!(lines.contains(&vec!["params.seed", "7", "7"]), "{text}");
        assert!(lines.contains(&vec!["*", "params.only", "here"]), "{text}");
        assert!(lines.contains(&vec!["metrics.auc", "0.5", "0.6"]), "{text}");
        assert!(lines.contains(&vec!["metrics.f1", "1"]), "{text}");
        assert!(text.ends_with("* params that differ"), "{text}");
    }

    #[test]
    fn jobs_without_results_are_compared_too() {
        let jobs = [job("j1", &Value::Null, &Value::Null), job("j2", &Value::Null, &Value::Null)];
        assert!(different(&jobs).is_empty());
        assert!(report(&jobs).contains("status"));
    }
}

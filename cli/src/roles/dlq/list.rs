//! `leadersboard dlq list`.

use std::process::ExitCode;

use adapters::redis::Redis;
use anyhow::Result;
use clap::Args;
use events::ports::{DeadLetterPort, Quarantined, Unreadable};
use events::time::to_rfc3339;
use events::{Job, JobId, JobState};
use serde_json::{Value, json};

use super::select::Filters;
use crate::client::Output;
use crate::client::output::human;
use crate::client::output::table::{Align, render};
use crate::roles::answer;

/// How many are listed unless a limit is given.
const DEFAULT_LIMIT: u64 = 50;
/// Room for the sentence that tells why.
const MAX_ERROR_CHARS: usize = 80;

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    filters: Filters,
    /// List unreadable tickets and other entries instead
    #[arg(long, conflicts_with_all = ["kind", "user", "since"])]
    quarantine: bool,
}

impl List {
    pub(super) async fn run(self, redis: &Redis, output: Output) -> Result<ExitCode> {
        let limit = self.filters.limit.unwrap_or(DEFAULT_LIMIT);
        if self.quarantine {
            let tickets = redis.quarantined(usize::try_from(limit).unwrap_or(usize::MAX)).await?;
            let documents: Vec<Value> = tickets.iter().map(document_of_ticket).collect();
            answer(output, &tickets_table(&tickets), &json!({ "quarantine": documents }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut selection = self.filters.select(redis, DEFAULT_LIMIT).await?;
        let mut jobs = Vec::new();
        while let Some(page) = selection.next(redis).await? {
            jobs.extend(page);
        }
        let documents: Vec<Value> = jobs.iter().map(document).collect();
        let mut shown = json!({ "dead_letters": documents });
        let mut text = table(&jobs);
        if !selection.unreadable.is_empty() {
            let document = |it: &Unreadable<JobId>| json!({ "job_id": it.id.to_string(), "reason": it.reason });
            shown["unreadable"] = selection.unreadable.iter().map(document).collect();
            let line = |it: &Unreadable<JobId>| format!("\n{}  {}", it.id, human::line(&it.reason, MAX_ERROR_CHARS));
            let lines: String = selection.unreadable.iter().map(line).collect();
            let cure = "`leadersboard projections rebuild` restores them";
            text = format!("{text}\n\nRecords that can't be read ({cure}):{lines}");
        }
        answer(output, &text, &shown)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A dead letter as a document.
pub(super) fn document(job: &Job) -> Value {
    let (kind, error, at) = facts(job);
    json!({
        "job_id": job.id.to_string(),
        "user": job.spec.user.to_string(),
        "class": job.spec.class.to_string(),
        "kind": kind,
        "error": error,
        "attempts": job.attempt(),
        "dead_since": at,
    })
}

/// Its kind, why it was given up, and when.
fn facts(job: &Job) -> (&str, &str, String) {
    match &job.state {
        JobState::DeadLettered(ended) => (ended.why.kind.as_str(), &ended.why.error, to_rfc3339(ended.at)),
        _ => ("", "", String::new()),
    }
}

fn table(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "No dead letters.".to_owned();
    }
    let columns = [
        ("JOB", Align::Left),
        ("USER", Align::Left),
        ("KIND", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("SINCE", Align::Left),
        ("WHY", Align::Left),
    ];
    let rows = jobs.iter().map(|job| {
        let (kind, error, at) = facts(job);
        [
            job.id.to_string(),
            human::plain(job.spec.user.as_str()),
            kind.to_owned(),
            job.attempt().to_string(),
            human::ago(&at),
            human::line(error, MAX_ERROR_CHARS),
        ]
    });
    render(columns, rows)
}

fn document_of_ticket(ticket: &Quarantined) -> Value {
    let fields: serde_json::Map<String, Value> = ticket
        .fields
        .iter()
        .map(|(field, bytes)| (field.clone(), Value::String(String::from_utf8_lossy(bytes).into_owned())))
        .collect();
    let entry = String::from_utf8_lossy(&ticket.entry);
    let mut document = json!({ "from": ticket.from, "entry": entry, "fields": fields });
    if let Some(class) = ticket.from.strip_prefix("queue:") {
        document["class"] = json!(class);
        document["ticket"] = json!(entry);
    }
    document
}

fn tickets_table(tickets: &[Quarantined]) -> String {
    if tickets.is_empty() {
        return "Nothing is in quarantine.".to_owned();
    }
    let columns = [("FROM", Align::Left), ("ENTRY", Align::Left), ("CONTENT", Align::Left)];
    let rows = tickets.iter().map(|ticket| {
        let fields = ticket.fields.iter().map(|(field, bytes)| format!("{field}={}", String::from_utf8_lossy(bytes)));
        let content = human::line(&fields.collect::<Vec<_>>().join(" "), MAX_ERROR_CHARS);
        let entry = human::line(&String::from_utf8_lossy(&ticket.entry), MAX_ERROR_CHARS);
        [human::plain(&ticket.from), entry, content]
    });
    render(columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(table(&[]), "No dead letters.");
        assert_eq!(tickets_table(&[]), "Nothing is in quarantine.");
    }

    #[test]
    fn an_entry_in_quarantine_is_shown_whatever_its_bytes_are() {
        let entry = |from: &str| Quarantined {
            from: from.to_owned(),
            entry: b"1-\xff".to_vec(),
            fields: vec![("job".to_owned(), b"\x1b[2J".to_vec())],
        };
        let text = tickets_table(&[entry("queue:small")]);
        assert_eq!(text, "FROM         ENTRY  CONTENT\nqueue:small  1-\u{fffd}    job=[2J");
        assert_eq!(document_of_ticket(&entry("queue:small"))["class"], "small");
        assert_eq!(document_of_ticket(&entry("leases")).get("class"), None);
    }
}

//! `leadersboard jobs history`.

use serde::Deserialize;
use serde_json::Value;

use crate::client::http::error::ClientError;
use crate::client::http::model::Event;
use crate::client::http::request::Client;
use crate::client::output::human;
use crate::client::output::print::{Output, print_document, print_text};
use crate::client::output::table::{Align, render};

/// Room for an event's own data.
const MAX_DATA_CHARS: usize = 100;

/// Fields that only the platform needs. `--json` has them.
const OWN: [&str; 1] = ["idempotency"];

#[derive(Deserialize)]
struct History {
    events: Vec<Event>,
}

/// Prints a job's history, oldest first, with the time each step took.
pub(super) async fn run(client: &Client, job_id: &str, output: Output) -> Result<(), ClientError> {
    let document = client.document(&format!("/jobs/{job_id}/events"), &[]).await?;
    match output {
        Output::Json => print_document(&document),
        Output::Human => {
            let history =
                History::deserialize(&document.value).map_err(|_| ClientError::unknown_form("the history"))?;
            print_text(&rows(&history.events))
        }
    }
}

fn rows(events: &[Event]) -> String {
    let mut before: Option<&str> = None;
    let rows = events.iter().map(|event| {
        let step = before.and_then(|before| human::between(before, &event.at));
        before = Some(&event.at);
        [
            event.seq.to_string(),
            human::time(&event.at),
            step.map(|step| format!("+{}", human::duration(step))).unwrap_or_default(),
            human::plain(&event.kind),
            human::plain(event.actor.as_deref().unwrap_or_default()),
            human::line(&details(&event.data), MAX_DATA_CHARS),
        ]
    });
    let columns = [
        ("SEQ", Align::Right),
        ("TIME (UTC)", Align::Left),
        ("AFTER", Align::Right),
        ("EVENT", Align::Left),
        ("BY", Align::Left),
        ("DETAILS", Align::Left),
    ];
    render(columns, rows)
}

/// `kind=timeout attempt=2`: what is short enough to be read on a line.
fn details(data: &Value) -> String {
    let Some(data) = data.as_object() else {
        return human::value(data);
    };
    let is_shown = |(key, value): &(&String, &Value)| !value.is_null() && !OWN.contains(&key.as_str());
    let shown = data.iter().filter(is_shown).map(|(key, value)| format!("{key}={}", human::value(value)));
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_history_tells_when_how_long_after_by_whom_and_the_details() {
        let events: Vec<Event> = serde_json::from_value(json!([
            { "seq": 1, "type": "job.enqueued", "at": "2026-01-31T12:00:01Z", "actor": "user:alice", "data": {} },
            { "seq": 2, "type": "job.\u{1b}failed", "at": "2026-01-31T12:00:03.5Z", "actor": null,
              "data": { "kind": "timeout", "attempt": 2, "left": null, "idempotency": { "key_sha256": "e3b0" } } },
            { "seq": 3, "type": "job.expired", "at": "later", "actor": null },
        ]))
        .unwrap();
        let text = rows(&events);
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[0], "SEQ TIME (UTC) AFTER EVENT BY DETAILS");
        assert_eq!(lines[1], "1 2026-01-31 12:00:01 job.enqueued user:alice");
        assert_eq!(lines[2], "2 2026-01-31 12:00:03 +2.5 s job.failed attempt=2 kind=timeout");
        assert_eq!(lines[3], "3 later job.expired");
    }
}

//! `leadersboard me`: who one is to the server, and what one may still do.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::client::http::connect::ConnectOptions;
use crate::client::http::error::ClientError;
use crate::client::output::human;
use crate::client::output::print::{Outcome, Output, print_document, print_text};
use crate::client::output::table::{Align, render};

const EXAMPLES: &str = "\
Examples:
  leadersboard me
  leadersboard me --json | jq .jobs_per_hour.remaining";

/// Show your user name, your limits, and what is left of them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MeCommand {
    #[command(flatten)]
    connect: ConnectOptions,
}

/// The answer of `GET /me`.
#[derive(Debug, Deserialize)]
struct Me {
    user_id: String,
    role: String,
    jobs_per_hour: Limit,
    running: Limit,
    concurrency_policy: String,
    queued: Limit,
    uploads_per_hour: Limit,
    uploads_in_flight: Limit,
    stored_bytes: Limit,
}

#[derive(Debug, Deserialize)]
struct Limit {
    #[serde(rename = "limit")]
    of: u64,
    used: u64,
    remaining: u64,
    reset_at: Option<String>,
}

impl MeCommand {
    pub(super) async fn run(self, output: Output) -> Result<Outcome, ClientError> {
        let document = self.connect.client()?.document("/me", &[]).await?;
        match output {
            Output::Json => print_document(&document)?,
            Output::Human => print_text(&report(&document.value)?)?,
        }
        Ok(Outcome::Done)
    }
}

fn report(document: &Value) -> Result<String, ClientError> {
    let me = Me::deserialize(document).map_err(|_| ClientError::unknown_form("your limits"))?;
    let beyond = match me.concurrency_policy.as_str() {
        "reject" => "further jobs are refused until one of yours ends",
        "queue" => "further jobs are held until one of yours ends",
        _ => "",
    };
    let rows = [
        row("jobs an hour", &me.jobs_per_hour, count, ""),
        row("jobs running at once", &me.running, count, beyond),
        row("jobs pending", &me.queued, count, "when one of yours begins or ends"),
        row("uploads an hour", &me.uploads_per_hour, count, ""),
        row("uploads in flight", &me.uploads_in_flight, count, "when one of yours ends"),
        row("stored in submissions", &me.stored_bytes, human::size, "when a submission of yours is removed"),
    ];
    let columns = [
        ("LIMIT", Align::Left),
        ("OF", Align::Right),
        ("USED", Align::Right),
        ("LEFT", Align::Right),
        ("MORE", Align::Left),
    ];
    let who = format!("{} ({})", human::plain(&me.user_id), human::plain(&me.role));
    Ok(format!("{who}\n\n{}", render(columns, rows)))
}

/// One limit; where nothing is left, when there will be: at a time, or at an event.
fn row(name: &str, limit: &Limit, shown: fn(u64) -> String, event: &str) -> [String; 5] {
    let more = match &limit.reset_at {
        Some(at) => format!("{} UTC ({})", human::time(at), human::ago(at)),
        None if limit.remaining == 0 => event.to_owned(),
        None => String::new(),
    };
    [name.to_owned(), shown(limit.of), shown(limit.used), shown(limit.remaining), more]
}

fn count(number: u64) -> String {
    number.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_limit_tells_what_is_left_and_where_nothing_is_when_there_will_be() {
        let limit = |limit: u64, used: u64, reset_at: Option<&str>| json!({ "limit": limit, "used": used, "remaining": limit.saturating_sub(used), "reset_at": reset_at });
        let document = json!({
            "user_id": "ali\u{1b}ce", "role": "user", "concurrency_policy": "queue", "something": "new",
            "jobs_per_hour": limit(10, 10, Some("2020-01-31T12:00:01.5Z")), "running": limit(1, 1, None),
            "queued": limit(20, 3, None), "uploads_per_hour": limit(60, 4, None),
            "uploads_in_flight": limit(4, 4, None),
            "stored_bytes": limit(20 << 30, 3 << 20, None),
        });
        let text = report(&document).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[0], "alice (user)");
        let cells: Vec<Vec<&str>> = lines[2..]
            .iter()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(cells[0], ["LIMIT", "OF", "USED", "LEFT", "MORE"]);
        assert_eq!(cells[1][..4], ["jobs an hour", "10", "10", "0"]);
        assert!(cells[1][4].starts_with("2020-01-31 12:00:01 UTC ("), "{text}");
        let held = "further jobs are held until one of yours ends";
        assert_eq!(cells[2], ["jobs running at once", "1", "1", "0", held]);
        assert_eq!(cells[3], ["jobs pending", "20", "3", "17"]);
        assert_eq!(cells[4], ["uploads an hour", "60", "4", "56"]);
        assert_eq!(cells[5], ["uploads in flight", "4", "4", "0", "when one of yours ends"]);
        assert_eq!(cells[6], ["stored in submissions", "20.0 GiB", "3.0 MiB", "20.0 GiB"]);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let sentence = report(&json!({ "user_id": "alice" })).unwrap_err().sentence().unwrap();
        assert!(sentence.contains("does not know"), "{sentence}");
    }
}

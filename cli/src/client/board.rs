//! `leadersboard board`: who is best in a metric.

use clap::{Args, ValueEnum};
use events::time::to_rfc3339;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::http::connect::ConnectOptions;
use crate::client::http::error::ClientError;
use crate::client::output::human;
use crate::client::output::print::{Outcome, Output, print_document, print_file, print_text};
use crate::client::output::table::{Align, render};
use crate::value;
use crate::value::Since;

const EXAMPLES: &str = "\
Examples:
  leadersboard board
  leadersboard board --metric latency_ms --order asc
  leadersboard board --metric image_auc --param dataset=mvtec_ad --since 2026-01-01
  leadersboard board --metrics
  leadersboard board --csv > board.csv";

/// As many metrics as the server lists.
const MAX_METRICS: usize = 1_000;

/// As many characters of a method as a table shows.
const METHOD_CHARS: usize = 32;

/// Show the leaderboard: the best job of each user
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BoardCommand {
    /// The metric [default: the first of the server's `LEADERBOARD_METRICS`]
    #[arg(long, short, value_name = "NAME")]
    metric: Option<String>,

    /// Which values are better [default: the server's, else desc]
    #[arg(long, value_name = "ORDER")]
    order: Option<OrderOption>,

    /// Only this user's row
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Only jobs that completed since then: 2h, 3d, 2026-11-24, or 2026-11-24T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = value::since)]
    since: Option<Since>,

    /// Only jobs with this param, such as `dataset=mvtec_ad`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_param)]
    param: Vec<(String, String)>,

    /// Maximum number of rows
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = value::positive::<usize>)]
    limit: usize,

    /// Print CSV
    #[arg(long, conflicts_with = "metrics")]
    csv: bool,

    /// List the metrics that can be ranked instead
    #[arg(long, conflicts_with_all = ["metric", "order", "user", "since", "param", "limit"])]
    metrics: bool,

    #[command(flatten)]
    connect: ConnectOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OrderOption {
    Asc,
    Desc,
}

/// The answer of `GET /leaderboard`.
#[derive(Debug, Deserialize)]
struct Board {
    metric: String,
    order: String,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    rank: u64,
    user: String,
    value: Value,
    method: Option<String>,
    job_id: String,
    completed_at: String,
    #[serde(default)]
    metrics: Map<String, Value>,
}

/// The answer of `GET /leaderboard/metrics`.
#[derive(Debug, Deserialize)]
struct Metrics {
    metrics: Vec<Metric>,
    #[serde(default)]
    total: usize,
}

#[derive(Debug, Deserialize)]
struct Metric {
    #[serde(rename = "metric")]
    name: String,
    order: String,
    users: u64,
}

/// An answer in words.
type Report = fn(&Value) -> Result<String, ClientError>;

impl BoardCommand {
    pub(super) async fn run(self, output: Output) -> Result<Outcome, ClientError> {
        let client = self.connect.client()?;
        let query = self.query();
        let mut query: Vec<(&str, String)> = query.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        if self.csv && output == Output::Json {
            return Err(ClientError::usage("--csv and --json can't be given together."));
        }
        if self.csv {
            let csv = client.get_csv("/leaderboard.csv", &query).await.map_err(|error| self.advise(error))?;
            print_file(&csv)?;
            return Ok(Outcome::Done);
        }
        let (path, report): (_, Report) =
            if self.metrics { ("/leaderboard/metrics", metrics) } else { ("/leaderboard", board) };
        if self.metrics {
            query = vec![("limit", MAX_METRICS.to_string())];
        }
        let document = client.document(path, &query).await.map_err(|error| self.advise(error))?;
        match output {
            Output::Json => print_document(&document)?,
            Output::Human => print_text(&report(&document.value)?)?,
        }
        Ok(Outcome::Done)
    }

    /// Says how to name a metric, in the words of the command line, to a user who named none.
    fn advise(&self, error: ClientError) -> ClientError {
        match error {
            // Other refusals have nothing to do with it.
            ClientError::Refused { sentence } if self.metric.is_none() && sentence.contains("metric=NAME") => {
                let names = sentence.split_once("Metrics: ").map(|(_, names)| format!(", such as {names}"));
                let such_as = names.as_deref().unwrap_or(".").trim_end_matches('.').to_owned();
                ClientError::usage(format!(
                    "no metric is given, and the server has no default. Give one with --metric{such_as}. `leadersboard \
                     board --metrics` lists them."
                ))
            }
            error => error,
        }
    }

    fn query(&self) -> Vec<(String, String)> {
        let order = self.order.and_then(|order| Some(order.to_possible_value()?.get_name().to_owned()));
        let given = [
            ("metric", self.metric.clone()),
            ("order", order),
            ("user", self.user.clone()),
            ("since", self.since.map(|since| to_rfc3339(since.at(human::now())))),
            ("limit", Some(self.limit.to_string())),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.chain(self.param.iter().map(|(name, value)| (format!("param.{name}"), value.clone()))).collect()
    }
}

fn parse_param(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a param is given as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn board(document: &Value) -> Result<String, ClientError> {
    let board = Board::deserialize(document).map_err(|_| ClientError::unknown_form("the leaderboard"))?;
    if board.rows.is_empty() {
        return Ok(format!(
            "Nobody has a job with {} that fits. `leadersboard board --metrics` lists the metrics.",
            human::plain(&board.metric)
        ));
    }
    let title = human::plain(&board.metric).to_uppercase();
    let columns = [
        ("RANK", Align::Right),
        ("USER", Align::Left),
        (title.as_str(), Align::Right),
        ("METHOD", Align::Left),
        ("COMPLETED", Align::Left),
        ("JOB", Align::Left),
        ("OTHERS", Align::Left),
    ];
    let rows = board.rows.iter().map(|row| {
        [
            row.rank.to_string(),
            human::plain(&row.user),
            human::value(&row.value),
            human::line(row.method.as_deref().unwrap_or("-"), METHOD_CHARS),
            human::ago(&row.completed_at),
            row.job_id.clone(),
            others(row, &board.metric),
        ]
    });
    let better = if board.order == "asc" { "smaller is better" } else { "greater is better" };
    Ok(format!("{}\n\n{better}", render(columns, rows)))
}

/// The first few other metrics of a job.
fn others(row: &Row, metric: &str) -> String {
    const SHOWN: usize = 3;
    let others = row.metrics.iter().filter(|(name, _)| *name != metric).take(SHOWN);
    let shown: Vec<String> =
        others.map(|(name, value)| format!("{} {}", human::plain(name), human::result(name, value))).collect();
    shown.join(", ")
}

fn metrics(document: &Value) -> Result<String, ClientError> {
    let answer = Metrics::deserialize(document).map_err(|_| ClientError::unknown_form("the leaderboard"))?;
    if answer.metrics.is_empty() {
        return Ok("No job has completed with a metric yet.".to_owned());
    }
    let columns = [("METRIC", Align::Left), ("ORDER", Align::Left), ("USERS", Align::Right)];
    let row = |metric: &Metric| [human::plain(&metric.name), metric.order.clone(), metric.users.to_string()];
    let table = render(columns, answer.metrics.iter().map(row));
    Ok(match answer.total.saturating_sub(answer.metrics.len()) {
        0 => table,
        more => format!("{table}\n\nand {more} more, with fewer users"),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_board_is_a_table_of_who_is_best() {
        let document = json!({ "metric": "auc", "order": "desc", "new": 1, "rows": [
            { "rank": 1, "user": "ali\u{1b}ce", "value": 0.93, "method": "patchcore", "job_id": "j1",
              "completed_at": "2020-01-31T12:00:01Z", "metrics": { "auc": 0.93, "f1": 0.5 } },
            { "rank": 2, "user": "bob", "value": 0.5, "method": null, "job_id": "j2",
              "completed_at": "2020-01-31T12:00:01Z", "metrics": { "auc": 0.5 } },
        ]});
        let text = board(&document).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["RANK", "USER", "AUC", "METHOD", "COMPLETED", "JOB", "OTHERS"]);
        assert_eq!(lines[1][..4], ["1", "alice", "0.93", "patchcore"]);
        assert_eq!(lines[1][lines[1].len() - 3..], ["j1", "f1", "0.5"]);
        assert_eq!(lines[2][..4], ["2", "bob", "0.5", "-"]);
        assert_eq!(lines[4].join(" "), "greater is better");
        let nobody = board(&json!({ "metric": "auc", "order": "asc", "rows": [] })).unwrap();
        assert!(nobody.starts_with("Nobody has a job with auc that fits. `leadersboard board --metrics` "), "{nobody}");
    }

    #[test]
    fn what_can_be_ranked_is_listed() {
        let mut document = json!({ "metrics": [{ "metric": "auc", "order": "desc", "users": 3 }], "total": 1 });
        assert_eq!(metrics(&document).unwrap(), "METRIC  ORDER  USERS\nauc     desc       3");
        document["total"] = json!(3);
        assert!(metrics(&document).unwrap().ends_with("\n\nand 2 more, with fewer users"));
        let sentence = metrics(&json!({})).unwrap_err().sentence().unwrap();
        assert!(sentence.contains("does not know"), "{sentence}");
    }

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        command: BoardCommand,
    }

    fn command(args: &[&str]) -> BoardCommand {
        Cli::try_parse_from(["board"].iter().chain(args)).unwrap().command
    }

    #[tokio::test]
    async fn one_format_at_a_time() {
        let args = ["--csv", "--server", "http://127.0.0.1:1", "--token", "t"];
        let error = command(&args).run(Output::Json).await.unwrap_err();
        assert_eq!(error.sentence().unwrap(), "error: --csv and --json can't be given together.");
    }

    #[test]
    fn only_a_refusal_about_the_metric_comes_with_advice_about_it() {
        let refused = |sentence: &str| ClientError::Refused { sentence: sentence.to_owned() };
        let advised = |args: &[&str], sentence: &str| command(args).advise(refused(sentence)).sentence().unwrap();
        let told = advised(&[], "the query has no metric; add metric=NAME. Metrics: auc, f1 and 3 more.");
        let wanted = "no metric is given, and the server has no default. Give one with --metric, such as auc, f1 and 3 \
                      more. `leadersboard board --metrics` lists them.";
        assert_eq!(told, format!("error: {wanted}"));
        let nothing = "the query has no metric, and no job has completed with a metric that can be ranked.";
        assert_eq!(advised(&[], nothing), format!("error: {nothing}"), "there is none to give");
        assert_eq!(advised(&["--metric", "auc"], "no such metric."), "error: no such metric.");
        assert_eq!(advised(&[], "no such user."), "error: no such user.");
    }

    #[test]
    fn a_filter_is_a_name_and_a_value() {
        assert_eq!(parse_param("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(parse_param("a").unwrap_err(), "a param is given as name=value");
        let query = command(&["--order", "asc", "--param", "lr=0.1", "-n", "3"]).query();
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(query, ["order=asc", "limit=3", "param.lr=0.1"]);
    }
}

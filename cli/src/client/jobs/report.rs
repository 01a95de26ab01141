//! One job in words: all of it, or how it ended.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::client::http::model::{Job, Progress, Status};
use crate::client::output::filter::{Colours, Filter};
use crate::client::output::human;
use crate::client::output::settled::Settled;
use crate::client::output::standing::{stage_of, waiting_for};
use crate::client::output::table::{Align, render};

/// Everything worth knowing about a job.
pub(crate) fn whole(job: &Job) -> String {
    let text = |value: &Option<String>| human::plain(value.as_deref().unwrap_or_default());
    let json = |json: &Option<Value>| json.as_ref().map(human::value).unwrap_or_default();
    let moment = |at: &Option<String>| {
        at.as_deref().map(|at| format!("{} UTC ({})", human::time(at), human::ago(at))).unwrap_or_default()
    };
    let attempt = match job.attempt() {
        0 => String::new(),
        attempt => attempt.to_string(),
    };
    let fields = [
        ("job", human::plain(&job.job_id)),
        ("submission", human::plain(&job.submission_id)),
        ("user", human::plain(&job.user_id)),
        ("status", job.status.name().to_owned()),
        ("waits", waiting_for(job).join(", ")),
        ("stage", job.stage.as_ref().map(stage_of).unwrap_or_default()),
        ("progress", job.progress.as_ref().map(progress).unwrap_or_default()),
        ("error", human::line(job.why().unwrap_or_default(), 1_000)),
        ("failure", job.failure.as_ref().map(|failure| human::plain(&failure.kind)).unwrap_or_default()),
        ("exit code", exit_code(job).map(|code| code.to_string()).unwrap_or_default()),
        ("class", text(&job.resource_class)),
        ("attempt", attempt),
        ("worker", text(&job.worker)),
        ("gpus", json(&job.gpus)),
        ("sandbox", json(&job.sandbox)),
        ("created", moment(&Some(job.created_at.clone()))),
        ("started", moment(&job.started_at)),
        ("finished", moment(&job.finished_at)),
        ("ran for", run_time(job).map(human::duration).unwrap_or_default()),
        ("mlflow run", mlflow_run(job)),
        ("not ranked", not_ranked(job)),
    ];
    let shown = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let rows = shown.map(|(name, value)| [format!("{name}:"), value]);
    let mut parts = vec![render([("", Align::Left), ("", Align::Left)], rows)];
    parts.extend(numbers("PARAM", job.params.as_ref()));
    parts.extend(numbers("METRIC", job.metrics.as_ref()));
    parts.extend(numbers("PERFORMANCE", job.performance.as_ref()));
    parts.extend(log_tail(job));
    parts.join("\n\n")
}

/// The run in MLflow, and whether it is complete there.
fn mlflow_run(job: &Job) -> String {
    let run = job.run_id.as_deref().map(human::plain).unwrap_or_default();
    let why = job.tracking_error.as_deref().map(|why| format!(": {}", human::line(why, 500))).unwrap_or_default();
    match (run.is_empty(), job.tracking.as_deref()) {
        (true, Some("waiting")) => format!("not recorded yet{why}"),
        (false, Some("waiting")) => format!("{run}; not all of the job is recorded yet{why}"),
        _ => run,
    }
}

/// How many metrics are on no board, and why.
fn not_ranked(job: &Job) -> String {
    let count = job.unranked_metrics.unwrap_or_default();
    let all = job.metrics.as_ref().map_or(0, Map::len);
    if count == 0 {
        return String::new();
    }
    format!("{count} of {all} metrics: only those with the {} shortest names are", all.saturating_sub(count))
}

/// How a watched job ended: its metrics, or why there are none. The log's end is repeated only for
/// those who have not seen it.
pub(crate) fn ending(job: &Job, log_was_shown: bool) -> String {
    let ran_for = run_time(job).map(|time| format!(" after {}", human::duration(time))).unwrap_or_default();
    let mut parts = Vec::new();
    match job.status {
        Status::Completed => {
            parts.extend(numbers("METRIC", job.metrics.as_ref()));
            parts.extend(numbers("PERFORMANCE", job.performance.as_ref()));
            let run = job.run_id.as_deref().map(|id| format!(", MLflow run {}", human::plain(id))).unwrap_or_default();
            parts.push(format!("completed{ran_for}{run}"));
        }
        Status::Pending | Status::Running | Status::Failed | Status::Cancelled | Status::Unknown => {
            if !log_was_shown {
                parts.extend(log_tail(job));
            }
            let why = job.why().map(|why| format!(": {}", human::plain(why))).unwrap_or_default();
            parts.push(format!("{}{ran_for}{why}", job.status.name()));
        }
    }
    parts.join("\n\n")
}

fn numbers(title: &str, values: Option<&Map<String, Value>>) -> Option<String> {
    let values = values.filter(|values| !values.is_empty())?;
    let shown = |name: &str, value: &Value| match title {
        // What the job was given, exactly.
        "PARAM" => human::value(value),
        _ => human::result(name, value),
    };
    let rows = values.iter().map(|(name, value)| [human::plain(name), human::line(&shown(name, value), 200)]);
    Some(render([(title, Align::Left), ("VALUE", Align::Left)], rows))
}

fn log_tail(job: &Job) -> Option<String> {
    let tail = job.failure.as_ref()?.log_tail.as_deref()?.trim_end();
    let mut lines = Settled::default();
    let settled = lines.take(&Filter::default().take(tail, Colours::Dropped)) + &lines.finish();
    (!tail.is_empty()).then(|| format!("the log's end:\n{}", human::plain(&settled)))
}

/// `42 %, epoch 3 of 7 (3 s ago)`
fn progress(progress: &Progress) -> String {
    let message = human::line(progress.message.as_deref().unwrap_or_default(), 200);
    let message = if message.is_empty() { message } else { format!(", {message}") };
    let at = progress.at.as_deref().map(|at| format!(" ({})", human::ago(at))).unwrap_or_default();
    format!("{:.0} %{message}{at}", progress.fraction * 100.0)
}

fn exit_code(job: &Job) -> Option<i64> {
    job.failure.as_ref()?.exit_code
}

fn run_time(job: &Job) -> Option<Duration> {
    let told = job.run_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    told.or_else(|| human::between(job.started_at.as_deref()?, job.finished_at.as_deref()?))
}

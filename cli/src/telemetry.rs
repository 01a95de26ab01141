//! What is seen from outside: log lines, trace contexts, metrics.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::options::log::{LogFormat, LogOptions};

/// How often the exporter forgets old samples.
const UPKEEP: Duration = Duration::from_secs(5);

/// Begins to log to stderr and to carry trace contexts.
///
/// # Errors
/// If the filter can't be parsed.
pub(crate) fn install_log(options: &LogOptions) -> Result<()> {
    // It tells of every call that it repeats, at the level of what operators should know.
    let filter = EnvFilter::try_new(format!("object_store=warn,{}", options.log))
        .with_context(|| format!("{:?} is not a log filter, such as info,leadersboard_worker=debug", options.log))?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    // No exporter yet: spans have their identities, so that traces join up across processes.
    let tracer = SdkTracerProvider::builder().build().tracer("leadersboard");
    // A line that can't be written, as to a terminal that was closed, is lost: to say so there would be a panic.
    let lines = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let lines = match options.log_format {
        LogFormat::Human => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .with(lines)
        .try_init()
        .context("logging was set up twice")?;
    log_panics();
    Ok(())
}

/// Logs each panic once, as one line, within the spans it happens in: these name the request or the job.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !tracing::enabled!(tracing::Level::ERROR) {
            return before(panic);
        }
        let why = panic.payload_as_str().unwrap_or("its payload is no text");
        let place = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(why, place, backtrace, "a panic");
    }));
}

/// Begins to collect metrics and returns the function that renders them.
///
/// # Errors
/// If that was done before.
pub(crate) fn install_metrics() -> Result<api::RenderMetrics> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("leadersboard_job_run_seconds".to_owned()), &RUN_SECONDS)?
        .set_buckets_for_metric(
            Matcher::Suffix("_batch_size".to_owned()),
            &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0],
        )?
        .install_recorder()
        .context("metrics were set up twice")?;
    describe();
    tokio::spawn(upkeep(handle.clone()));
    Ok(Arc::new(move || handle.render()))
}

const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
const RUN_SECONDS: [f64; 10] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0];

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

    describe_counter!("leadersboard_http_requests_total", "Requests by route template and status");
    describe_histogram!("leadersboard_http_request_seconds", Unit::Seconds, "Time to answer a request");
    describe_gauge!("leadersboard_streams_open", "Streams that clients follow");
    describe_counter!("leadersboard_commits_total", "Commits by lane and result");
    describe_histogram!("leadersboard_commit_seconds", Unit::Seconds, "Time from asking for a commit to its answer");
    describe_histogram!("leadersboard_commit_batch_size", "Commits that went to Redis in one call");
    describe_gauge!("leadersboard_queue_depth", "Tickets of a class, waiting or claimed");
    describe_counter!("leadersboard_jobs_total", "Runs by outcome and kind");
    describe_histogram!("leadersboard_job_run_seconds", Unit::Seconds, "Time a job's process ran");
    describe_gauge!("leadersboard_worker_busy_slots", "Jobs in this worker's hands");
    describe_gauge!("leadersboard_worker_fit", "1 if this worker can set up jobs, 0 if it takes none until it can");
    describe_gauge!("leadersboard_worker_sandbox_info", "What confines the jobs of this worker");
    describe_counter!("leadersboard_tickets_quarantined_total", "Tickets that could not be read");
    describe_counter!(
        "leadersboard_quarantined_total",
        "Other entries that could not be read, by the key they were in"
    );
    describe_gauge!("leadersboard_unreadable_jobs", "Jobs that have not ended and can't be read");
}

async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_line_that_names_its_request() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let lines = fmt::layer().json().with_writer(Arc::new(log.reopen().unwrap()));
        log_panics();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let _request = tracing::info_span!("request", request_id = "r-1").entered();
            assert!(std::panic::catch_unwind(|| assert_eq!(1 + 1, 3, "in two\nlines")).is_err());
        });
        let log = std::fs::read_to_string(log.path()).unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
        for told in ["r-1", "in two\\nlines", "telemetry.rs"] {
            assert!(log.contains(told), "{told}: {log}");
        }
    }
}

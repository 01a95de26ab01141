//! What a person sees while waiting: a status line that changes, the job's log, and notices between them.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::error::ClientError;
use super::human;
use super::model::{Job, Status};
use super::{Output, print_text};

const TICK: Duration = Duration::from_millis(120);

/// A spinner for work of unknown length on stderr; nothing where that is no terminal.
pub(crate) fn spinner(text: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(text.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// A bar over the bytes of a transfer on stderr, with what is done before it; nothing where that is no terminal.
pub(crate) fn byte_bar(doing: &str, bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes).with_message(doing.to_owned());
    if let Ok(style) = ProgressStyle::with_template(
        "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
    ) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Writes one line for people to stderr, whatever stdout is for.
pub(crate) fn note(text: &str) {
    // Progress that nobody can see is no reason to stop.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Where a watched job is shown. The log goes to stdout for people and to stderr for programs, for whom
/// stdout holds one document at the end.
#[derive(Debug)]
pub(crate) struct Screen {
    output: Output,
    spinner: Option<ProgressBar>,
    /// The log's last line has no end yet, so nothing else may begin on it.
    mid_line: bool,
    /// Attempt whose log is on the screen: from then on the log itself is the sign of life.
    showing_log_of: Option<u32>,
    last_told: Option<(Status, u32)>,
}

impl Screen {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, spinner: None, mid_line: false, showing_log_of: None, last_told: None }
    }

    /// Shows where the job stands: as a spinner on a terminal, as a line for each change elsewhere.
    pub(crate) fn status(&mut self, job: &Job) {
        if job.status.is_over() || self.showing_log_of == Some(job.attempt()) && job.status == Status::Running {
            self.clear();
            return;
        }
        let text = describe(job);
        if io::stderr().is_terminal() {
            self.end_line();
            match &self.spinner {
                Some(spinner) => spinner.set_message(text),
                None => self.spinner = Some(spinner(&text)),
            }
        } else if self.last_told != Some((job.status, job.attempt())) {
            self.last_told = Some((job.status, job.attempt()));
            self.notice(&text);
        }
    }

    pub(crate) fn log(&mut self, attempt: u32, text: &str) -> Result<(), ClientError> {
        if text.is_empty() {
            return Ok(());
        }
        self.clear();
        self.showing_log_of = Some(attempt);
        self.mid_line = !text.ends_with('\n');
        match self.output {
            Output::Human => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text.as_bytes())?;
                stdout.flush()?;
            }
            Output::Json => io::stderr().lock().write_all(text.as_bytes())?,
        }
        Ok(())
    }

    /// A line of our own between lines of the log.
    pub(crate) fn notice(&mut self, text: &str) {
        self.end_line();
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| note(text)),
            None => note(text),
        }
    }

    /// Leaves the screen as a following command expects it.
    pub(crate) fn finish(&mut self) {
        self.clear();
        self.end_line();
    }

    pub(crate) fn has_shown_log(&self) -> bool {
        self.showing_log_of.is_some()
    }

    /// Writes a job's result to stdout, apart from the log that may stand there.
    pub(crate) fn result(&mut self, text: &str) -> Result<(), ClientError> {
        self.finish();
        if std::mem::take(&mut self.mid_line) {
            print_text("")?;
        }
        if self.has_shown_log() {
            print_text("")?;
        }
        print_text(text)
    }

    fn clear(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }

    /// On a terminal both streams are one screen; in a file the log keeps its own bytes.
    fn end_line(&mut self) {
        let shared = self.output == Output::Json || io::stdout().is_terminal();
        if shared && std::mem::take(&mut self.mid_line) {
            note("");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.finish();
    }
}

/// `pending: 2 jobs of class small are ahead of you, position 3, starts in about 5 min`, `running on gpu-1 (attempt 2)`.
pub(crate) fn describe(job: &Job) -> String {
    let mut text = job.status.name().to_owned();
    match job.status {
        Status::Pending => {
            let parts = waiting_for(job);
            if !parts.is_empty() {
                text = format!("{text}: {}", parts.join(", "));
            }
        }
        Status::Running => {
            if let Some(worker) = &job.worker {
                text = format!("{text} on {}", human::line(worker, 60));
            }
        }
        Status::Completed | Status::Failed | Status::Cancelled | Status::Unknown => {}
    }
    if job.attempt() > 1 { format!("{text} (attempt {})", job.attempt()) } else { text }
}

/// What a pending job waits for, in parts of a sentence: the server's reason, its place, and about how long.
pub(crate) fn waiting_for(job: &Job) -> Vec<String> {
    let Some(queue) = &job.queue else {
        return Vec::new();
    };
    let reason = queue.reason.as_deref().filter(|reason| !reason.is_empty()).map(|reason| human::line(reason, 120));
    let told = reason.is_some();
    let mut parts: Vec<String> = reason.into_iter().collect();
    match (queue.position, queue.ahead) {
        (Some(position), _) if told => parts.push(format!("position {position}")),
        (_, Some(0)) => parts.push("next".to_owned()),
        (_, Some(ahead)) => parts.push(format!("{ahead} ahead")),
        (_, None) => {}
    }
    if let Some(seconds) = queue.eta_seconds.filter(|&seconds| seconds >= 1.0) {
        // Whole seconds: an estimate has no tenths.
        let eta = Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX);
        parts.push(format!("starts in about {}", human::duration(eta)));
    }
    if queue.workers_alive == Some(0) && !told {
        parts.push("no worker is alive".to_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(extra: &serde_json::Value) -> String {
        let mut job = serde_json::json!({
            "job_id": "j", "submission_id": "s", "user_id": "u", "created_at": "2026-01-01T00:00:00Z",
        });
        job.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        describe(&serde_json::from_value(job).unwrap())
    }

    #[test]
    fn the_status_line() {
        let cases = [
            (serde_json::json!({"status": "pending"}), "pending"),
            (
                serde_json::json!({"status": "pending", "queue": {"ahead": 2, "eta_seconds": 90.4}}),
                "pending: 2 ahead, starts in about 1 min 30 s",
            ),
            (
                serde_json::json!({"status": "pending", "queue": {
                    "position": 3, "ahead": 2, "workers_alive": 1, "eta_seconds": 90,
                    "reason": "2 jobs of class small are ahead of you",
                }}),
                "pending: 2 jobs of class small are ahead of you, position 3, starts in about 1 min 30 s",
            ),
            (
                serde_json::json!({"status": "pending", "queue": {
                    "position": 1, "ahead": 0, "workers_alive": 0, "eta_seconds": null,
                    "reason": "no worker for class small is alive",
                }}),
                "pending: no worker for class small is alive, position 1",
            ),
            (
                serde_json::json!({"status": "pending", "attempt": 2, "queue": {"ahead": 0, "workers_alive": 0}}),
                "pending: next, no worker is alive (attempt 2)",
            ),
            (serde_json::json!({"status": "running", "worker": "gpu-1", "attempt": 1}), "running on gpu-1"),
        ];
        for (job, expected) in cases {
            assert_eq!(described(&job), expected);
        }
    }
}

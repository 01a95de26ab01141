//! What a person sees while waiting: a status line that changes, the job's log, and notices between them.

use std::io::{self, IsTerminal, Write};
use std::ops::Deref;
use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use super::filter::{Colours, Filter};
use super::human;
use super::settled::{Rewritten, Settled};
use super::standing::{beginning, describe};
use crate::client::http::error::ClientError;
use crate::client::http::model::{Job, Stage, Status};
use crate::client::output::print::{Output, print_text};

const TICK: Duration = Duration::from_millis(120);

/// Progress on stderr, or nothing if that is no terminal. It leaves no trace, however its work ends.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Deref for Progress {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.0
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A spinner for work of unknown length.
pub(crate) fn spinner(text: &str) -> Progress {
    if !io::stderr().is_terminal() {
        return Progress(ProgressBar::hidden());
    }
    let bar = ProgressBar::new_spinner().with_message(text.to_owned());
    bar.enable_steady_tick(TICK);
    Progress(bar)
}

/// A bar over the bytes of a transfer, with what is done before it.
pub(crate) fn byte_bar(doing: &str, bytes: u64) -> Progress {
    if !io::stderr().is_terminal() {
        return Progress(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(bytes).with_message(doing.to_owned());
    if let Ok(style) = ProgressStyle::with_template(
        "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
    ) {
        bar.set_style(style.progress_chars("=> "));
    }
    Progress(bar)
}

/// Writes one line for people to stderr, whatever stdout is for.
pub(crate) fn note(text: &str) {
    // Progress that nobody can see is no reason to stop.
    let _ = writeln!(io::stderr(), "{}", human::plain(text));
}

/// What of a log is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogView {
    /// What a terminal may be let have of it.
    Safe,
    /// All of it as it is.
    Raw,
}

/// Where a watched job is shown. The log goes to stdout for people and to stderr for programs, for whom
/// stdout holds one document at the end.
#[derive(Debug)]
pub(crate) struct Screen {
    output: Output,
    view: LogView,
    spinner: Option<Progress>,
    filter: Filter,
    /// The log's last line has no end yet, so nothing else may begin on it.
    mid_line: bool,
    /// What is held back where lines can't be written over.
    settled: Settled,
    rewritten: Rewritten,
    /// Attempt whose log is on the screen: from then on the log itself is the sign of life.
    showing_log_of: Option<u32>,
    last_told: Option<(Status, u32, Phase)>,
    /// The newest attempt whose beginning is on the screen, in a line that stays.
    begun: u32,
}

/// What a line for a running job says beside its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Program,
    Waiting,
    AfterProgram,
}

impl Phase {
    fn of(job: &Job) -> Self {
        match &job.stage {
            Some(stage) if stage.is_after_program() => Self::AfterProgram,
            Some(Stage { reason: Some(reason), .. }) if !reason.is_empty() => Self::Waiting,
            _ => Self::Program,
        }
    }
}

impl Screen {
    pub(crate) fn new(output: Output, view: LogView) -> Self {
        Self {
            output,
            view,
            spinner: None,
            filter: Filter::default(),
            mid_line: false,
            settled: Settled::default(),
            rewritten: Rewritten::default(),
            showing_log_of: None,
            last_told: None,
            begun: 0,
        }
    }

    /// Shows where the job stands: as a spinner on a terminal, as a line for each change elsewhere.
    pub(crate) fn status(&mut self, job: &Job) {
        let has_its_say = self.showing_log_of == Some(job.attempt()) && job.status == Status::Running;
        let phase = Phase::of(job);
        if job.status == Status::Running {
            self.begun(job);
        }
        if job.status.is_over() || has_its_say && phase != Phase::AfterProgram {
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
        } else if self.last_told.replace((job.status, job.attempt(), phase)) != Some((job.status, job.attempt(), phase))
            && !(job.status == Status::Running && phase == Phase::Program && self.has_begun(job.attempt()))
        {
            self.notice(&text);
        }
    }

    /// Tells once that an attempt runs, and where. The line stays, on a terminal too.
    pub(crate) fn begun(&mut self, job: &Job) {
        if let Some(line) = beginning(job).filter(|_| !self.has_begun(job.attempt())) {
            self.begun = job.attempt();
            self.notice(&line);
        }
    }

    /// Whether the beginning of this attempt is on the screen.
    pub(crate) fn has_begun(&self, attempt: u32) -> bool {
        self.begun >= attempt
    }

    pub(crate) fn log(&mut self, attempt: u32, text: &str) -> Result<(), ClientError> {
        if text.is_empty() {
            return Ok(());
        }
        self.clear();
        if self.showing_log_of.replace(attempt).is_some_and(|shown| shown != attempt) {
            self.settle()?;
        }
        if self.view == LogView::Raw {
            return self.write(text);
        }
        let text = if let Some(columns) = self.columns() {
            let text = self.filter.take(text, Colours::Shown);
            self.rewritten.take(&text, columns)
        } else {
            let text = self.filter.take(text, Colours::Dropped);
            self.settled.take(&text)
        };
        self.write(&text)
    }

    /// The width of the terminal to which the log goes, if lines can be written over there.
    fn columns(&self) -> Option<usize> {
        let (is_terminal, terminal) = match self.output {
            Output::Human => (io::stdout().is_terminal(), Term::stdout()),
            Output::Json => (io::stderr().is_terminal(), Term::stderr()),
        };
        is_terminal.then(|| usize::from(terminal.size().1))
    }

    /// Writes what was held back of the log.
    fn settle(&mut self) -> Result<(), ClientError> {
        let rest = self.settled.finish();
        self.write(&rest)
    }

    fn write(&mut self, text: &str) -> Result<(), ClientError> {
        if text.is_empty() {
            return Ok(());
        }
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
        // Who can't be told the rest of a line was told all before it.
        let _ = self.settle();
        let _ = self.end_colours();
        self.end_line();
    }

    /// Nothing of our own is written in the colours of a log.
    fn end_colours(&mut self) -> Result<(), ClientError> {
        let mid_line = self.mid_line;
        let reset = self.filter.reset();
        self.write(reset)?;
        self.mid_line = mid_line;
        Ok(())
    }

    pub(crate) fn is_raw(&self) -> bool {
        self.view == LogView::Raw
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
        self.spinner = None;
    }

    /// On a terminal both streams are one screen; in a file the log keeps its own bytes.
    fn end_line(&mut self) {
        let _ = self.end_colours();
        let shared = self.output == Output::Json || io::stdout().is_terminal();
        self.rewritten.end_line();
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

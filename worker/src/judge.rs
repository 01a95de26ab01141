//! From the end of a program to the outcome of its run, in sentences that its author can act on.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use bytesize::ByteSize;
use events::failure::{Failure, FailureKind};
use events::{ClassName, LossCause, Results};
use nix::sys::signal::Signal;

use crate::interrupt::Reason;
use crate::job_log::JobLog;
use crate::limits::{Breach, MAX_FILES};
use crate::metrics_file::{self, Found};
use crate::oom;
use crate::process::Ended;

/// What is to be recorded of a run.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It left results.
    Completed(Results),
    /// It failed through a fault of its own.
    Failed(Failure),
    /// It was stopped because somebody asked for the job's end.
    Cancelled,
    /// It is not the platform's to finish now: the policy says what follows.
    GivenBack(LossCause, String),
    /// It is no longer the job's run: nothing is recorded.
    Lost,
}

/// What a judgement looks at beside the end itself.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) entrypoint: &'a str,
    pub(crate) class: &'a ClassName,
    pub(crate) limit: Duration,
    pub(crate) output: &'a Path,
    pub(crate) log: &'a JobLog,
    /// Whether the worker's disk had too little free while it ran.
    pub(crate) disk_was_short: bool,
}

/// Judges the end of a program.
pub(crate) fn judge(ended: &Ended, case: &Case<'_>) -> Outcome {
    match ended {
        Ended::Interrupted(reason) => stopped(*reason),
        Ended::TimedOut => {
            let (limit, class) = (in_words(case.limit), case.class);
            failed(
                case,
                FailureKind::Timeout,
                None,
                format!("it ran longer than the {limit} that class {class} allows"),
            )
        }
        Ended::Exceeded(breach) => exceeded(breach, case),
        Ended::Exited(status) => exited(*status, case),
    }
}

fn exceeded(breach: &Breach, case: &Case<'_>) -> Outcome {
    let class = case.class;
    let (kind, error) = match breach {
        Breach::Memory(limit) => (
            FailureKind::OomHost,
            format!("it used more memory than the {} that class {class} allows", ByteSize(*limit)),
        ),
        Breach::Disk(limit) => (
            FailureKind::OutputLimit,
            format!("it had more on disk than the {} that class {class} allows", ByteSize(*limit)),
        ),
        Breach::Files => (FailureKind::OutputLimit, format!("it had more than {MAX_FILES} files and folders")),
        Breach::Platform(why) => return Outcome::GivenBack(LossCause::Infrastructure, why.clone()),
        Breach::Closed => (
            FailureKind::OutputLimit,
            "it had folders that the platform can't look into: closed by chmod, or too deep".to_owned(),
        ),
    };
    failed(case, kind, None, error)
}

/// The outcome of a run that was stopped.
pub(crate) fn stopped(reason: Reason) -> Outcome {
    match reason {
        Reason::Cancel => Outcome::Cancelled,
        Reason::Lost => Outcome::Lost,
        Reason::Drain => Outcome::GivenBack(LossCause::Drain, "the worker was asked to stop".to_owned()),
    }
}

fn exited(status: ExitStatus, case: &Case<'_>) -> Outcome {
    let program = case.entrypoint;
    let last_words = || case.log.last_error_line().map_or_else(String::new, |line| format!(": {line}"));
    match (status.code(), status.signal()) {
        (Some(0), _) => read_metrics(case).unwrap_or_else(|error| {
            Outcome::GivenBack(LossCause::Infrastructure, format!("the output could not be read: {error}"))
        }),
        (Some(_), _) if case.disk_was_short && oom::no_space_in(&case.log.tail()) => {
            let error = format!("the worker's disk was full while {program} ran{}", last_words());
            Outcome::GivenBack(LossCause::Infrastructure, error)
        }
        (Some(code), _) => {
            let error = format!("{program} exited with code {code}{}", last_words());
            failed(case, kind_of_exit(&case.log.tail()), Some(code), error)
        }
        (None, number) => {
            let signal = number.and_then(|number| Signal::try_from(number).ok());
            if signal == Some(Signal::SIGXFSZ) {
                let error = format!("{program} wrote a file larger than class {} allows{}", case.class, last_words());
                return failed(case, FailureKind::OutputLimit, None, error);
            }
            let name = signal.map_or_else(|| "a signal".to_owned(), |signal| signal.as_str().to_owned());
            failed(case, FailureKind::Signal, None, format!("{program} was ended by {name}{}", last_words()))
        }
    }
}

/// What a program that exited with a code above 0 ended of, by its last words.
fn kind_of_exit(tail: &str) -> FailureKind {
    if oom::gpu_oom_in(tail) {
        FailureKind::OomGpu
    } else if oom::host_oom_in(tail) {
        FailureKind::OomHost
    } else if oom::file_limit_in(tail) {
        FailureKind::OutputLimit
    } else {
        FailureKind::NonzeroExit
    }
}

fn read_metrics(case: &Case<'_>) -> io::Result<Outcome> {
    Ok(match metrics_file::read(case.output)? {
        Found::Results(results) => Outcome::Completed(results),
        Found::Nothing => {
            let error =
                format!("{} exited with code 0 and left no metrics.json in its --output directory", case.entrypoint);
            failed(case, FailureKind::MissingMetrics, Some(0), error)
        }
        Found::Invalid(sentence) => failed(case, FailureKind::InvalidMetrics, Some(0), sentence),
    })
}

fn failed(case: &Case<'_>, kind: FailureKind, exit_code: Option<i32>, error: String) -> Outcome {
    Outcome::Failed(Failure { kind, error, exit_code, log_tail: case.log.tail() })
}

/// The failure of a run whose program could not be prepared.
pub(crate) fn setup_failure(error: String) -> Outcome {
    Outcome::Failed(Failure { kind: FailureKind::Setup, error, exit_code: None, log_tail: String::new() })
}

/// A time limit as people say it: whole minutes, else seconds.
fn in_words(limit: Duration) -> String {
    let seconds = limit.as_secs();
    if seconds >= 60 && seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ended: &Ended) -> (FailureKind, String) {
        let output = tempfile::tempdir().unwrap();
        let log = JobLog::new(None, 0);
        let case = Case {
            entrypoint: "main.py",
            class: &"small".parse().unwrap(),
            limit: Duration::from_mins(30),
            output: output.path(),
            log: &log,
            disk_was_short: false,
        };
        match judge(ended, &case) {
            Outcome::Failed(failure) => (failure.kind, failure.error),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_bad_end_has_its_kind_and_its_sentence() {
        let exit = |code: i32| Ended::Exited(ExitStatus::from_raw(code << 8));
        let (kind, error) = verdict(&Ended::TimedOut);
        assert_eq!(
            (kind, error.as_str()),
            (FailureKind::Timeout, "it ran longer than the 30 min that class small allows")
        );
        assert_eq!(verdict(&exit(3)), (FailureKind::NonzeroExit, "main.py exited with code 3".to_owned()));
        let (kind, error) = verdict(&Ended::Exited(ExitStatus::from_raw(11)));
        assert_eq!((kind, error.as_str()), (FailureKind::Signal, "main.py was ended by SIGSEGV"));
        assert_eq!(verdict(&exit(0)).0, FailureKind::MissingMetrics);
    }

    #[test]
    fn what_the_platform_lacks_is_not_the_authors_fault() {
        let ended = Ended::Exceeded(Breach::Platform("its worker lacks descriptors".to_owned()));
        let output = tempfile::tempdir().unwrap();
        let log = JobLog::new(None, 0);
        let class = "small".parse().unwrap();
        let limit = Duration::from_mins(1);
        let output = output.path();
        let case = Case { entrypoint: "main.py", class: &class, limit, output, log: &log, disk_was_short: true };
        let Outcome::GivenBack(cause, error) = judge(&ended, &case) else { panic!("a failure of the author's") };
        assert_eq!((cause, error.as_str()), (LossCause::Infrastructure, "its worker lacks descriptors"));
    }
}

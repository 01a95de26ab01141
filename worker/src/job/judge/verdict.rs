//! The outcome of a run by the end of its program, in sentences that its author can act on.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use bytesize::ByteSize;
use events::failure::{Failure, FailureKind};
use events::{ClassName, LossCause};
use nix::sys::signal::Signal;

use super::metrics_file::{self, Found};
use super::oom;
use crate::confinement::Network;
use crate::confinement::limits::{Breach, LargestFile, MAX_FILES};
use crate::confinement::supervise::process::Ended;
use crate::job::outcome::Outcome;
use crate::log::job_log::JobLog;

/// What a judgement looks at beside the end itself.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) entrypoint: &'a str,
    pub(super) class: &'a ClassName,
    pub(super) limit: Duration,
    pub(super) output: &'a Path,
    pub(super) log: &'a JobLog,
    /// What its class allows it to write to disk, in bytes: a file alone is bounded by this too.
    pub(super) output_bytes: u64,
    /// The largest file that it left, if the worker searched for it.
    pub(super) largest: Option<&'a LargestFile>,
    /// What network it had.
    pub(super) network: Network,
    /// Whether the worker's disk had too little free while it ran.
    pub(super) disk_was_short: bool,
}

impl Case<'_> {
    /// The file that grew until it reached the limit, if one is there. A larger one came with the submission.
    fn full_file(&self) -> Option<&LargestFile> {
        self.largest.filter(|file| file.bytes == self.output_bytes)
    }

    /// Whether a program without results ended because the worker's disk had no room: it said so, or touched a page of
    /// a mapped file that had no place on the disk.
    fn was_in_want_of_room(&self, status: ExitStatus) -> bool {
        let touched =
            status.signal() == Some(Signal::SIGBUS as i32) || status.code() == Some(128 + Signal::SIGBUS as i32);
        let has_results = || status.success() && matches!(metrics_file::read(self.output), Ok(Found::Results(_)));
        self.disk_was_short && (touched || oom::no_space_in(&self.log.tail())) && !has_results()
    }
}

/// Judges the end of a program.
pub(super) fn judge(ended: &Ended, case: &Case<'_>) -> Outcome {
    match ended {
        Ended::Interrupted(reason) => Outcome::stopped(*reason),
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
        Breach::Disk(limit, nameless) => (FailureKind::OutputLimit, too_much_on_disk(case, *limit, *nameless)),
        Breach::Files => (FailureKind::OutputLimit, format!("it had more than {MAX_FILES} files and folders")),
        Breach::Platform(why) => return Outcome::GivenBack(LossCause::Infrastructure, why.clone()),
        Breach::Closed(Some(folder)) => (
            FailureKind::OutputLimit,
            format!(
                "the platform can't look into its folder {} in shared memory: closed by chmod, or too deep",
                folder.display().to_string().escape_debug()
            ),
        ),
        Breach::Closed(None) => (
            FailureKind::OutputLimit,
            "it had folders that the platform can't look into: closed by chmod, or too deep".to_owned(),
        ),
    };
    failed(case, kind, None, error)
}

fn exited(status: ExitStatus, case: &Case<'_>) -> Outcome {
    let program = case.entrypoint;
    // No job can remove the folder that its own two lie in.
    if !case.output.parent().is_some_and(Path::is_dir) {
        let error = format!("the work directory of the run was removed while {program} ran");
        return Outcome::GivenBack(LossCause::Infrastructure, error);
    }
    if case.was_in_want_of_room(status) {
        let error = with_last_words(format!("the worker's disk was full while {program} ran"), case);
        return Outcome::GivenBack(LossCause::Infrastructure, error);
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => read_metrics(case).unwrap_or_else(|error| {
            Outcome::GivenBack(LossCause::Infrastructure, format!("the output could not be read: {error}"))
        }),
        (Some(code), _) => {
            let end = with_last_words(format!("{program} exited with code {code}"), case);
            let tail = case.log.tail();
            if oom::gpu_oom_in(&tail) {
                failed(case, FailureKind::OomGpu, Some(code), end)
            } else if oom::host_oom_in(&tail) {
                failed(case, FailureKind::OomHost, Some(code), end)
            } else if case.full_file().is_some() || oom::file_limit_in(&tail) {
                too_large(case, Some(code), &end)
            } else {
                failed(case, FailureKind::NonzeroExit, Some(code), end)
            }
        }
        (None, number) => {
            let signal = number.and_then(|number| Signal::try_from(number).ok());
            let name = signal.map_or_else(|| "a signal".to_owned(), |signal| signal.as_str().to_owned());
            let end = with_last_words(format!("{program} was ended by {name}"), case);
            if signal == Some(Signal::SIGXFSZ) || case.full_file().is_some() {
                return too_large(case, None, &end);
            }
            failed(case, FailureKind::Signal, None, end)
        }
    }
}

fn with_last_words(end: String, case: &Case<'_>) -> String {
    match case.log.last_error_line() {
        Some(line) => format!("{end}: {line}"),
        None => end,
    }
}

/// The failure of a program that could not write a file any further.
fn too_large(case: &Case<'_>, exit_code: Option<i32>, end: &str) -> Outcome {
    let (limit, class) = (ByteSize(case.output_bytes), case.class);
    let what = match case.full_file() {
        Some(file) => format!("its file {file} reached the {limit} that class {class} allows"),
        // The system says the same of a lower limit that the program has set itself.
        None => format!(
            "one of its files could not grow any further: class {class} allows {limit}, unless the program set a lower \
             limit itself"
        ),
    };
    failed(case, FailureKind::OutputLimit, exit_code, format!("{what}; {end}"))
}

/// Names a file only if that alone has at least half of what is allowed.
fn too_much_on_disk(case: &Case<'_>, limit: u64, nameless: u64) -> String {
    let what = if nameless >= limit / 2 {
        "; most of it was in files that it had removed and held open".to_owned()
    } else {
        let file = case.largest.filter(|file| file.bytes >= limit / 2);
        file.map_or_else(String::new, |file| format!("; its largest file is {file}"))
    };
    let (limit, class) = (ByteSize(limit), case.class);
    format!("it wrote more to disk than the {limit} that class {class} allows{what}")
}

fn read_metrics(case: &Case<'_>) -> io::Result<Outcome> {
    Ok(match metrics_file::read(case.output)? {
        Found::Results(results) => Outcome::Completed(results),
        Found::Nothing => {
            let error =
                format!("{} exited with code 0 and left no metrics.json in its --output directory", case.entrypoint);
            match case.full_file() {
                Some(_) => too_large(case, Some(0), &error),
                None => failed(case, FailureKind::MissingMetrics, Some(0), error),
            }
        }
        Found::Invalid(sentence) => failed(case, FailureKind::InvalidMetrics, Some(0), sentence),
    })
}

fn failed(case: &Case<'_>, kind: FailureKind, exit_code: Option<i32>, mut error: String) -> Outcome {
    let log_tail = case.log.tail();
    let may_want_a_network = matches!(
        kind,
        FailureKind::NonzeroExit | FailureKind::Signal | FailureKind::Timeout | FailureKind::MissingMetrics
    );
    if may_want_a_network && oom::no_network_in(&log_tail) {
        error.push_str(match case.network {
            Network::None => "; jobs here have no network (NETWORK=none)",
            Network::Loopback => "; jobs here have no network but a loopback interface (NETWORK=loopback)",
            Network::Host => "",
        });
    }
    Outcome::Failed(Failure { kind, error, exit_code, log_tail })
}

/// A time limit as people say it: whole minutes, else seconds.
fn in_words(limit: Duration) -> String {
    let seconds = limit.as_secs();
    if seconds >= 60 && seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confinement::limits::{Measure, largest_file};
    use crate::log::job_log::Stream;

    /// What is judged of an end, after these last words on stderr and with this largest file.
    async fn verdict_of(ended: &Ended, words: &str, largest: Option<&LargestFile>) -> (FailureKind, String) {
        let output = tempfile::tempdir().unwrap();
        let log = JobLog::new(None, 0);
        log.clone().pump(words.as_bytes(), Stream::Errors).await;
        let case = Case {
            entrypoint: "main.py",
            class: &"small".parse().unwrap(),
            limit: Duration::from_mins(30),
            output: output.path(),
            log: &log,
            output_bytes: 16 << 20,
            largest,
            network: Network::None,
            disk_was_short: false,
        };
        match judge(ended, &case) {
            Outcome::Failed(failure) => (failure.kind, failure.error),
            other => panic!("{other:?}"),
        }
    }

    fn exit(code: i32) -> Ended {
        Ended::Exited(ExitStatus::from_raw(code << 8))
    }

    #[tokio::test]
    async fn each_bad_end_has_its_kind_and_its_sentence() {
        let verdict = async |ended: &Ended| verdict_of(ended, "", None).await;
        let (kind, error) = verdict(&Ended::TimedOut).await;
        assert_eq!(
            (kind, error.as_str()),
            (FailureKind::Timeout, "it ran longer than the 30 min that class small allows")
        );
        assert_eq!(verdict(&exit(3)).await, (FailureKind::NonzeroExit, "main.py exited with code 3".to_owned()));
        let (kind, error) = verdict(&Ended::Exited(ExitStatus::from_raw(11))).await;
        assert_eq!((kind, error.as_str()), (FailureKind::Signal, "main.py was ended by SIGSEGV"));
        assert_eq!(verdict(&exit(0)).await.0, FailureKind::MissingMetrics);
    }

    #[tokio::test]
    async fn a_file_at_the_limit_is_the_reason_whichever_way_the_program_ended() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        std::fs::create_dir(&output).unwrap();
        let file = std::fs::File::create(output.join("model.pt")).unwrap();
        let largest = |bytes: u64| {
            file.set_len(bytes).unwrap();
            largest_file(std::slice::from_ref(&output), Measure::Size).unwrap()
        };
        let (full, smaller) = (largest(16 << 20), largest((16 << 20) - 1));
        let short_write = "OSError: 4194304 requested and 262144 written";
        for ended in [exit(1), exit(0), Ended::Exited(ExitStatus::from_raw(25)), Ended::Exited(ExitStatus::from_raw(6))]
        {
            let (kind, error) = verdict_of(&ended, short_write, Some(&full)).await;
            assert_eq!(kind, FailureKind::OutputLimit, "{error}");
            let begins =
                error.starts_with("its file output/model.pt reached the 16.0 MiB that class small allows; main.py");
            assert!(begins, "{error}");
        }
        assert_eq!(verdict_of(&exit(1), short_write, Some(&smaller)).await.0, FailureKind::NonzeroExit);
        // Which limit it was can't be known, and is not claimed: the program may have set a lower one.
        for ended in [exit(1), Ended::Exited(ExitStatus::from_raw(25))] {
            for largest in [Some(&smaller), None] {
                let (kind, error) = verdict_of(&ended, "OSError: [Errno 27] File too large", largest).await;
                let begins = "one of its files could not grow any further: class small allows 16.0 MiB, unless the program \
                              set a lower limit itself; main.py";
                assert!(kind == FailureKind::OutputLimit && error.starts_with(begins), "{error}");
                assert!(!error.contains("model.pt") && !error.contains("disk"), "{error}");
            }
        }
        // A submission may have larger files, which are not the run's.
        assert_eq!(
            verdict_of(&exit(1), "ValueError", Some(&largest((16 << 20) + 1))).await.0,
            FailureKind::NonzeroExit
        );
        assert_eq!(verdict_of(&exit(1), "MemoryError", Some(&full)).await.0, FailureKind::OomHost);
        // Of all that a run has on disk, only a file that is a good part of it is named.
        let (limit, half) = (16 << 20, largest(8 << 20));
        for (nameless, file, named) in [
            (0, &half, "; its largest file is output/model.pt"),
            (0, &largest((8 << 20) - 1), ""),
            (limit, &half, "; most of it was in files that it had removed and held open"),
        ] {
            let ended = Ended::Exceeded(Breach::Disk(limit, nameless));
            let (kind, error) = verdict_of(&ended, "", Some(file)).await;
            assert_eq!(kind, FailureKind::OutputLimit);
            assert_eq!(error, format!("it wrote more to disk than the 16.0 MiB that class small allows{named}"));
        }
    }

    #[tokio::test]
    async fn a_run_that_looked_for_a_network_is_told_that_there_is_none() {
        let words = "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>";
        for ended in [exit(1), exit(0), Ended::TimedOut] {
            let (_, error) = verdict_of(&ended, words, None).await;
            assert!(error.ends_with("; jobs here have no network (NETWORK=none)"), "{error}");
        }
        assert!(!verdict_of(&exit(1), "ValueError: no data", None).await.1.contains("network"));
    }

    #[test]
    fn what_the_platform_lacks_is_not_the_authors_fault() {
        let lacks = Ended::Exceeded(Breach::Platform("its worker lacks descriptors".to_owned()));
        let output = tempfile::tempdir().unwrap();
        let log = JobLog::new(None, 0);
        let gone = output.path().join("gone").join("output");
        let judged = |ended: &Ended, output: &Path| {
            let case = Case {
                entrypoint: "main.py",
                class: &"small".parse().unwrap(),
                limit: Duration::from_mins(1),
                output,
                log: &log,
                output_bytes: 16 << 20,
                largest: None,
                network: Network::None,
                disk_was_short: true,
            };
            match judge(ended, &case) {
                Outcome::GivenBack(LossCause::Infrastructure, why) => why,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(judged(&lacks, output.path()), "its worker lacks descriptors");
        for ended in [exit(0), exit(1), Ended::Exited(ExitStatus::from_raw(9))] {
            assert_eq!(judged(&ended, &gone), "the work directory of the run was removed while main.py ran");
        }
    }
}

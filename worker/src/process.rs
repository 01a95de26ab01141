//! The program of a job: started with nothing but what it needs, waited for, and killed as a whole.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use events::JobId;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::interrupt::{Interrupt, Reason};
use crate::leftovers::{MARKER, kill_marked};
use crate::run_directory::RunDirectory;

/// How long a program that is to stop may take to do so by itself.
const GRACE: Duration = Duration::from_secs(2);
/// How long its group may take to vanish once it was killed.
const VANISH: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) python: &'a Path,
    pub(crate) entrypoint: &'a str,
    pub(crate) config_file: &'a str,
    pub(crate) directory: &'a RunDirectory,
    pub(crate) job: JobId,
    /// Marks every process of the run; begins with the worker's name.
    pub(crate) marker: &'a str,
}

/// How a program came to its end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// It ran longer than it may.
    TimedOut,
    /// It was stopped.
    Interrupted(Reason),
}

/// A program that runs, in a process group of its own.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    marker: String,
}

impl Process {
    /// Starts `<python> <entrypoint> --config <config_file> --output <directory>`.
    ///
    /// Its environment is what stands here and nothing else.
    pub(crate) fn start(program: &Program<'_>) -> io::Result<Self> {
        let mut path = program.python.parent().map(Path::to_owned).unwrap_or_default().into_os_string();
        path.push(":/usr/local/bin:/usr/bin:/bin");
        let child = Command::new(program.python)
            .arg(program.entrypoint)
            .arg("--config")
            .arg(program.config_file)
            .arg("--output")
            .arg(program.directory.output())
            .current_dir(program.directory.work())
            .env_clear()
            .env("PATH", path)
            .env("HOME", program.directory.home())
            .env("TMPDIR", program.directory.temporary())
            .env("LANG", "C.UTF-8")
            .env("LC_ALL", "C.UTF-8")
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("LEADERSBOARD_JOB_ID", program.job.to_string())
            .env(MARKER, program.marker)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).ok_or_else(|| io::Error::other("it has no id"))?;
        Ok(Self { child, group: Pid::from_raw(id), marker: program.marker.to_owned() })
    }

    /// Its output streams, the first time.
    pub(crate) fn streams(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        self.child.stdout.take().zip(self.child.stderr.take())
    }

    /// Waits for its end, or brings it about; nothing of its group and nothing it marked runs on.
    pub(crate) async fn finish(&mut self, limit: Duration, interrupt: &Interrupt) -> io::Result<Ended> {
        let ended = tokio::select! {
            biased;
            // What ended by itself before it was stopped has its own outcome.
            status = self.child.wait() => Ended::Exited(status?),
            reason = interrupt.raised() => Ended::Interrupted(reason),
            () = sleep(limit) => Ended::TimedOut,
        };
        if !matches!(ended, Ended::Exited(_)) {
            self.signal(Signal::SIGTERM);
            // Whether it used its grace makes no difference to what follows.
            let _ = timeout(GRACE, self.child.wait()).await;
        }
        self.kill_all().await?;
        Ok(ended)
    }

    async fn kill_all(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGKILL);
        self.child.wait().await?;
        let deadline = Instant::now() + VANISH;
        // The group lasts as long as any process in it; one that left it still has the marker.
        while killpg(self.group, None).is_ok() && Instant::now() < deadline {
            self.signal(Signal::SIGKILL);
            sleep(POLL).await;
        }
        let survivors = kill_marked(&self.marker).await;
        if !survivors.is_empty() {
            tracing::error!(?survivors, "processes of the job do not die");
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        // The group may be empty already.
        let _ = killpg(self.group, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// Starts a shell script in the place of Python.
    fn start(script: &str, marker: &str, root: &Path) -> (Process, RunDirectory) {
        let directory = RunDirectory::create(root, "run").unwrap();
        fs::write(directory.work().join("main.sh"), script).unwrap();
        let program = Program {
            python: Path::new("/bin/sh"),
            entrypoint: "main.sh",
            config_file: "config.yaml",
            directory: &directory,
            job: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap(),
            marker,
        };
        (Process::start(&program).unwrap(), directory)
    }

    #[tokio::test]
    async fn its_environment_is_what_it_needs_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let (mut process, _directory) = start("env | cut -d= -f1 | sort", "t-env/1", root.path());
        let (mut output, _) = process.streams().unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).await.unwrap();
        process.finish(Duration::from_secs(10), &Interrupt::default()).await.unwrap();
        let names: Vec<&str> = text.lines().filter(|name| *name != "_" && *name != "PWD").collect();
        let known = [
            "HOME",
            "LANG",
            "LC_ALL",
            "LEADERSBOARD_JOB_ID",
            "LEADERSBOARD_RUN",
            "PATH",
            "PYTHONDONTWRITEBYTECODE",
            "PYTHONUNBUFFERED",
            "TMPDIR",
        ];
        assert_eq!(names.into_iter().filter(|name| *name != "SHLVL" && *name != "OLDPWD").collect::<Vec<_>>(), known);
    }

    #[tokio::test]
    async fn nothing_of_it_runs_on_not_even_what_left_its_group() {
        let root = tempfile::tempdir().unwrap();
        let script = "trap '' TERM; setsid sleep 300 & sleep 300 & echo ready; wait; sleep 300";
        let (mut process, _directory) = start(script, "t-tree/1", root.path());
        let (mut output, _) = process.streams().unwrap();
        let mut ready = [0; 6];
        output.read_exact(&mut ready).await.unwrap();
        let ended = process.finish(Duration::from_millis(50), &Interrupt::default()).await.unwrap();
        assert!(matches!(ended, Ended::TimedOut), "{ended:?}");
        assert_eq!(kill_marked("t-tree/1").await, Vec::<i32>::new());
        let left = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            fs::read(entry.path().join("environ")).is_ok_and(|text| String::from_utf8_lossy(&text).contains("t-tree/1"))
        });
        assert_eq!(left.count(), 0);
    }

    #[tokio::test]
    async fn an_end_of_its_own_counts_although_it_is_to_stop() {
        let root = tempfile::tempdir().unwrap();
        let (mut process, _directory) = start("exit 3", "t-own/1", root.path());
        let (mut output, _) = process.streams().unwrap();
        output.read_to_end(&mut Vec::new()).await.unwrap();
        // Its streams are closed; it is waited for once before it is asked to stop.
        process.child.wait().await.unwrap();
        let interrupt = Interrupt::default();
        interrupt.raise(Reason::Cancel);
        let ended = process.finish(Duration::from_secs(10), &interrupt).await.unwrap();
        assert!(matches!(ended, Ended::Exited(status) if status.code() == Some(3)), "{ended:?}");
    }
}

//! The process of the private Redis, from its start to its end.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::GUARD_COMMAND;

/// This very program, even if its file was replaced since.
const GUARD: &str = "/proc/self/exe";

/// A server that was started.
#[derive(Debug)]
pub(super) struct Running {
    child: Arc<Mutex<Child>>,
    /// Closed once it has ended and was waited for.
    end: watch::Receiver<Option<ExitStatus>>,
}

impl Running {
    /// Starts the guard in a process group of its own, so that a Ctrl-C for `up` does not reach it.
    ///
    /// The kernel tells the child of the death of the *thread* that started it, so that thread waits for the child.
    pub(super) fn spawn(server: &Path, lock: &Path, log: &Path, config: String) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| format!("{} can't be written", log.display()))?;
        let mut command = Command::new(GUARD);
        command
            .args([GUARD_COMMAND, "--parent", &std::process::id().to_string()])
            .arg("--lock")
            .arg(lock)
            .arg("--server")
            .arg(server)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let (started, start) = mpsc::channel();
        let (ended, end) = watch::channel(None);
        let run = move || match command.spawn() {
            Ok(mut child) => {
                let stdin = child.stdin.take();
                let child = Arc::new(Mutex::new(child));
                let _ = started.send(Ok(Arc::clone(&child)));
                // One that ended before it read this is noticed by its end.
                let _ = stdin.map(|mut stdin| stdin.write_all(config.as_bytes()));
                wait(&child, &ended);
            }
            // `up` waits for one of the two.
            Err(error) => drop(started.send(Err(error))),
        };
        thread::Builder::new().name("private-redis".to_owned()).spawn(run)?;
        let child: io::Result<_> = start.recv().context("the thread of the private Redis ended")?;
        Ok(Self { child: child.context("the private Redis can't start")?, end })
    }

    /// Sends it a signal, unless it has ended: its id may be another process's then. Whether the signal was sent.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits for it takes the lock for that, so the id stays its own until the lock is released.
        matches!(child.try_wait(), Ok(None)) && kill(id(&child), signal).is_ok()
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        // An error says that nothing will be told any more.
        let _ = self.end.wait_for(Option::is_some).await;
        *self.end.borrow()
    }
}

/// Waits for the end, and only then takes the lock to release the process id.
fn wait(child: &Mutex<Child>, ended: &watch::Sender<Option<ExitStatus>>) {
    let pid = id(&child.lock().unwrap_or_else(PoisonError::into_inner));
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
    let status = child.lock().unwrap_or_else(PoisonError::into_inner).wait();
    ended.send_replace(status.ok());
}

fn id(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_ended_is_signalled_no_more() {
        let child = Command::new("sleep").arg("300").spawn().unwrap();
        let child = Arc::new(Mutex::new(child));
        let (ended, end) = watch::channel(None);
        let mut running = Running { child: Arc::clone(&child), end };
        let waits = thread::spawn(move || wait(&child, &ended));
        assert!(running.signal(Signal::SIGTERM));
        let status = running.ended().await.unwrap();
        waits.join().unwrap();
        assert!(!status.success());
        assert!(!running.signal(Signal::SIGKILL));
    }
}

//! The child that becomes the private Redis.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// How long a Redis of an earlier `up` may take to end.
const PREDECESSOR_ENDS_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Becomes the private Redis of `up`.
#[derive(Debug, Args)]
pub(crate) struct GuardCommand {
    /// The process it must not outlive
    #[arg(long)]
    parent: i32,
    /// The file whose lock says that a Redis uses the append-only file beside it
    #[arg(long)]
    lock: PathBuf,
    /// The server to become; it reads its configuration on stdin
    #[arg(long)]
    server: PathBuf,
}

impl GuardCommand {
    pub(crate) fn run(self) -> ExitCode {
        let error = match self.prepare() {
            Ok(()) => Command::new(&self.server).arg("-").exec(),
            Err(error) => error,
        };
        // `up` shows the last lines of this file's stderr; where even that fails the exit code must do.
        let _ = writeln!(io::stderr(), "{}: {error}", self.server.display());
        ExitCode::FAILURE
    }

    fn prepare(&self) -> io::Result<()> {
        set_pdeathsig(Signal::SIGTERM)?;
        // The parent may have died before the line above.
        if getppid() != Pid::from_raw(self.parent) {
            return Err(io::Error::other("the process that asked for it is gone"));
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.lock)?;
        let lock = self.wait_for(file)?;
        fcntl(lock.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        // Kept open across `exec`, so that the lock lasts as long as the server.
        std::mem::forget(lock);
        Ok(())
    }

    /// A Redis that an earlier `up` left is on its way out: the kernel has told it to end.
    fn wait_for(&self, mut file: File) -> io::Result<Flock<File>> {
        let deadline = Instant::now() + PREDECESSOR_ENDS_WITHIN;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((same, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = same,
                Err((_, Errno::EWOULDBLOCK)) => {
                    let folder = self.lock.parent().unwrap_or(&self.lock).display();
                    return Err(io::Error::other(format!("another Redis still uses {folder}; stop it first")));
                }
                Err((_, error)) => return Err(error.into()),
            }
            thread::sleep(POLL);
        }
    }
}

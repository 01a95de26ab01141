//! The supervisor's side. One thread, no allocator tricks, no runtime: it waits for its children and its orders.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{Pid, WaitOptions, wait};

use super::descendants;
use super::{Order, Report, Spec};

/// How long the supervisor waits before it looks again for what does not die.
const KILL_AGAIN: u16 = 20;

/// Becomes the supervisor of one program; returns when nothing of it is left.
#[must_use]
pub fn supervise() -> ExitCode {
    match Supervisor::begin().and_then(Supervisor::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            descendants::kill();
            // The worker reads the program's stderr, and this is all that is left to tell.
            let _ = writeln!(io::stderr(), "leadersboard: the supervisor of the job failed: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Supervisor {
    control: UnixStream,
    children: SignalFd,
    program: Pid,
    /// What came of the control socket and is not a whole line yet.
    unread: Vec<u8>,
    ordered: bool,
    /// Whether all that is left is to be killed.
    killing: bool,
}

impl Supervisor {
    /// Reads the specification and starts the program.
    fn begin() -> io::Result<Self> {
        let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut line = String::new();
        let mut reader = BufReader::new(control.try_clone()?);
        reader.read_line(&mut line)?;
        let unread = reader.buffer().to_vec();
        let spec: Spec = serde_json::from_str(&line)?;
        // It may lead its session already, where a person starts it by hand.
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let program = match start(&spec) {
            Ok(program) => program,
            Err(error) => {
                tell(&control, &Report::NotStarted(error.to_string()))?;
                return Err(error);
            }
        };
        // Only the worker ends it: a job that signals its parent does not get rid of it so easily. Not before the program
        // was started, which would inherit it. An end before this is seen by the first look at the children.
        let mut blocked = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
            blocked.add(signal);
        }
        blocked.thread_block()?;
        let mut watched = SigSet::empty();
        watched.add(Signal::SIGCHLD);
        let children = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let_go_of_streams()?;
        tell(&control, &Report::Started)?;
        control.set_nonblocking(true)?;
        Ok(Self { control, children, program, unread, ordered: false, killing: false })
    }

    /// Waits until nothing is left.
    fn run(mut self) -> io::Result<()> {
        self.obey()?;
        loop {
            if self.reap()? {
                // Where the worker is gone nobody is there to be told.
                let _ = tell(&self.control, &Report::Empty);
                return Ok(());
            }
            if self.killing {
                descendants::kill();
            }
            let timeout = if self.killing { PollTimeout::from(KILL_AGAIN) } else { PollTimeout::NONE };
            let mut waited_for = vec![PollFd::new(self.children.as_fd(), PollFlags::POLLIN)];
            // Once all is to be killed there is nothing more to be ordered.
            if !self.killing {
                waited_for.push(PollFd::new(self.control.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut waited_for, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            while self.children.read_signal()?.is_some() {}
            if !self.killing {
                self.read_orders()?;
            }
        }
    }

    /// Takes note of every child that has ended. Whether none is left.
    fn reap(&mut self) -> io::Result<bool> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(None) => return Ok(false),
                Ok(Some((pid, status))) if pid == self.program => {
                    let report = Report::Exited { status: status.as_raw(), ordered: self.ordered };
                    // Where the worker is gone the tree is killed all the same.
                    let _ = tell(&self.control, &report);
                    self.killing = !events::seeded_bug!("event_before_tree_is_gone");
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CHILD) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read_orders(&mut self) -> io::Result<()> {
        let mut chunk = [0; 256];
        match self.control.read(&mut chunk) {
            // The worker has ended or has let go of this run.
            Ok(0) => self.killing = true,
            Ok(read) => self.unread.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.killing = true,
            Err(error) => return Err(error),
        }
        self.obey()
    }

    fn obey(&mut self) -> io::Result<()> {
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            // What has ended before the order has ended by itself.
            self.reap()?;
            self.ordered = true;
            match serde_json::from_slice(&line)? {
                Order::Interrupt => descendants::signal(rustix::process::Signal::INT),
                Order::Terminate => descendants::signal(rustix::process::Signal::TERM),
                Order::Kill => self.killing = true,
            }
        }
        Ok(())
    }
}

fn start(spec: &Spec) -> io::Result<Pid> {
    let child = Command::new(&spec.program)
        .args(&spec.arguments)
        .current_dir(&spec.directory)
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .spawn()?;
    // It is waited for with all the others.
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("it has no id"))
}

/// Leaves stdin, stdout and stderr to the program: its streams end with its tree.
fn let_go_of_streams() -> io::Result<()> {
    let nothing = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    Ok(())
}

fn tell(mut control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    control.write_all(&line)
}

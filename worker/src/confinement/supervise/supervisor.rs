//! The supervisor's side. One thread, no allocator tricks, no runtime: it waits for its children and its orders.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::process::{DumpableBehavior, Pid, WaitOptions, set_parent_process_death_signal, wait};

use super::descendants::Descendants;
use super::launch;
use crate::confinement::floor::system_calls::{Forked, fork_single_threaded};
use crate::confinement::full::namespaces;
use crate::confinement::{Isolation, Order, Spec, SupervisorReport};

/// How long the supervisor waits before it looks again for what does not die.
const KILL_AGAIN: u16 = 20;

/// The exit code of a supervisor whose inner one was killed: it did not give up by itself.
pub(crate) const KILLED: u8 = 137;

/// Becomes the supervisor of one program; returns when nothing of it is left.
#[must_use]
pub fn supervise() -> ExitCode {
    match prepare() {
        Ok(code) => code,
        Err(error) => {
            Descendants::Tree.kill();
            // The worker reads the program's stderr, and this is all that is left to tell.
            let _ = writeln!(io::stderr(), "leadersboard: the supervisor of the job failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the specification and supervises, in namespaces of its own where that is asked for.
fn prepare() -> io::Result<ExitCode> {
    // What it makes for the program must be open to the program's user, whatever umask the worker was started with.
    umask(Mode::from_bits_truncate(0o022));
    let mut control = Control::new()?;
    let spec: Spec = serde_json::from_slice(&control.line()?)?;
    // It may lead its session already, where a person starts it by hand.
    let _ = rustix::process::setsid();
    let groups = match launch::open_groups(&spec) {
        Ok(groups) => groups,
        Err(error) => return control.refuse(error),
    };
    let Isolation::Full(view) = &spec.isolation else {
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        return Supervisor::begin(control, &spec, &groups)?.run();
    };
    if let Err(error) = namespaces::leave(view.network) {
        return control.refuse(error);
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    match fork_single_threaded()? {
        Forked::Child => {
            set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            if let Err(error) = namespaces::enter(view, spec.identity) {
                return control.refuse(error);
            }
            Supervisor::begin(control, &spec, &groups)?.run()
        }
        // Out here nothing is left to do but to be the one that the worker waits for.
        Forked::Parent(child) => {
            drop((control, groups));
            let_go_of_streams()?;
            let status = waitpid(child, None)?;
            Ok(match status {
                WaitStatus::Exited(_, 0) => ExitCode::SUCCESS,
                WaitStatus::Signaled(..) => ExitCode::from(KILLED),
                _ => ExitCode::FAILURE,
            })
        }
    }
}

/// The socket to the worker, and received bytes that are not a whole line yet.
struct Control {
    socket: UnixStream,
    unread: Vec<u8>,
}

impl Control {
    fn new() -> io::Result<Self> {
        Ok(Self { socket: UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?), unread: Vec::new() })
    }

    /// Waits for a line.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(line) = self.whole_line() {
                return Ok(line);
            }
            let mut chunk = [0; 4096];
            match self.socket.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.unread.extend_from_slice(&chunk[..read]),
            }
        }
    }

    /// A line that has come.
    fn whole_line(&mut self) -> Option<Vec<u8>> {
        let end = self.unread.iter().position(|byte| *byte == b'\n')?;
        Some(self.unread.drain(..=end).collect())
    }

    fn tell(&mut self, report: &SupervisorReport) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        self.socket.write_all(&line)
    }

    /// Tells that nothing was started, and why.
    fn refuse(&mut self, error: io::Error) -> io::Result<ExitCode> {
        self.tell(&SupervisorReport::NotStarted(error.to_string()))?;
        Ok(ExitCode::FAILURE)
    }
}

struct Supervisor {
    control: Control,
    children: SignalFd,
    program: Pid,
    descendants: Descendants,
    ordered: bool,
    /// Whether all that is left is to be killed.
    killing: bool,
}

impl Supervisor {
    /// Starts the program.
    fn begin(mut control: Control, spec: &Spec, groups: &[File]) -> io::Result<Self> {
        let program = match launch::start(spec, groups) {
            Ok(program) => program,
            Err(error) => {
                control.tell(&SupervisorReport::NotStarted(error.to_string()))?;
                return Err(error);
            }
        };
        // Only the worker ends it: a job that signals its parent does not get rid of it so easily. An end before this is
        // seen by the first look at the children.
        let mut blocked = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
            blocked.add(signal);
        }
        blocked.thread_block()?;
        let mut watched = SigSet::empty();
        watched.add(Signal::SIGCHLD);
        let children = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let_go_of_streams()?;
        control.tell(&SupervisorReport::Started)?;
        control.socket.set_nonblocking(true)?;
        Ok(Self { control, children, program, descendants: Descendants::of(spec), ordered: false, killing: false })
    }

    /// Waits until nothing is left.
    fn run(mut self) -> io::Result<ExitCode> {
        self.obey()?;
        loop {
            if self.reap()? {
                // Where the worker is gone nobody is there to be told.
                let _ = self.control.tell(&SupervisorReport::Empty);
                return Ok(ExitCode::SUCCESS);
            }
            if self.killing {
                self.descendants.kill();
            }
            let timeout = if self.killing { PollTimeout::from(KILL_AGAIN) } else { PollTimeout::NONE };
            let mut waited_for = vec![PollFd::new(self.children.as_fd(), PollFlags::POLLIN)];
            // Once all is to be killed there is nothing more to be ordered.
            if !self.killing {
                waited_for.push(PollFd::new(self.control.socket.as_fd(), PollFlags::POLLIN));
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
                    let report = SupervisorReport::Exited { status: status.as_raw(), ordered: self.ordered };
                    // Where the worker is gone the tree is killed all the same.
                    let _ = self.control.tell(&report);
                    self.killing = true;
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CHILD) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read_orders(&mut self) -> io::Result<()> {
        let mut chunk = [0; 256];
        match self.control.socket.read(&mut chunk) {
            // The worker has ended or has let go of this run.
            Ok(0) => self.killing = true,
            Ok(read) => self.control.unread.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.killing = true,
            Err(error) => return Err(error),
        }
        self.obey()
    }

    fn obey(&mut self) -> io::Result<()> {
        while let Some(line) = self.control.whole_line() {
            // What has ended before the order has ended by itself.
            self.reap()?;
            self.ordered = true;
            match serde_json::from_slice(&line)? {
                Order::Interrupt => self.descendants.signal(Signal::SIGINT),
                Order::Terminate => self.descendants.signal(Signal::SIGTERM),
                Order::Kill => self.killing = true,
            }
        }
        Ok(())
    }
}

/// Leaves stdin, stdout and stderr to the program: its streams end with its tree.
fn let_go_of_streams() -> io::Result<()> {
    let nothing = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    Ok(())
}

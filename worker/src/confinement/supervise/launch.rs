//! Starts the program, confined: everything is given up in the new process, before it becomes the program.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, execve, fchown, pipe2, setsid};
use rustix::process::{Pid, set_parent_process_death_signal};

use crate::confinement::floor::privileges::Identity;
use crate::confinement::floor::seccomp;
use crate::confinement::floor::seccomp::Company;
use crate::confinement::floor::system_calls::{Forked, close_others_on_exec, fork_single_threaded, restore_default};
use crate::confinement::floor::{landlock, privileges};
use crate::confinement::{Isolation, Spec};

/// The exit code of a process that could not become the program. Nobody is told: the reason goes another way.
const NOT_STARTED: i32 = 127;

/// Opens what a program is to be entered in, which is out of sight once it has a root of its own.
pub(crate) fn open_groups(spec: &Spec) -> io::Result<Vec<File>> {
    let open = |path: &PathBuf| {
        let opened = OpenOptions::new().write(true).open(path);
        opened.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    };
    spec.groups.iter().map(open).collect()
}

/// Starts the program, which is a member of these groups from its first instruction on.
///
/// # Errors
/// What could not be given up or found: then nothing has started.
pub(crate) fn start(spec: &Spec, groups: &[File]) -> io::Result<Pid> {
    let (said, saying) = pipe2(OFlag::O_CLOEXEC)?;
    match fork_single_threaded()? {
        Forked::Child => {
            let Err(error) = become_program(spec, groups);
            // If that is not heard either, the program counts as started and ends with its code.
            let _ = File::from(saying).write_all(error.to_string().as_bytes());
            std::process::exit(NOT_STARTED);
        }
        Forked::Parent(child) => {
            drop(saying);
            let mut error = String::new();
            File::from(said).read_to_string(&mut error)?;
            if !error.is_empty() {
                return Err(io::Error::other(error));
            }
            Pid::from_raw(child.as_raw()).ok_or_else(|| io::Error::other("it has no id"))
        }
    }
}

fn become_program(spec: &Spec, groups: &[File]) -> io::Result<std::convert::Infallible> {
    for mut group in groups {
        group.write_all(b"0").map_err(|error| io::Error::other(format!("entering a cgroup: {error}")))?;
    }
    // Out of the supervisor's process group: a signal to one's own group must not reach it.
    setsid()?;
    close_others_on_exec()?;
    umask(mask(&spec.isolation));
    let nothing = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    give_streams(spec.identity)?;
    privileges::limit(&spec.limits, spec.mark)?;
    restore_default(Signal::SIGPIPE)?;
    SigSet::empty().thread_set_mask()?;
    chdir(&spec.directory).map_err(|error| named(&spec.directory, error))?;
    let (program, arguments, environment) = texts(spec)?;
    match &spec.isolation {
        Isolation::Off => {}
        Isolation::Floor(view) | Isolation::Full(view) => {
            privileges::drop_to(spec.identity)?;
            landlock::confine(view)?;
        }
    }
    // Changing the user has undone it, so not before.
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    match &spec.isolation {
        Isolation::Off => {}
        Isolation::Floor(view) if spec.identity.is_some() => seccomp::deny(view, Company::Others)?,
        Isolation::Floor(view) => seccomp::deny(view, Company::SameUser)?,
        Isolation::Full(view) => seccomp::deny(view, Company::None)?,
    }
    execve(&program, &arguments, &environment).map_err(|error| named(&spec.program, error))
}

/// What a program makes is its user's alone where it shares a folder with other users of the machine.
fn mask(isolation: &Isolation) -> Mode {
    Mode::from_bits_truncate(if matches!(isolation, Isolation::Floor(_)) { 0o077 } else { 0o022 })
}

/// Lets the program open its own streams again by name, as `/dev/stdout`.
fn give_streams(identity: Option<Identity>) -> io::Result<()> {
    if let Some(Identity(number)) = identity {
        for stream in [io::stdout().as_fd(), io::stderr().as_fd()] {
            fchown(stream, Some(number.into()), Some(number.into()))?;
        }
    }
    Ok(())
}

type Texts = (CString, Vec<CString>, Vec<CString>);

fn texts(spec: &Spec) -> io::Result<Texts> {
    let program = CString::new(spec.program.as_os_str().as_bytes())?;
    let mut arguments = vec![program.clone()];
    for argument in &spec.arguments {
        arguments.push(CString::new(argument.as_str())?);
    }
    let environment = spec.environment.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
    Ok((program, arguments, environment.collect::<Result<_, _>>()?))
}

fn named(path: &Path, error: nix::errno::Errno) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

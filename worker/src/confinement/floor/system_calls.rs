//! The system calls that no crate offers without `unsafe`.
#![expect(
    unsafe_code,
    reason = "fork, close_range, ioctl, mount_setattr and a question to Landlock have no safe form; each call says why it is sound"
)]

use std::ffi::CString;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::{ForkResult, Pid, fork};

/// Which of the two a forked process is.
pub(crate) enum Forked {
    Parent(Pid),
    Child,
}

/// Forks this process, which must have one thread only.
pub(crate) fn fork_single_threaded() -> io::Result<Forked> {
    // SAFETY: the supervisor never starts a thread, so the child holds no lock that another thread had taken.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        ForkResult::Child => Ok(Forked::Child),
    }
}

/// Gives a signal back its default effect. Rust's runtime ignores SIGPIPE, which programs would inherit.
pub(crate) fn restore_default(signal: Signal) -> io::Result<()> {
    // SAFETY: no handler is installed, only the default effect.
    unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
    Ok(())
}

/// Has every descriptor beyond stderr closed when a program is executed.
pub(crate) fn close_others_on_exec() -> io::Result<()> {
    // SAFETY: the call only marks descriptors; what owns them goes on to own them.
    let done = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn bring_loopback_up() -> io::Result<()> {
    // Any socket will do to talk to the interface; an unbound one needs no address.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zeros are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = from.cast_signed();
    }
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(up).map_err(io::Error::other)?;
    // SAFETY: `request` is an `ifreq` as SIOCSIFFLAGS reads it, and outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives a mount these attributes (`MOUNT_ATTR_…`) beside those it has, and all mounts below it. (`mount_setattr(2)`)
pub(crate) fn add_mount_attributes(path: &Path, attributes: u64) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zeros are a valid `mount_attr`: no change.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = attributes;
    let flags = libc::AT_RECURSIVE;
    // SAFETY: the path is a C string and `attr` of the size that is told; both outlive the call, which only reads them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attr,
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The version of the kernel's Landlock; 0 where there is none. (`landlock_create_ruleset(2)`)
pub(crate) fn landlock_version() -> i32 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: asked for its version the call reads no attributes and makes nothing.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    i32::try_from(version).unwrap_or(0).max(0)
}

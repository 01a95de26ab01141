//! Errors of the system that are the platform's to answer for, whatever a job did.

use std::io;

use rustix::io::Errno;

/// Whether this machine lacks descriptors, memory or room, or has a disk that does not work.
pub(crate) fn is_platforms(error: Errno) -> bool {
    is_shortage(error) || matches!(error, Errno::IO | Errno::ROFS | Errno::STALE | Errno::NODEV)
}

/// Whether it lacks what it may have again in a moment.
pub(crate) fn is_shortage(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::NOSPC | Errno::DQUOT)
}

/// [`is_platforms`] of the error that the system gave; what is not the system's is not the platform's.
pub(crate) fn is_platforms_io(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(is_platforms)
}

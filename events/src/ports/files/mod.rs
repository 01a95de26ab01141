//! Files: uploads, what jobs print, what runs leave.

pub(crate) mod artifacts;
pub(crate) mod file_name;
pub(crate) mod log;
pub(crate) mod storage;

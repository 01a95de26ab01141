//! What any user can give up anywhere: files by Landlock, system calls by seccomp, privileges.

pub(crate) mod landlock;
pub(crate) mod privileges;
pub(crate) mod seccomp;
pub(crate) mod system_calls;

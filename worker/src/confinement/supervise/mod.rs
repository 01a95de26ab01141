//! The supervisor above a program, and the worker's end of it.

pub(crate) mod descendants;
pub(crate) mod launch;
pub(crate) mod mark;
pub(crate) mod process;
pub(crate) mod supervisor;

//! What the worker asks of the operating system: files, folders, locks, processes.

pub(crate) mod file_lock;
pub(crate) mod folder;
pub(crate) mod open_output;
pub(crate) mod platform_fault;
pub(crate) mod process_snapshot;
pub(crate) mod procfs;
pub(crate) mod remove_tree;
pub(crate) mod shared_folder;

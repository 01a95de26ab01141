//! Every option struct, each option with its environment variable. Read once, checked whole.

pub(crate) mod access;
pub(crate) mod classes;
pub(crate) mod gpus;
pub(crate) mod jobs;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod packages;
pub(crate) mod policy;
pub(crate) mod python;
pub(crate) mod redis;
pub(crate) mod sandbox;
pub(crate) mod storage;
pub(crate) mod tracking;

//! Every option struct, each option with its environment variable. Read once, checked whole.

pub(crate) mod classes;
pub(crate) mod limits;
pub(crate) mod packages;
pub(crate) mod policy;
pub(crate) mod sandbox;
pub(crate) mod shared;
pub(crate) mod tracking;

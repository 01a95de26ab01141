//! The connections to Redis: opened, shared, opened again after a failure, and what is wrong with one in words.

pub(crate) mod backoff;
pub mod check;
pub(crate) mod login;
pub(crate) mod raw;
pub(crate) mod shared;
pub(crate) mod trouble;

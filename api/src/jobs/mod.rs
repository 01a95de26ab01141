//! Jobs: creating, listing, showing and cancelling them, and streams of their status.

pub(crate) mod cancel;
mod config;
pub(crate) mod create;
mod estimate;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod progress;
pub(crate) mod queue;
pub(crate) mod show;
mod slots;
pub(crate) mod story;
pub(crate) mod stream;
mod view;

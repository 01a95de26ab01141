//! Values that were given and can't be used.

use std::error::Error;
use std::fmt;

use anyhow::Result;
use events::problem::chain;

/// A value that was given can't be used: the caller has to change it, and nothing was done. The exit code is 2, as for
/// what clap refuses.
#[derive(Debug)]
pub(crate) struct BadUsage(anyhow::Error);

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.0.as_ref()))
    }
}

impl Error for BadUsage {}

impl From<anyhow::Error> for BadUsage {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

/// Marks the errors of reading what was given.
pub(crate) trait Given<T> {
    /// The same result, with an error that is a [`BadUsage`].
    fn or_bad_usage(self) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> Given<T> for Result<T, E> {
    fn or_bad_usage(self) -> Result<T> {
        self.map_err(|error| BadUsage(error.into()).into())
    }
}

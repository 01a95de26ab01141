//! How much a job must be confined before it may run, and what network it has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What must hold before a worker runs anybody's code. A worker that can't have it does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All there is: namespaces, and memory limits of the kernel's.
    Strict,
    /// At least the floor: the file system by Landlock, network and system calls by seccomp, and not root.
    Standard,
    /// Nothing: for code that is trusted.
    Off,
}

/// What network a job has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// UNIX sockets among its own processes.
    None,
    /// Also a loopback interface of its own.
    Loopback,
    /// The machine's.
    Host,
}

/// A word that is none of those there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {known}, not {given:?}")]
pub struct UnknownWord {
    known: &'static str,
    given: String,
}

impl UnknownWord {
    /// This word, where only those are known.
    pub(crate) fn new(known: &'static str, given: &str) -> Self {
        Self { known, given: given.to_owned() }
    }
}

impl Network {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Loopback => "loopback",
            Self::Host => "host",
        }
    }
}

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Standard => "standard",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = [Self::Strict, Self::Standard, Self::Off].into_iter().find(|level| level.as_str() == text);
        known.ok_or_else(|| UnknownWord { known: "strict, standard or off", given: text.to_owned() })
    }
}

impl FromStr for Network {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = [Self::None, Self::Loopback, Self::Host].into_iter().find(|network| network.as_str() == text);
        known.ok_or_else(|| UnknownWord { known: "none, loopback or host", given: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_never_turns_anything_off() {
        assert_eq!("off".parse(), Ok(Level::Off));
        for typo in ["", "Off", "none", "0", "false", "of", "standard "] {
            assert!(typo.parse::<Level>().is_err(), "{typo}");
        }
        assert_eq!("host".parse(), Ok(Network::Host));
        assert!("Host".parse::<Network>().is_err());
    }
}

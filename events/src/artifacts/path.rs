//! Where a file was in its output directory: a path that can lead nowhere else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest path, in bytes.
const MAX_BYTES: usize = 1024;
/// The longest component, in bytes: what every file system takes.
const MAX_COMPONENT_BYTES: usize = 255;

/// A path of plain components. Whoever joins it to a folder stays below that folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactPath(String);

/// The rule that a path breaks, as in "its name has …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidArtifactPath(pub &'static str);

impl ArtifactPath {
    /// The most components that a path has.
    pub const MAX_DEPTH: usize = 32;

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last slash.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Whether it is below this folder, or is it.
    #[must_use]
    pub fn is_within(&self, folder: &str) -> bool {
        self.0.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl TryFrom<String> for ArtifactPath {
    type Error = InvalidArtifactPath;

    fn try_from(path: String) -> Result<Self, InvalidArtifactPath> {
        let refuse = |rule| Err(InvalidArtifactPath(rule));
        if path.len() > MAX_BYTES {
            return refuse("its path is longer than 1024 bytes");
        }
        if path.chars().any(char::is_control) {
            return refuse("its name has a control character");
        }
        if path.split('/').any(|part| matches!(part, "" | "." | "..") || part.len() > MAX_COMPONENT_BYTES) {
            return refuse("its path has an empty, a '.', a '..' or an overlong component");
        }
        if path.split('/').count() > Self::MAX_DEPTH {
            return refuse("it is nested deeper than 32 folders");
        }
        Ok(Self(path))
    }
}

impl FromStr for ArtifactPath {
    type Err = InvalidArtifactPath;

    fn from_str(path: &str) -> Result<Self, InvalidArtifactPath> {
        path.to_owned().try_into()
    }
}

impl From<ArtifactPath> for String {
    fn from(path: ArtifactPath) -> Self {
        path.0
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_taken_and_whatever_could_lead_elsewhere_is_not() {
        for good in ["a", "a/b.png", "zo\u{eb} 1/x", "a\\b", "..a/b..", ".hidden"] {
            assert_eq!(good.parse::<ArtifactPath>().unwrap().as_str(), good);
        }
        let (long, deep, wide) = ("x/".repeat(512) + "y", "d/".repeat(32) + "x", "n".repeat(256));
        for bad in ["", "/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", "a\0", "a\nb", &long, &deep, &wide] {
            assert!(bad.parse::<ArtifactPath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_folder_holds_what_is_below_it_and_not_what_only_begins_alike() {
        let path: ArtifactPath = "plots/a/x.png".parse().unwrap();
        assert!(path.is_within("plots") && path.is_within("plots/a") && path.is_within("plots/a/x.png"));
        assert!(!path.is_within("plot") && !path.is_within("plots/a/x"));
        assert_eq!(path.file_name(), "x.png");
    }
}

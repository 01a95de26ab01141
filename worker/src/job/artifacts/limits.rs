//! How much of the output of a run is kept.

use events::artifacts::MAX_FILES;

/// How much of what a run left is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// How many files.
    pub files: usize,
}

impl Default for ArtifactLimits {
    fn default() -> Self {
        Self { bytes: 5 << 30, files: MAX_FILES }
    }
}

/// A size in words: whole GiB or MiB where it is, else bytes.
pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20)];
    let unit = units.into_iter().find(|(_, power)| bytes > 0 && bytes.trailing_zeros() >= *power);
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, power)| format!("{} {unit}", bytes >> power))
}

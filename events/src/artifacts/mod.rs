//! What a run left in its output directory, as a list that is stored beside the files.

mod path;
mod visualizations;

use serde::{Deserialize, Serialize};

use crate::job::ArtifactTotals;

pub use path::{ArtifactPath, InvalidArtifactPath};
pub use visualizations::{Visualization, VisualizationKind, is_table, is_visualization, visualizations};

/// How many files of a run are kept at most, unless a worker is told otherwise.
pub const MAX_FILES: usize = 10_000;

/// How many of the entries that were passed over are named.
pub const MAX_SKIPPED: usize = 1_000;

/// What a run left. Its JSON text is its canonical form: the fields in this order, the files sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArtifactList {
    /// The files that are kept.
    pub files: Vec<Artifact>,
    /// Entries that were passed over, and why: at most [`MAX_SKIPPED`] of them.
    pub skipped: Vec<Skipped>,
    /// How many were passed over in all.
    pub skipped_count: u64,
    /// How many files were left out, unnamed, because there were too many.
    pub left_out_count: u64,
}

/// A file that a run left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Where it was, relative to the output directory.
    pub path: ArtifactPath,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Something in an output directory that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Where it was; what can't be shown of its name is replaced.
    pub path: String,
    /// Why it is not kept.
    pub reason: String,
}

impl ArtifactList {
    /// Notes something that is not kept.
    pub fn skip(&mut self, path: String, reason: impl Into<String>) {
        self.skipped_count += 1;
        if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(Skipped { path, reason: reason.into() });
        }
    }

    /// Its canonical form.
    #[must_use]
    pub fn to_json(mut self) -> Vec<u8> {
        self.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        self.skipped.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        serde_json::to_vec(&self).unwrap_or_default()
    }

    /// What an event tells of it; `digest` is the SHA-256 of its canonical form.
    #[must_use]
    pub fn totals(&self, digest: String) -> ArtifactTotals {
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        ArtifactTotals { count: self.files.len() as u64, bytes, digest }
    }

    /// The file at a path; the list must be in its canonical order.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Artifact> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files.get(at)
    }

    /// Whether nothing was there at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.files.is_empty() && self.skipped_count == 0 && self.left_out_count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Artifact {
        Artifact { path: path.parse().unwrap(), bytes: 3, sha256: "ab".to_owned() }
    }

    #[test]
    fn the_canonical_form_does_not_depend_on_the_order_in_which_files_were_found() {
        let list = |paths: [&str; 3]| ArtifactList { files: paths.map(file).to_vec(), ..ArtifactList::default() };
        let text = list(["b", "a/x", "a"]).to_json();
        assert_eq!(text, list(["a", "b", "a/x"]).to_json());
        let read: ArtifactList = serde_json::from_slice(&text).unwrap();
        assert_eq!(read.file("a/x"), Some(&file("a/x")));
        assert_eq!(read.file("a/y"), None);
        let totals = ArtifactTotals { count: 3, bytes: 9, digest: "d".to_owned() };
        assert_eq!(read.totals("d".to_owned()), totals);
    }

    #[test]
    fn what_is_passed_over_is_counted_beyond_what_is_named() {
        let mut list = ArtifactList::default();
        for number in 0..MAX_SKIPPED + 7 {
            list.skip(format!("{number}"), "a symbolic link");
        }
        assert_eq!((list.skipped.len(), list.skipped_count), (MAX_SKIPPED, MAX_SKIPPED as u64 + 7));
        assert!(!list.is_empty());
    }
}

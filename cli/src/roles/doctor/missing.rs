//! Leaves no folder behind that was not there before.

use std::path::{Component, Path, PathBuf};

/// The folders of a path that are not there yet. They are removed when this is dropped, if they are empty: doctor
/// leaves nothing.
pub(super) struct Missing(Vec<PathBuf>);

impl Missing {
    pub(super) fn before(path: &Path) -> Self {
        // Behind a folder that is missing, `..` may lead to one that is there.
        if path.components().any(|part| part == Component::ParentDir) {
            return Self(vec![]);
        }
        let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        Self(missing.map(Path::to_owned).collect())
    }
}

impl Drop for Missing {
    fn drop(&mut self) {
        // A role may have started meanwhile, and use them.
        self.0.iter().try_for_each(std::fs::remove_dir).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_empty_folders_that_were_not_there_go() {
        let top = tempfile::tempdir().unwrap();
        let [kept, made] = [top.path().join("kept"), top.path().join("new/made")];
        fs::create_dir(&kept).unwrap();
        for path in [&kept, &made, &top.path().join("missing/../kept")] {
            let missing = Missing::before(path);
            fs::create_dir_all(path).unwrap();
            drop(missing);
        }
        assert!(kept.is_dir() && !top.path().join("new").exists());
        let missing = Missing::before(&made);
        fs::create_dir_all(&made).unwrap();
        fs::write(made.join("file"), "x").unwrap();
        drop(missing);
        assert!(made.join("file").exists());
    }
}

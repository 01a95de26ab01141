//! The work directory as it will be: which path comes from which file or archive.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use events::ports::{ArchiveLimits, StagedFile, StagedUpload};

use crate::error::Error;
use crate::path::{RelativePath, base_name};

/// How many paths are proposed for one that is missing.
const MAX_CANDIDATES: usize = 5;

/// Every path of the work directory, with the uploaded file it comes from.
#[derive(Default)]
pub(super) struct Tree<'a>(BTreeMap<String, &'a str>);

impl<'a> Tree<'a> {
    /// Looks into the archives and refuses what has two sources.
    pub(super) async fn of(
        files: &'a [StagedFile],
        upload: &mut dyn StagedUpload,
        limits: &ArchiveLimits,
    ) -> Result<Self, Error> {
        let mut tree = Self::default();
        let mut entries = 0;
        for file in files {
            let source = file.name.as_str();
            if !file.name.is_archive() {
                tree.add(source.to_owned(), source)?;
                continue;
            }
            let paths = upload.list_archive(&file.name, limits).await?;
            entries += paths.len();
            if entries > limits.entries {
                return Err(Error::Invalid(format!("the archives hold more than {} files in all", limits.entries)));
            }
            for path in paths {
                tree.add(path, source)?;
            }
        }
        tree.refuse_files_as_folders()?;
        Ok(tree)
    }

    fn add(&mut self, path: String, source: &'a str) -> Result<(), Error> {
        match self.0.entry(path) {
            Entry::Vacant(free) => {
                free.insert(source);
                Ok(())
            }
            Entry::Occupied(taken) => Err(Error::Invalid(format!(
                "{:?} comes from two sources: {:?} and {source:?}",
                taken.key(),
                taken.get()
            ))),
        }
    }

    fn refuse_files_as_folders(&self) -> Result<(), Error> {
        for (path, source) in &self.0 {
            let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
            for folder in folders {
                if let Some(other) = self.0.get(folder) {
                    return Err(Error::Invalid(format!(
                        "{folder:?} is a file in {other:?} and a folder in {source:?}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Refuses a path that no file has, and proposes some that may have been meant.
    pub(super) fn must_hold(&self, field: &str, path: &RelativePath, ending: &str) -> Result<(), Error> {
        let path = path.as_str();
        if self.0.contains_key(path) {
            return Ok(());
        }
        let mut candidates: Vec<&str> = self.0.keys().map(String::as_str).collect();
        candidates.retain(|candidate| candidate.ends_with(ending));
        candidates.sort_by_key(|candidate| {
            let other_name = base_name(candidate) != base_name(path);
            (other_name, candidate.matches('/').count())
        });
        candidates.truncate(MAX_CANDIDATES);
        let missing = format!("{field} {path:?} is neither among the files nor in an archive");
        Err(Error::Invalid(if candidates.is_empty() {
            format!("{missing}, and no other {ending} file is")
        } else {
            format!("{missing}; candidates: {}", candidates.join(", "))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[(&str, &'static str)]) -> Result<Tree<'static>, String> {
        let mut tree = Tree::default();
        let mut build = || {
            for (path, source) in paths {
                tree.add((*path).to_owned(), source)?;
            }
            tree.refuse_files_as_folders()
        };
        match build() {
            Ok(()) => Ok(tree),
            Err(Error::Invalid(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_entrypoint_is_named_with_up_to_five_candidates() {
        let paths = ["z/main.py", "a.py", "b.py", "c/d/e.py", "f.py", "g.py", "config.yaml"];
        let paths: Vec<_> = paths.iter().map(|path| (*path, "code.zip")).collect();
        let tree = tree(&paths).unwrap();
        let main = RelativePath::parse("entrypoint", "main.py", ".py").unwrap();
        let Err(Error::Invalid(why)) = tree.must_hold("entrypoint", &main, ".py") else {
            panic!("it is not there");
        };
        assert_eq!(
            why,
            "entrypoint \"main.py\" is neither among the files nor in an archive; \
             candidates: z/main.py, a.py, b.py, f.py, g.py"
        );
        let there = RelativePath::parse("entrypoint", "c/d/e.py", ".py").unwrap();
        assert!(tree.must_hold("entrypoint", &there, ".py").is_ok());
    }

    #[test]
    fn two_sources_of_one_path_are_refused_by_name() {
        let why = tree(&[("main.py", "main.py"), ("main.py", "a.zip")]).err().unwrap();
        assert_eq!(why, "\"main.py\" comes from two sources: \"main.py\" and \"a.zip\"");
        let why = tree(&[("x.py", "x.py"), ("x.py/y", "a.zip")]).err().unwrap();
        assert_eq!(why, "\"x.py\" is a file in \"x.py\" and a folder in \"a.zip\"");
        assert!(tree(&[("x/a.py", "a.zip"), ("x/b.py", "b.zip")]).is_ok());
    }
}

//! The work directory as it will be: which path comes from which file or archive.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use events::ports::{ArchiveContents, ArchiveLimits, StagedFile, StagedUpload};
use events::submission::ArchiveReading;

use crate::answer::error::Error;
use crate::request::path::{RelativePath, base_name};

/// How many paths are proposed for one that is missing.
const MAX_CANDIDATES: usize = 5;

/// Every path of the work directory, with the uploaded file it comes from.
#[derive(Default)]
pub(super) struct Tree<'a> {
    paths: BTreeMap<String, &'a str>,
    /// How archives are read that are not read as they are.
    readings: Vec<ArchiveReading>,
    /// What the client should know of that.
    warnings: Vec<String>,
}

impl<'a> Tree<'a> {
    /// Reads the archives, chooses their roots, and refuses what has two sources.
    pub(super) async fn of(
        files: &'a [StagedFile],
        upload: &mut dyn StagedUpload,
        limits: &ArchiveLimits,
        entrypoint: &RelativePath,
    ) -> Result<Self, Error> {
        let mut sources = Vec::new();
        for file in files {
            let contents = if file.name.is_archive() {
                upload.read_archive(&file.name, limits).await?
            } else {
                ArchiveContents { paths: vec![file.name.as_str().to_owned()], ..ArchiveContents::default() }
            };
            sources.push((file.name.as_str(), contents));
        }
        Self::join(sources, entrypoint.as_str())
    }

    fn join(sources: Vec<(&'a str, ArchiveContents)>, entrypoint: &str) -> Result<Self, Error> {
        let chosen = root(&sources, entrypoint);
        let mut tree = Self::default();
        for (at, (source, contents)) in sources.into_iter().enumerate() {
            let root = contents.top_folder.clone().filter(|_| chosen == Some(at));
            tree.note(source, &contents, root.as_deref());
            for path in contents.paths {
                let path = match &root {
                    Some(root) => path[root.len() + 1..].to_owned(),
                    None => path,
                };
                tree.add(path, source)?;
            }
        }
        tree.refuse_files_as_folders()?;
        Ok(tree)
    }

    /// Keeps how an archive is read, if that is not as it is.
    fn note(&mut self, source: &str, contents: &ArchiveContents, root: Option<&str>) {
        let ArchiveContents { encoding, renamed, renamed_examples, ignored, .. } = contents;
        if let Some(root) = root {
            self.warnings.push(format!(
                "archive {source:?}: its single top folder {root:?} was taken as the root, because the entrypoint is only \
                 found there"
            ));
        }
        if let Some(place) = ignored {
            self.warnings.push(format!(
                "archive {source:?}: what it has {place} was ignored, such as another archive: upload each archive as a \
                 file of its own"
            ));
        }
        if *renamed > 0 {
            let what = match encoding {
                Some(encoding) => format!("names that are not UTF-8 were read as {encoding}"),
                None => "backslashes in names were read as slashes".to_owned(),
            };
            let examples: Vec<String> = renamed_examples.iter().map(|path| format!("{path:?}")).collect();
            let more = renamed - examples.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            self.warnings.push(format!("archive {source:?}: {what}: {}{more}", examples.join(", ")));
        }
        if root.is_some() || encoding.is_some() {
            let (root, encoding) = (root.map(str::to_owned), encoding.clone());
            self.readings.push(ArchiveReading { archive: source.to_owned(), root, encoding });
        }
    }

    /// How archives are read that are not read as they are, and what the client should know of that.
    pub(super) fn into_readings(self) -> (Vec<ArchiveReading>, Vec<String>) {
        (self.readings, self.warnings)
    }

    fn add(&mut self, path: String, source: &'a str) -> Result<(), Error> {
        match self.paths.entry(path) {
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
        for (path, source) in &self.paths {
            let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
            for folder in folders {
                if let Some(other) = self.paths.get(folder) {
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
        if self.paths.contains_key(path) {
            return Ok(());
        }
        let mut candidates: Vec<&str> = self.paths.keys().map(String::as_str).collect();
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

/// Which source's single top folder is the root: the one that has the entrypoint, if it is nowhere else.
fn root(sources: &[(&str, ArchiveContents)], entrypoint: &str) -> Option<usize> {
    if sources.iter().any(|(_, contents)| contents.paths.iter().any(|path| path == entrypoint)) {
        return None;
    }
    let has_below = |contents: &ArchiveContents| {
        let path = contents.top_folder.as_ref().map(|top| format!("{top}/{entrypoint}"));
        path.is_some_and(|wanted| contents.paths.contains(&wanted))
    };
    let mut having = sources.iter().enumerate().filter(|(_, (_, contents))| has_below(contents)).map(|(at, _)| at);
    having.next().filter(|_| having.next().is_none())
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

    fn archive(top: Option<&str>, paths: &[&str]) -> ArchiveContents {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        ArchiveContents { paths, top_folder: top.map(str::to_owned), ..ArchiveContents::default() }
    }

    fn joined(sources: &[(&'static str, ArchiveContents)], entrypoint: &str) -> (Vec<String>, Vec<Option<String>>) {
        let tree = Tree::join(sources.to_vec(), entrypoint).ok().unwrap();
        let roots = tree.readings.iter().map(|reading| reading.root.clone()).collect();
        assert_eq!(tree.warnings.len(), tree.readings.len(), "{:?}", tree.warnings);
        (tree.paths.into_keys().collect(), roots)
    }

    #[test]
    fn a_single_top_folder_is_the_root_only_if_the_entrypoint_is_nowhere_else() {
        let code = archive(Some("proj"), &["proj/main.py", "proj/src/a.py"]);
        let data = archive(Some("data"), &["data/a.csv"]);
        let config = archive(None, &["config.yaml"]);
        let roots = |root: &str| vec![Some(root.to_owned())];
        let all = [("code.zip", code.clone()), ("data.zip", data.clone()), ("config.yaml", config)];
        let paths = ["config.yaml", "data/a.csv", "main.py", "src/a.py"].map(str::to_owned).to_vec();
        assert_eq!(joined(&all, "main.py"), (paths, roots("proj")));
        assert_eq!(joined(&all, "src/a.py").1, roots("proj"));
        // It is where it was said to be, it is not there at all, or two have it.
        assert_eq!(joined(&all, "proj/main.py").1, []);
        assert_eq!(joined(&all, "other.py").1, []);
        let loose = archive(None, &["main.py"]);
        assert_eq!(joined(&[("main.py", loose), ("code.zip", code.clone())], "main.py").1, []);
        let other = archive(Some("old"), &["old/main.py"]);
        assert_eq!(joined(&[("a.zip", code.clone()), ("b.zip", other)], "main.py").1, []);
        let beside = archive(None, &["proj/main.py", "README"]);
        assert_eq!(joined(&[("a.zip", beside)], "main.py").1, []);
        let twice = [("config.yaml", archive(None, &["src/a.py"])), ("code.zip", code)];
        assert!(matches!(Tree::join(twice.to_vec(), "main.py"), Err(Error::Invalid(_))));
    }

    #[test]
    fn what_is_ignored_is_told() {
        let contents = ArchiveContents { ignored: Some("behind its end"), ..archive(None, &["main.py"]) };
        let (readings, warnings) = Tree::join(vec![("a.tar.gz", contents)], "main.py").ok().unwrap().into_readings();
        assert!(readings.is_empty() && warnings.len() == 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("archive \"a.tar.gz\": what it has behind its end was ignored"),
            "{warnings:?}"
        );
    }

    #[test]
    fn what_names_were_read_as_is_told() {
        let contents = ArchiveContents {
            encoding: Some("Shift_JIS".to_owned()),
            renamed: 7,
            renamed_examples: vec!["表.csv".to_owned()],
            ..archive(None, &["表.csv"])
        };
        let (readings, warnings) = Tree::join(vec![("a.zip", contents)], "main.py").ok().unwrap().into_readings();
        let encoding = Some("Shift_JIS".to_owned());
        assert_eq!(readings, [ArchiveReading { archive: "a.zip".to_owned(), root: None, encoding }]);
        assert_eq!(
            warnings,
            ["archive \"a.zip\": names that are not UTF-8 were read as Shift_JIS: \"表.csv\" and 6 more"]
        );
    }
}

//! Where the files of a run go below its root in `MLflow`.

use std::collections::{BTreeMap, HashSet};

use super::names::{FILES, assign};
use super::originals::{Original, tags};

/// The folder of what is ours, and not the job's.
const OUR_FOLDER: &str = "leadersboard";
/// So many tags at most tell of files' originals: 800,000 characters. A run with more of them can't be read any more.
const MAX_TAGS: usize = 100;

/// A place for each file, in the order of the paths, no two of them in each other's way. Where a path is refused, only
/// the components that are refused change.
pub(super) fn places(paths: &[&str]) -> Vec<String> {
    let mut placed = vec![String::new(); paths.len()];
    let rest: Vec<(usize, &str)> = paths.iter().copied().enumerate().collect();
    place("", &rest, &mut placed);
    placed
}

fn place(folder: &str, files: &[(usize, &str)], placed: &mut [String]) {
    let mut entries: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    for &(file, path) in files {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        entries.entry(name).or_default().push((file, rest));
    }
    let names: Vec<&str> = entries.keys().copied().collect();
    for (name, inside) in assign(&names, &FILES).into_iter().zip(entries.into_values()) {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let (here, below): (Vec<_>, Vec<_>) = inside.into_iter().partition(|(_, rest)| rest.is_empty());
        for (file, _) in here {
            placed[file].clone_from(&path);
        }
        if !below.is_empty() {
            place(&path, &below, placed);
        }
    }
}

/// A place for the log where no file is.
pub(super) fn place_of_log(taken: &[String]) -> String {
    let files: HashSet<&str> = taken.iter().map(String::as_str).collect();
    let is_folder =
        |path: &str| files.iter().any(|file| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
    let numbered = |stem: &str, end: &str, is_taken: &dyn Fn(&str) -> bool| {
        let mut candidate = format!("{stem}{end}");
        let mut number = 1;
        while is_taken(&candidate) {
            number += 1;
            candidate = format!("{stem}-{number}{end}");
        }
        candidate
    };
    let folder = numbered(OUR_FOLDER, "", &|path| files.contains(path));
    numbered(&format!("{folder}/log"), ".txt", &|path| files.contains(path) || is_folder(path))
}

/// The tags that tell of the paths that were changed.
pub(super) fn original_paths(paths: &[&str], places: &[String]) -> BTreeMap<String, String> {
    let changed = paths
        .iter()
        .zip(places)
        .filter(|(path, place)| *path != place)
        .map(|(path, place)| (place.clone(), Original { name: Some((*path).to_owned()), ..Original::default() }));
    let mut tags = tags("artifacts", &changed.collect());
    // The last ones by their number: what is read one after the other is not to break off before.
    let number = |name: &str| name.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(1);
    tags.retain(|name, _| number(name) <= MAX_TAGS);
    tags
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_folder_and_a_file_that_would_be_called_alike_are_kept_apart() {
        let paths = ["a#", "a?/x", "a_/y#.png", "a_/y_.png", "b/c d/é"];
        let got = places(&paths);
        assert_eq!(got, ["a__2", "a__3/x", "a_/y__2.png", "a_/y_.png", "b/c d/é"]);
        let tags = original_paths(&paths, &got);
        let told: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_str(&tags["leadersboard.originals.artifacts"]).unwrap();
        assert_eq!(told.len(), 3);
        assert_eq!(told["a__3/x"]["name"], "a?/x");
    }

    #[test]
    fn the_log_takes_nobodys_place() {
        let of = |taken: &[&str]| place_of_log(&taken.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["metrics.json"]), "leadersboard/log.txt");
        assert_eq!(of(&["leadersboard/log.txt", "leadersboard/log-2.txt/x"]), "leadersboard/log-3.txt");
        assert_eq!(of(&["leadersboard"]), "leadersboard-2/log.txt");
    }

    proptest! {
        #[test]
        fn every_file_has_a_place_of_its_own(
            paths in prop::collection::btree_set(prop::collection::vec("[ab#?_]{1,2}|[^/\\pC]{1,9}", 1..4), 0..40)
        ) {
            let joined: Vec<String> = paths.iter().map(|path| path.join("/")).collect();
            // What is a folder is no file.
            let is_folder = |path: &str| joined.iter().any(|other| other.starts_with(&format!("{path}/")));
            let files: Vec<&str> = joined.iter().map(String::as_str).filter(|path| !is_folder(path)).collect();
            let got = places(&files);
            prop_assert_eq!(got.iter().collect::<HashSet<_>>().len(), files.len());
            for place in &got {
                let folder = format!("{place}/");
                prop_assert!(!got.iter().any(|other| other.starts_with(&folder)));
            }
            let log = place_of_log(&got);
            prop_assert!(!got.contains(&log));
        }
    }
}

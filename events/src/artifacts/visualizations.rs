//! Which of the files that a run left are shown as pictures of its result, and under which name.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Artifact, ArtifactList, ArtifactPath};

/// All that is in this folder is shown.
const FOLDER: &str = "visualizations";

/// What a picture shows, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisualizationKind {
    /// `x_original.png`
    Original,
    /// `x_heatmap.png`
    Heatmap,
    /// `x_mask.png`
    Mask,
    /// `x_overlay.png`
    Overlay,
    /// Any other.
    Unknown,
}

impl VisualizationKind {
    /// The kind that a file name tells.
    #[must_use]
    pub fn of(file_name: &str) -> Self {
        let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
        let suffixes = [
            ("_original", Self::Original),
            ("_heatmap", Self::Heatmap),
            ("_mask", Self::Mask),
            ("_overlay", Self::Overlay),
        ];
        let known = suffixes.into_iter().find(|(suffix, _)| stem.ends_with(suffix));
        known.map_or(Self::Unknown, |(_, kind)| kind)
    }
}

/// A file that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visualization<'a> {
    /// The name under which it is shown: no two of a run have the same.
    pub file_name: String,
    /// What it shows.
    pub kind: VisualizationKind,
    /// The file.
    pub artifact: &'a Artifact,
}

/// Whether a file is shown: it is in the folder `visualizations`, or a PNG elsewhere whose name tells what it shows.
#[must_use]
pub fn is_visualization(path: &ArtifactPath) -> bool {
    if path.is_within(FOLDER) {
        return path.as_str() != FOLDER;
    }
    let name = path.file_name();
    let is_png = name.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("png"));
    is_png && VisualizationKind::of(name) != VisualizationKind::Unknown
}

/// The files of a list that are shown, by name.
///
/// A file directly in the folder keeps its name. Any other is shown under its last component too, unless that is taken:
/// then under its whole path, with `_` for `/`, and should that be taken as well, with a number before it. What comes
/// first by path is named first, so that the same list always gives the same names.
#[must_use]
pub fn visualizations(list: &ArtifactList) -> Vec<Visualization<'_>> {
    let mut shown: Vec<&Artifact> = list.files.iter().filter(|file| is_visualization(&file.path)).collect();
    let is_direct = |file: &Artifact| below_folder(&file.path).is_some_and(|rest| !rest.contains('/'));
    shown.sort_by(|one, other| (!is_direct(one), &one.path).cmp(&(!is_direct(other), &other.path)));
    // Tables are fetched by their own names.
    let tables = list.files.iter().filter(|file| is_table(&file.path));
    let mut taken: HashSet<String> = tables.map(|file| file.path.to_string()).collect();
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let mut all: Vec<Visualization<'_>> = shown
        .into_iter()
        .map(|artifact| {
            let file_name = free_name(&artifact.path, &mut taken, &mut numbers);
            Visualization { kind: VisualizationKind::of(artifact.path.file_name()), file_name, artifact }
        })
        .collect();
    all.sort_unstable_by(|one, other| one.file_name.cmp(&other.file_name));
    all
}

/// Whether a file is a table: `*.csv` directly in the output.
#[must_use]
pub fn is_table(path: &ArtifactPath) -> bool {
    let path = path.as_str();
    !path.contains('/') && !path.starts_with('.') && path.ends_with(".csv")
}

fn below_folder(path: &ArtifactPath) -> Option<&str> {
    path.as_str().strip_prefix(FOLDER)?.strip_prefix('/')
}

fn free_name(path: &ArtifactPath, taken: &mut HashSet<String>, numbers: &mut HashMap<String, u64>) -> String {
    let joined = below_folder(path).unwrap_or(path.as_str()).replace('/', "_");
    for name in [path.file_name(), &joined] {
        if taken.insert(name.to_owned()) {
            return name.to_owned();
        }
    }
    let number = numbers.entry(joined.clone()).or_insert(1);
    loop {
        *number += 1;
        let name = format!("{number}_{joined}");
        if taken.insert(name.clone()) {
            return name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: &[&str]) -> ArtifactList {
        let file = |path: &&str| Artifact { path: path.parse().unwrap(), bytes: 1, sha256: String::new() };
        ArtifactList { files: paths.iter().map(file).collect(), ..ArtifactList::default() }
    }

    fn names(paths: &[&str]) -> Vec<(String, String)> {
        let list = list(paths);
        visualizations(&list).into_iter().map(|v| (v.file_name, v.artifact.path.to_string())).collect()
    }

    #[test]
    fn the_end_of_a_name_tells_what_a_picture_shows() {
        use VisualizationKind as K;
        for (name, kind) in [
            ("x_original.png", K::Original),
            ("x_heatmap.jpg", K::Heatmap),
            ("a.b_mask.png", K::Mask),
            ("x_overlay", K::Overlay),
            ("heatmap.png", K::Unknown),
            ("x_heatmap_2.png", K::Unknown),
        ] {
            assert_eq!(K::of(name), kind, "{name}");
        }
    }

    #[test]
    fn pictures_from_anywhere_are_shown_beside_those_of_the_folder() {
        let shown = names(&[
            "deep/er/b_mask.PNG",
            "metrics.json",
            "plot.png",
            "visualizations/a_heatmap.png",
            "visualizations/notes.txt",
            "visualizations",
            "x_heatmap.txt",
        ]);
        let wanted = [
            ("a_heatmap.png", "visualizations/a_heatmap.png"),
            ("b_mask.PNG", "deep/er/b_mask.PNG"),
            ("notes.txt", "visualizations/notes.txt"),
        ];
        assert_eq!(shown, wanted.map(|(name, path)| (name.to_owned(), path.to_owned())));
    }

    #[test]
    fn tables_are_directly_in_the_output_and_keep_their_names() {
        let is_table = |path: &&str| is_table(&path.parse().unwrap());
        let paths = ["preds.csv", "a/b.csv", "B.CSV", "csv", ".csv", "a.csv.gz", "visualizations/c.csv", "zoë.csv"];
        assert_eq!(paths.into_iter().filter(is_table).collect::<Vec<_>>(), ["preds.csv", "zoë.csv"]);
        let shown = names(&["preds.csv", "visualizations/preds.csv", "visualizations/others.csv"]);
        let shown: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(shown, ["2_preds.csv", "others.csv"]);
    }

    #[test]
    fn no_two_have_one_name_and_the_folders_own_come_first() {
        let paths = [
            "a/x_mask.png",
            "a_x_mask.png",
            "b/x_mask.png",
            "b_x_mask.png",
            "visualizations/b/x_mask.png",
            "visualizations/x_mask.png",
        ];
        let shown = names(&paths);
        let wanted = [
            ("2_a_x_mask.png", "a_x_mask.png"),
            ("2_b_x_mask.png", "b_x_mask.png"),
            ("3_b_x_mask.png", "visualizations/b/x_mask.png"),
            ("a_x_mask.png", "a/x_mask.png"),
            ("b_x_mask.png", "b/x_mask.png"),
            ("x_mask.png", "visualizations/x_mask.png"),
        ];
        assert_eq!(shown, wanted.map(|(name, path)| (name.to_owned(), path.to_owned())));
        let mut turned = paths;
        turned.reverse();
        assert_eq!(names(&turned), shown);
    }
}

//! No two files of a crate import each other in a circle.
//!
//! An import is a path that the source names. A method called on a type, whose `impl` is in another file, is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use leadersboard_tests::board::repository;

use super::source_tree::SourceTree;

/// The root of each crate, and of each program of the tests.
const ROOTS: [&str; 13] = [
    "adapters/src/lib.rs",
    "api/src/lib.rs",
    "cli/src/main.rs",
    "events/src/lib.rs",
    "migrations/src/lib.rs",
    "projections/src/lib.rs",
    "worker/src/lib.rs",
    "tests/src/lib.rs",
    "tests/bench/main.rs",
    "tests/chaos/main.rs",
    "tests/failpoints/main.rs",
    "tests/it/main.rs",
    "tests/sandbox/main.rs",
];

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let mut found = vec![];
    for root in ROOTS.map(Path::new) {
        let name = root.parent().expect("a file is in a folder");
        let circles = circles(&repository().join(root));
        found.extend(circles.iter().map(|circle| circle.told(&repository().join(name), &name.display().to_string())));
    }
    assert!(found.is_empty(), "files import each other in a circle:\n{}", found.join("\n"));
}

#[test]
fn a_circle_is_found_however_its_files_name_each_other() {
    let tree = [
        ("lib.rs", "pub mod a;\nmod alone;\nmod b;\nmod c;\nmod group;\npub use a::A;\n#[cfg(test)]\nmod tests;\n"),
        // Through a re-export of the root.
        ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
        ("b.rs", "pub struct B;\nfn of(_: &crate::A) {}\n"),
        // Of a child module, within a macro, and of a parent.
        ("group/mod.rs", "mod one;\nmod two;\npub use one::One;\nfn of() { two::of() }\npub struct Top(One);\n"),
        ("group/one.rs", "pub struct One;\nfn text() -> String { format!(\"{}\", super::two::of()) }\n"),
        ("group/two.rs", "use super::{One, Top};\npub fn of() -> u8 { 1 }\n"),
        // No circle: only tests look back.
        ("c.rs", "pub struct C;\n#[cfg(test)]\nmod tests { use crate::alone::Alone; }\n"),
        ("alone.rs", "use crate::c::C;\npub struct Alone(C);\n#[cfg(test)]\nfn of(_: crate::A) {}\n"),
        ("tests.rs", "use crate::a::A;\n"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("group")).expect("a folder");
    for (name, text) in tree {
        fs::write(folder.path().join(name), text).expect("written");
    }
    let found: Vec<String> =
        circles(&folder.path().join("lib.rs")).iter().map(|circle| circle.told(folder.path(), "src")).collect();
    assert_eq!(
        found,
        [
            "src/a.rs imports src/b.rs\nsrc/b.rs imports src/a.rs",
            "src/group/mod.rs imports src/group/one.rs, src/group/two.rs\nsrc/group/one.rs imports src/group/two.rs\n\
             src/group/two.rs imports src/group/mod.rs, src/group/one.rs",
        ]
    );
}

/// Files that import each other, and what each imports of the others.
struct Circle(BTreeMap<PathBuf, BTreeSet<PathBuf>>);

impl Circle {
    fn told(&self, folder: &Path, name: &str) -> String {
        let short = |file: &PathBuf| {
            let file = file.strip_prefix(folder).unwrap_or(file);
            format!("{name}/{}", file.display())
        };
        let line = |(file, imported): (&PathBuf, &BTreeSet<PathBuf>)| {
            let imported: Vec<String> = imported.iter().map(short).collect();
            format!("{} imports {}", short(file), imported.join(", "))
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Returns the circles of a crate, by its root file.
fn circles(root: &Path) -> Vec<Circle> {
    let imports = SourceTree::read(root).imports();
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        imports.keys().map(|file| (file, reached_from(file, &imports))).collect();
    let circle_of = |file: &PathBuf| -> BTreeSet<&PathBuf> {
        reached[file].iter().copied().filter(|other| reached[other].contains(file)).collect()
    };
    let circles: BTreeSet<BTreeSet<&PathBuf>> =
        imports.keys().map(circle_of).filter(|circle| !circle.is_empty()).collect();
    let edges = |circle: BTreeSet<&PathBuf>| {
        let within = |file: &PathBuf| imports[file].iter().filter(|other| circle.contains(other)).cloned().collect();
        Circle(circle.iter().map(|file| ((*file).clone(), within(file))).collect())
    };
    circles.into_iter().map(edges).collect()
}

/// Returns the files that a file imports, directly or by others.
fn reached_from<'a>(file: &'a PathBuf, imports: &'a BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let mut left = vec![file];
    while let Some(file) = left.pop() {
        left.extend(imports[file].iter().filter(|next| reached.insert(*next)));
    }
    reached
}

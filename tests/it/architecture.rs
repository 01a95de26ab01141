//! Dependencies point one way, between crates and between files, and every folder can be surveyed.

mod circles;
mod source_tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};
use leadersboard_tests::board::repository;

const OURS: &str = "leadersboard-";

/// Every crate and what it names, of ours by their short names; development dependencies count where `kind` says so.
fn dependencies(kinds: &[DependencyKind]) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata runs");
    let short = |name: &str| name.strip_prefix(OURS).unwrap_or(name).to_owned();
    let of = |package: &cargo_metadata::Package| {
        let named = package.dependencies.iter().filter(|dependency| kinds.contains(&dependency.kind));
        (short(&package.name), named.map(|dependency| short(&dependency.name)).collect())
    };
    metadata.workspace_packages().into_iter().map(of).collect()
}

#[test]
fn our_crates_know_only_what_stands_before_them() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("events", &[][..]),
        ("projections", &["events"]),
        ("adapters", &["events", "projections"]),
        ("migrations", &["projections"]),
        ("api", &["events"]),
        ("worker", &["events"]),
        ("cli", &["adapters", "api", "events", "migrations", "projections", "worker"]),
        ("tests", &["adapters", "events", "migrations", "projections"]),
    ]);
    let found = dependencies(&[DependencyKind::Normal, DependencyKind::Build]);
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), allowed.keys().copied().collect::<Vec<_>>());
    for (name, named) in &found {
        let ours: Vec<&str> = named.iter().map(String::as_str).filter(|name| found.contains_key(*name)).collect();
        assert_eq!(ours, allowed[name.as_str()], "what {name} names of ours");
    }
}

/// Source files that a folder may hold.
const MAX_FILES: usize = 14;

#[test]
fn no_folder_holds_more_files_than_a_reader_can_survey() {
    let crates = dependencies(&[]);
    let sources = crates.keys().map(|name| repository().join(name).join("src"));
    let mut folders: Vec<PathBuf> = sources.collect();
    let mut crowded = vec![];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        let (within, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
        if files.len() > MAX_FILES {
            crowded.push(format!("{} holds {} files", folder.display(), files.len()));
        }
        folders.extend(within);
    }
    assert!(crowded.is_empty(), "at most {MAX_FILES} files may lie in a folder; make rooms:\n{}", crowded.join("\n"));
}

#[test]
fn each_outside_world_has_its_one_place() {
    let places: [(&str, &[&str]); 5] = [
        ("redis", &["adapters", "migrations", "tests"]),
        ("axum", &["api"]),
        ("nvml-wrapper", &["worker"]),
        ("object_store", &["adapters"]),
        ("reqwest", &["adapters", "cli", "tests"]),
    ];
    let found = dependencies(&[DependencyKind::Normal, DependencyKind::Build]);
    for (outside, inside) in places {
        let naming = found.iter().filter(|(_, named)| named.contains(outside)).map(|(name, _)| name.as_str());
        let strangers: Vec<&str> = naming.filter(|name| !inside.contains(name)).collect();
        assert!(strangers.is_empty(), "{strangers:?} must not name {outside}");
    }
}

#[test]
fn the_domain_does_no_input_or_output_not_even_in_its_tests() {
    let kinds = [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development];
    let found = dependencies(&kinds);
    let known = ["async-trait", "bytes", "chrono", "futures", "proptest", "serde", "serde_json", "thiserror", "uuid"];
    let strangers: Vec<_> = found["events"].iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(strangers.is_empty(), "{strangers:?}: is it free of input and output? Then add it here");
}

#[test]
fn every_dependency_is_used() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata runs");
    let mut unused = vec![];
    for package in metadata.workspace_packages() {
        let root = package.manifest_path.parent().expect("a folder").as_std_path();
        let mut git = Command::new("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"]);
        let files = git.current_dir(root).output().expect("git runs").stdout;
        let paths = String::from_utf8(files).expect("names in UTF-8");
        let sources: String = paths.lines().filter_map(|path| fs::read_to_string(root.join(path)).ok()).collect();
        let is_named = |name: &str| sources.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
            if !is_named(&name) {
                unused.push(format!("{} names {name} and does not use it", package.name));
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

/// The document describes the routes that `OpenApiRouter::routes` registers. It would miss a route that is added in
/// another way.
#[test]
fn a_route_is_registered_with_its_description() {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "api/src", "cli/src", "worker/src"]);
    let files = git.current_dir(repository()).output().expect("git runs").stdout;
    let files = String::from_utf8(files).expect("names in UTF-8");
    let mut plain = vec![];
    for path in files.lines().filter(|path| path.ends_with(".rs")) {
        let text = fs::read_to_string(repository().join(path)).unwrap_or_default();
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        for way in [".route(", ".route_service(", ".nest(", ".nest_service(", ".fallback_service(", "axum::routing"] {
            if production.contains(way) {
                plain.push(format!("{path} has {way}"));
            }
        }
    }
    assert!(plain.is_empty(), "register these with `routes!`: {plain:?}");
}

/// With either of them an object of a stranger's that has a certain name is read as something else, past every limit. A
/// feature that one crate turns on is on for all that are built with it.
#[test]
fn no_name_in_a_strangers_json_has_a_meaning_to_its_reader() {
    let metadata = MetadataCommand::new().exec().expect("cargo metadata runs");
    let resolve = metadata.resolve.as_ref().expect("what is built");
    let readers = resolve.nodes.iter().filter(|node| metadata[&node.id].name.as_str() == "serde_json");
    let mut readers = readers.peekable();
    assert!(readers.peek().is_some(), "serde_json is built");
    for reader in readers {
        let features: Vec<&str> = reader.features.iter().map(|feature| feature.as_str()).collect();
        for forbidden in ["raw_value", "arbitrary_precision"] {
            assert!(!features.contains(&forbidden), "{}: something turns on {forbidden}", reader.id);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "which program is tested is an argument of the run")]
fn a_program_for_users_has_no_failpoint() {
    let program = leadersboard_tests::board::binary();
    let for_faults = std::env::var_os("LEADERSBOARD_BINARY").is_some();
    for name in ["claim.after", "heartbeat.before", "LEADERSBOARD_SANDBOX_FLOOR"] {
        let grep = Command::new("grep").args(["-qaF", name]).arg(&program).status().expect("grep runs");
        assert_eq!(grep.code(), Some(i32::from(!for_faults)), "{name}");
    }
}

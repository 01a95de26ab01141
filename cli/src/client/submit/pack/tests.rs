//! Folders on disk, packed.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use events::ports::ArchiveLimits;
use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let default = [("main.py", "print()"), ("config.yaml", "a: 1")];
    for (path, content) in default.iter().chain(files) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn plan(folder: &TempDir) -> Plan {
    Plan {
        folder: folder.path().to_owned(),
        entrypoint: "main.py".into(),
        config_file: "config.yaml".into(),
        server_data: folder.path().join("data"),
        limits: Limits::default(),
    }
}

fn build(plan: &Plan) -> Result<Package, String> {
    Package::build(plan, &AtomicBool::new(false)).map_err(|error| error.sentence().unwrap())
}

fn paths(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.path.as_str()).collect()
}

fn unpack(package: &mut Package) -> BTreeMap<String, (u32, String)> {
    let bundle = package.bundle.as_mut().unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(&mut bundle.file));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), (entry.header().mode().unwrap(), content))
    });
    entries.collect()
}

#[test]
fn code_at_the_top_goes_as_it_is_and_all_else_in_one_archive() {
    let folder = folder(&[
        ("model.py", ""),
        ("extra.yaml", ""),
        ("old.yml", ""),
        ("data.zip", "PK"),
        ("net/__init__.py", ""),
        ("net/a.py", "x = 1"),
        ("run.sh", "#!/bin/sh"),
    ]);
    fs::set_permissions(folder.path().join("run.sh"), Permissions::from_mode(0o700)).unwrap();
    let mut package = build(&plan(&folder)).unwrap();
    assert_eq!(paths(&package.loose), ["config.yaml", "extra.yaml", "main.py", "model.py"]);
    assert_eq!(paths(&package.bundled), ["data.zip", "net/__init__.py", "net/a.py", "old.yml", "run.sh"]);
    assert_eq!(package.count(), 5);
    let unpacked = unpack(&mut package);
    assert_eq!(unpacked["net/a.py"], (0o644, "x = 1".into()));
    assert_eq!(unpacked["run.sh"], (0o755, "#!/bin/sh".into()));
    assert_eq!(unpacked.len(), package.bundled.len());
}

#[test]
fn a_folder_of_code_alone_needs_no_archive() {
    assert!(build(&plan(&folder(&[]))).unwrap().bundle.is_none());
}

#[test]
fn ignored_and_hidden_files_stay_at_home() {
    let folder = folder(&[
        (".gitignore", "*.ckpt\n/scratch/\n"),
        (".ignore", "notes.txt\n"),
        ("sub/.gitignore", "local.csv\n"),
        ("sub/local.csv", ""),
        ("sub/kept.csv", ""),
        ("model.ckpt", ""),
        ("notes.txt", ""),
        ("scratch/x.txt", ""),
        (".env", "SECRET=1"),
        (".git/config", ""),
        ("sub/__pycache__/a.pyc", ""),
    ]);
    let package = build(&plan(&folder)).unwrap();
    assert_eq!(paths(&package.bundled), ["sub/kept.csv"]);
    assert_eq!(package.left_out, Vec::<String>::new());
}

#[test]
fn ignore_files_above_count_only_inside_a_repository() {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join(".gitignore"), "*.txt\n").unwrap();
    let inner = folder(&[("a.txt", "")]);
    let moved = outer.path().join("submission");
    fs::rename(inner.path(), &moved).unwrap();
    let plan = Plan { folder: moved, ..plan(&inner) };
    assert_eq!(paths(&build(&plan).unwrap().bundled), ["a.txt"]);
    fs::create_dir(outer.path().join(".git")).unwrap();
    assert_eq!(paths(&build(&plan).unwrap().bundled), Vec::<&str>::new());
}

#[test]
fn environments_and_a_servers_data_are_left_out_and_told() {
    let folder = folder(&[
        ("venv/pyvenv.cfg", ""),
        ("venv/lib/x.py", ""),
        ("data/client.json", "{}"),
        ("data/uploads/x", ""),
        ("other/client.json", "{}"),
    ]);
    symlink("/usr/bin/python3", folder.path().join("venv/python")).unwrap();
    let package = build(&plan(&folder)).unwrap();
    assert_eq!(paths(&package.bundled), ["other/client.json"]);
    assert_eq!(package.left_out.len(), 2, "{:?}", package.left_out);
}

#[test]
fn a_folder_of_data_that_is_no_servers_is_sent() {
    let package = build(&plan(&folder(&[("data/train.csv", "1")]))).unwrap();
    assert_eq!(paths(&package.bundled), ["data/train.csv"]);
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let bytes = |age: u64| {
        let folder = folder(&[("net/b.py", "b"), ("net/a.py", "a"), ("a.txt", "t")]);
        let past = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
        File::options().write(true).open(folder.path().join("a.txt")).unwrap().set_modified(past).unwrap();
        let mut bytes = Vec::new();
        build(&plan(&folder)).unwrap().bundle.unwrap().file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(1_000), bytes(2_000_000));
}

#[test]
fn a_long_path_survives() {
    let long = format!("{}/file.txt", ["a-rather-long-folder-name"; 10].join("/"));
    let folder = folder(&[(&long, "deep")]);
    let mut package = build(&plan(&folder)).unwrap();
    assert_eq!(unpack(&mut package)[&long].1, "deep");
}

#[test]
fn links_are_refused_by_name_unless_ignored() {
    let folder = folder(&[]);
    symlink("/etc/passwd", folder.path().join("users.txt")).unwrap();
    let sentence = build(&plan(&folder)).unwrap_err();
    assert!(sentence.contains("users.txt is a symbolic link"), "{sentence}");
    fs::write(folder.path().join(".gitignore"), "users.txt").unwrap();
    build(&plan(&folder)).unwrap();
}

#[test]
fn a_missing_entrypoint_comes_with_candidates() {
    let folder = folder(&[("src/train.py", ""), ("eval.py", "")]);
    let plan = Plan { entrypoint: "train.py".into(), ..plan(&folder) };
    let sentence = build(&plan).unwrap_err();
    assert!(sentence.contains("no train.py"), "{sentence}");
    assert!(sentence.contains("--entrypoint; candidates are src/train.py, eval.py, main.py"), "{sentence}");
    build(&Plan { entrypoint: "./src/train.py".into(), ..plan }).unwrap();
}

#[test]
fn an_ignored_entrypoint_is_told_from_a_missing_one() {
    let folder = folder(&[(".gitignore", "main.py")]);
    let sentence = build(&plan(&folder)).unwrap_err();
    assert!(sentence.contains("would be left out"), "{sentence}");
}

#[test]
fn names_that_the_server_refuses_are_refused_here() {
    let folder = folder(&[]);
    for bad in ["../main.py", "/main.py", "main.sh", "a\\main.py", ""] {
        let plan = Plan { entrypoint: bad.into(), ..plan(&folder) };
        assert!(build(&plan).unwrap_err().contains("--entrypoint"), "{bad:?}");
    }
}

#[test]
fn limits_hold_for_what_is_sent() {
    let folder = folder(&[("big.txt", "big"), ("long.py", "# 456789 123456789")]);
    let limited = |limits: Limits| build(&Plan { limits, ..plan(&folder) }).unwrap_err();
    let wide = Limits::default();
    let sentence = limited(Limits { file_bytes: 40, ..wide });
    assert!(sentence.contains("largest files are big.txt"), "{sentence}");
    assert!(limited(Limits { file_bytes: 10, ..wide }).contains("long.py is 18 B"));
    assert!(limited(Limits { files: 3, ..wide }).contains("4 files to send, 3 are the most"));
    assert!(limited(Limits { total_bytes: 100, ..wide }).contains("100 B are the most"));
}

#[test]
fn packing_ends_when_it_is_told_to() {
    let folder = folder(&[("a.txt", "a")]);
    Package::build(&plan(&folder), &AtomicBool::new(true)).unwrap_err();
}

#[test]
fn a_file_is_no_folder() {
    let folder = folder(&[]);
    let plan = Plan { folder: folder.path().join("main.py"), ..plan(&folder) };
    assert!(build(&plan).unwrap_err().contains("give the folder"));
}

#[test]
fn honest_data_is_packed_however_tightly_and_what_a_server_refuses_is_told_before() {
    let folder = folder(&[]);
    let zeros = vec![0; 4 << 20];
    for name in ["zeros.npy", "mask-1.png", "mask-2.png"] {
        fs::write(folder.path().join(name), &zeros).unwrap();
    }
    build(&plan(&folder)).unwrap();

    let wide = Limits::default();
    let refusal =
        |archive: ArchiveLimits| build(&Plan { limits: Limits { archive, ..wide }, ..plan(&folder) }).unwrap_err();
    let sentence = refusal(ArchiveLimits { ratio_from_bytes: 1 << 20, ratio: 100, ..wide.archive });
    assert!(sentence.contains("\"mask-1.png\" inflates") && sentence.contains("would refuse"), "{sentence}");
    let sentence = refusal(ArchiveLimits { unpacked_bytes: 9 << 20, ..wide.archive });
    assert!(sentence.contains("more than 9 MiB at entry \"zeros.npy\""), "{sentence}");
    let sentence = refusal(ArchiveLimits { entries: 2, ..wide.archive });
    assert!(sentence.contains("more than 2 entries"), "{sentence}");

    fs::write(folder.path().join("a\\b.csv"), "").unwrap();
    let sentence = build(&plan(&folder)).unwrap_err();
    assert!(sentence.contains("a\\\\b.csv") && sentence.contains("rename"), "{sentence}");
}

#[test]
fn a_name_that_python_would_take_for_an_option_is_refused_before_anything_is_sent() {
    let folder = folder(&[("-c.py", ""), ("-m.yaml", ""), ("a/-c.py", "")]);
    for name in ["-c.py", "./-c.py"] {
        let refused = build(&Plan { entrypoint: name.into(), ..plan(&folder) }).unwrap_err();
        assert!(refused.contains("begins with '-'") && refused.contains(name), "{refused}");
    }
    let refused = build(&Plan { config_file: "-m.yaml".into(), ..plan(&folder) }).unwrap_err();
    assert!(refused.contains("--config \"-m.yaml\" begins with '-'"), "{refused}");
    assert_eq!(build(&Plan { entrypoint: "a/-c.py".into(), ..plan(&folder) }).unwrap().entrypoint, "a/-c.py");
}

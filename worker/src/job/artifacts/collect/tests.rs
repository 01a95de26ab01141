use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use async_trait::async_trait;
use bytes::Bytes;
use events::artifacts::MAX_SKIPPED;
use events::ports::StagedArtifact;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{geteuid, mkfifo};

use super::*;

/// Storage in memory.
#[derive(Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    current: Option<String>,
    /// Fails once it holds as many files.
    room: Option<usize>,
}

#[async_trait]
impl StagedArtifacts for Memory {
    fn begin(&mut self, path: &ArtifactPath) -> Result<(), PortError> {
        if self.room == Some(self.files.len()) {
            return Err(PortError::Unavailable("the disk is full".into()));
        }
        self.files.insert(path.to_string(), vec![]);
        self.current = Some(path.to_string());
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), PortError> {
        self.files.get_mut(self.current.as_ref().unwrap()).unwrap().extend_from_slice(chunk);
        Ok(())
    }

    fn finish(&mut self) -> Result<StagedArtifact, PortError> {
        let bytes = self.files[&self.current.take().unwrap()].len() as u64;
        Ok(StagedArtifact { bytes, sha256: String::new() })
    }

    fn discard(&mut self) -> Result<(), PortError> {
        self.files.remove(&self.current.take().unwrap());
        Ok(())
    }

    async fn publish(self: Box<Self>, _list: Bytes) -> Result<String, PortError> {
        unreachable!("these tests end before")
    }
}

const LIMITS: ArtifactLimits = ArtifactLimits { bytes: 1 << 20, files: 100 };

/// What is collected of an output directory with these things in it.
fn collected(limits: ArtifactLimits, plant: impl FnOnce(&Path)) -> (ArtifactList, Memory) {
    let output = tempfile::tempdir().unwrap();
    plant(output.path());
    let mut staged = Memory::default();
    let list = collect(output.path(), &mut staged, limits, &Pulse::default()).unwrap().list;
    (list, staged)
}

fn paths(list: &ArtifactList) -> Vec<&str> {
    let mut paths: Vec<&str> = list.files.iter().map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    paths
}

fn reason<'a>(list: &'a ArtifactList, path: &str) -> &'a str {
    let skipped = list.skipped.iter().find(|skipped| skipped.path == path);
    &skipped.unwrap_or_else(|| panic!("{path} was not skipped: {list:?}")).reason
}

#[test]
fn files_are_copied_and_whatever_else_a_job_may_plant_is_named_with_the_reason() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("secret"), "secret").unwrap();
    let (list, staged) = collected(LIMITS, |output| {
        fs::create_dir_all(output.join("a/b")).unwrap();
        fs::write(output.join("a/b/deep.bin"), vec![7; 300_000]).unwrap();
        fs::write(output.join("metrics.json"), "{}").unwrap();
        fs::write(output.join("empty"), "").unwrap();
        symlink(elsewhere.path().join("secret"), output.join("link")).unwrap();
        symlink(elsewhere.path(), output.join("link_to_folder")).unwrap();
        symlink("/nowhere", output.join("broken_link")).unwrap();
        fs::hard_link(elsewhere.path().join("secret"), output.join("twin")).unwrap();
        mkfifo(&output.join("fifo"), Mode::S_IRWXU).unwrap();
        drop(UnixListener::bind(output.join("socket")).unwrap());
        fs::write(output.join(OsStr::from_bytes(b"\xff.txt")), "x").unwrap();
        fs::write(output.join("new\nline"), "x").unwrap();
    });
    assert_eq!(paths(&list), ["a/b/deep.bin", "empty", "metrics.json"]);
    assert_eq!(staged.files["a/b/deep.bin"], vec![7; 300_000]);
    assert_eq!(staged.files.len(), 3);
    for (path, word) in [
        ("link", "symbolic link"),
        ("link_to_folder", "symbolic link"),
        ("broken_link", "symbolic link"),
        ("twin", "hard link"),
        ("fifo", "fifo"),
        ("socket", "socket"),
        ("\u{fffd}.txt", "UTF-8"),
        ("new\nline", "control character"),
    ] {
        assert!(reason(&list, path).contains(word), "{path}: {list:?}");
    }
    assert_eq!((list.skipped_count, list.left_out_count), (8, 0));
}

#[test]
fn all_names_of_a_file_in_there_are_kept_and_none_of_a_file_that_has_one_elsewhere() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (list, staged) = collected(LIMITS, |output| {
        fs::create_dir(output.join("epochs")).unwrap();
        fs::write(output.join("epochs/9.ckpt"), "weights").unwrap();
        fs::hard_link(output.join("epochs/9.ckpt"), output.join("best.ckpt")).unwrap();
        fs::hard_link(output.join("epochs/9.ckpt"), output.join("last.ckpt")).unwrap();
        fs::write(output.join("outer"), "secret").unwrap();
        fs::hard_link(output.join("outer"), output.join("outer_too")).unwrap();
        fs::hard_link(output.join("outer"), elsewhere.path().join("outer")).unwrap();
    });
    assert_eq!(paths(&list), ["best.ckpt", "epochs/9.ckpt", "last.ckpt"]);
    assert!(staged.files.values().all(|content| content == b"weights"));
    assert!(reason(&list, "outer").contains("hard link") && reason(&list, "outer_too").contains("hard link"));
}

#[test]
fn a_link_to_something_else_in_there_is_missed_by_nobody() {
    let elsewhere = tempfile::tempdir().unwrap();
    let missed = |plant: &dyn Fn(&Path)| {
        let output = tempfile::tempdir().unwrap();
        fs::create_dir_all(output.path().join("runs/version_0")).unwrap();
        fs::write(output.path().join("runs/version_0/last.ckpt"), "x").unwrap();
        plant(output.path());
        let collected = collect(output.path(), &mut Memory::default(), LIMITS, &Pulse::default()).unwrap();
        assert_eq!((collected.list.files.len(), collected.list.skipped_count), (1, 1), "{collected:?}");
        collected.missed
    };
    let inner: [&dyn Fn(&Path); 6] = [
        &|output| symlink("version_0", output.join("runs/latest")).unwrap(),
        &|output| symlink("runs/version_0/last.ckpt", output.join("last.ckpt")).unwrap(),
        &|output| symlink("../runs/version_0", output.join("runs/latest")).unwrap(),
        &|output| symlink(output.join("runs"), output.join("latest")).unwrap(),
        &|output| symlink("removed.ckpt", output.join("latest")).unwrap(),
        &|output| symlink("latest", output.join("latest")).unwrap(),
    ];
    for plant in inner {
        assert_eq!(missed(plant), 0);
    }
    let outer: [&dyn Fn(&Path); 5] = [
        &|output| symlink("/etc/passwd", output.join("latest")).unwrap(),
        &|output| symlink(elsewhere.path(), output.join("latest")).unwrap(),
        &|output| symlink("../../etc", output.join("runs/latest")).unwrap(),
        &|output| symlink(output.join("../x"), output.join("latest")).unwrap(),
        &|output| symlink("/proc/self/fd/0", output.join("latest")).unwrap(),
    ];
    for plant in outer {
        assert_eq!(missed(plant), 1);
    }
}

#[test]
fn a_device_is_never_opened() {
    if !geteuid().is_root() {
        // Nobody else can plant one.
        return;
    }
    let (list, _) = collected(LIMITS, |output| {
        for (name, kind) in [("zero", SFlag::S_IFCHR), ("disk", SFlag::S_IFBLK)] {
            mknod(&output.join(name), kind, Mode::S_IRWXU, makedev(1, 5)).unwrap();
        }
    });
    assert_eq!((reason(&list, "zero"), reason(&list, "disk")), ("a device", "a device"));
}

#[test]
fn results_and_pictures_come_first_where_not_all_fit() {
    let plant = |output: &Path| {
        for number in 0..50 {
            fs::write(output.join(format!("checkpoint_{number:02}")), [0; 100]).unwrap();
        }
        fs::create_dir(output.join("visualizations")).unwrap();
        for name in ["metrics.json", "visualizations/x.png", "z_mask.png"] {
            fs::write(output.join(name), [0; 100]).unwrap();
        }
    };
    let (list, _) = collected(ArtifactLimits { files: 5, ..LIMITS }, plant);
    assert_eq!(paths(&list), ["checkpoint_00", "checkpoint_01", "metrics.json", "visualizations/x.png", "z_mask.png"]);
    assert_eq!((list.left_out_count, list.skipped_count), (48, 0));

    let (list, _) = collected(ArtifactLimits { bytes: 450, ..LIMITS }, plant);
    assert_eq!(paths(&list), ["checkpoint_00", "metrics.json", "visualizations/x.png", "z_mask.png"]);
    assert_eq!(list.skipped_count, 49);
    assert!(reason(&list, "checkpoint_01").contains("450 bytes"), "{list:?}");
}

#[test]
fn a_smaller_file_is_kept_where_a_larger_one_does_not_fit() {
    let (list, staged) = collected(LIMITS, |output| {
        fs::File::create(output.join("a_sparse")).unwrap().set_len(1 << 40).unwrap();
        fs::write(output.join("b_small"), "kept").unwrap();
    });
    assert_eq!(paths(&list), ["b_small"]);
    assert!(reason(&list, "a_sparse").contains("1 MiB") && staged.files.len() == 1, "{list:?}");
}

#[test]
fn more_than_can_be_named_is_counted_and_a_deep_tree_is_cut() {
    let (list, _) = collected(LIMITS, |output| {
        for number in 0..MAX_SKIPPED + 20 {
            symlink("x", output.join(format!("link_{number}"))).unwrap();
        }
        let mut deep = output.to_owned();
        for _ in 0..40 {
            deep.push("d");
            fs::create_dir(&deep).unwrap();
            fs::write(deep.join("f"), "x").unwrap();
        }
    });
    assert_eq!(list.skipped.len(), MAX_SKIPPED);
    // Of the deep tree the file and the folder at the first depth too many.
    assert_eq!(list.skipped_count, MAX_SKIPPED as u64 + 22);
    assert_eq!(list.files.len(), 31);
}

#[test]
fn what_a_job_closed_to_itself_is_named_and_the_rest_is_kept() {
    let output = tempfile::tempdir().unwrap();
    for folder in ["open", "closed"] {
        fs::create_dir(output.path().join(folder)).unwrap();
        fs::write(output.path().join(folder).join("file"), "x").unwrap();
    }
    fs::write(output.path().join("unreadable"), "x").unwrap();
    for name in ["closed", "unreadable", ""] {
        fs::set_permissions(output.path().join(name), Permissions::from_mode(0o000)).unwrap();
    }
    let mut staged = Memory::default();
    let list = collect(output.path(), &mut staged, LIMITS, &Pulse::default()).unwrap().list;
    fs::set_permissions(output.path(), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(output.path().join("closed"), Permissions::from_mode(0o700)).unwrap();
    assert!(staged.files.contains_key("open/file"), "{list:?}");
    // Root reads everything.
    if !geteuid().is_root() {
        assert!(reason(&list, "closed").contains("denied") && reason(&list, "unreadable").contains("denied"));
    }
}

#[test]
fn an_output_directory_that_is_gone_holds_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let gone = |output: &Path| collect(output, &mut Memory::default(), LIMITS, &Pulse::default()).unwrap().list;
    let list = gone(&parent.path().join("output"));
    assert!(list.files.is_empty() && list.skipped_count == 1, "{list:?}");
    symlink("/etc", parent.path().join("link")).unwrap();
    assert!(gone(&parent.path().join("link")).files.is_empty());
}

#[test]
fn a_full_storage_and_a_stop_end_it() {
    let output = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(output.path().join(name), "x").unwrap();
    }
    let mut full = Memory { room: Some(1), ..Memory::default() };
    let done = collect(output.path(), &mut full, LIMITS, &Pulse::default());
    assert!(matches!(done, Err(CollectError::Storage(_))), "{done:?}");
    let pulse = Pulse::default();
    pulse.stop.cancel();
    let done = collect(output.path(), &mut Memory::default(), LIMITS, &pulse);
    assert!(matches!(done, Err(CollectError::Stopped(_))), "{done:?}");
}

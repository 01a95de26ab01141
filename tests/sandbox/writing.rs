//! Attacks that write where they must not.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use serde_json::json;

use super::attempts::{Attempts, HIDDEN};
use super::neighbour::Neighbour;
use super::{Level, Site};

crate::tests!(nothing_but_its_own_is_written);

const FOLDERS: &[&str] = &[
    "/",
    "/usr",
    "/usr/bin",
    "/usr/lib/python3/dist-packages",
    "/bin",
    "/etc",
    "/etc/ssl",
    "/home",
    "/root",
    "/var",
    "/var/lib",
    "/opt",
    "/srv",
    "/boot",
    "/run",
    "/dev",
    "/proc",
    "/sys",
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/memory",
];

const FILES: &[&str] = &["/etc/passwd", "/etc/group", "/etc/ld.so.cache", "/etc/hosts", "/usr/bin/env"];

const SETTINGS: &[&str] = &[
    "open /proc/sys/kernel/core_pattern",
    "open /proc/sys/vm/overcommit_memory",
    "open /proc/sysrq-trigger",
    "open /sys/kernel/uevent_helper",
    "open /sys/power/state",
    "open /sys/fs/cgroup/cgroup.procs",
    "open /sys/fs/cgroup/memory/cgroup.procs",
    "open /proc/1/oom_score_adj",
];

/// What can be done to a file by its path, without opening it for writing, by whoever owns it.
const OF_OWNERS: &[&str] = &["mode of", "times of"];

const OTHERS: &[&str] = &[
    "open",
    "cut when opening",
    "cut when opening to read",
    "cut by openat2",
    "truncate",
    "remove",
    "replace",
    "take",
    "link",
    "read by a link",
];

async fn nothing_but_its_own_is_written(level: Level) {
    let site = Site::new(level, &[]).await;
    let neighbour = Neighbour::of(level, &site).await;
    let (data, run) = (site.board.data(), &neighbour.folder);
    let victims = ["settings", "uploads/settings", "logs/settings"].map(|name| data.join(name));
    let victims = [victims.to_vec(), vec![run.join("output/settings"), run.join("work/settings")]].concat();
    for path in &victims {
        fs::write(path, "precious").expect("the folder is there");
        chown(path, site.board.user(), site.board.user()).expect("its owner may");
    }
    let theirs = ["", "uploads", "logs", "work", "redis"].map(|name| data.join(name));
    let theirs = [theirs.to_vec(), vec![run.join("output"), run.join("work"), run.join("tmp"), run.clone()]].concat();
    let theirs: Vec<String> = theirs.iter().map(|path| path.display().to_string()).collect();
    let folders: Vec<&str> = FOLDERS.iter().copied().chain(theirs.iter().map(String::as_str)).collect();
    let named = |number: usize| format!("the file {number} of others");
    let by_name: serde_json::Map<_, _> =
        victims.iter().enumerate().map(|(number, path)| (named(number), json!(path))).collect();
    let targets = json!({ "folders": folders, "files": FILES, "victims": by_name });
    let job = site.submit(include_str!("programs/writing.py"), &targets).await;
    site.completed(&job).await;
    for path in &victims {
        assert_eq!(fs::read_to_string(path).ok().as_deref(), Some("precious"), "{}", path.display());
        fs::remove_file(path).expect("it is there");
    }
    let made = folders.iter().flat_map(|folder| [format!("create in {folder}"), format!("make a folder in {folder}")]);
    let appended = FILES.iter().map(|file| format!("append to {file}"));
    let hidden: Vec<String> = made.chain(appended).collect();
    let each = |acts: &[&str]| -> Vec<String> {
        (0..victims.len()).flat_map(|number| acts.iter().map(move |act| attempt_on(act, &named(number)))).collect()
    };
    let (others, of_owners) = (each(OTHERS), each(OF_OWNERS));
    Attempts::of(&site.log(&job).await).expect(&[
        ("ENOENT EACCES EPERM EROFS EXDEV", &names(&hidden)),
        ("ENOENT EACCES EPERM EXDEV ENOSYS", &names(&others)),
        // Expected at the floor: Landlock does not hold these, and whoever owns a file may.
        (level.pick(HIDDEN, "DONE"), &names(&of_owners)),
        ("EACCES EPERM EROFS ENOENT", SETTINGS),
        (
            "EACCES EPERM EROFS EBUSY EXDEV",
            &[
                "make a file beside its folders",
                "move its output away",
                "put a link in the place of its output",
                "overwrite its interpreter",
                "create beside its interpreter",
            ],
        ),
        // Denied at the floor, for the oldest Landlock does not hold it: programs use `ftruncate`, which it does.
        (level.pick("DONE 2", "EPERM"), &["own truncate"]),
        (
            "DONE",
            &[
                "own work",
                "own output",
                "own temporary",
                "own home",
                "own /dev/shm",
                "own ftruncate",
                "own rename between folders",
                "own links",
                "own mode",
            ],
        ),
    ]);
    neighbour.end().await;
    assert!(!planted(data), "something was planted");
    site.unharmed().await;
}

fn names(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// As the program names it: the verb, the file, and how.
fn attempt_on(act: &str, name: &str) -> String {
    match act.split_once(' ') {
        Some((verb, how)) if verb == "cut" || verb == "read" => format!("{verb} {name} {how}"),
        _ => format!("{act} {name}"),
    }
}

pub(crate) fn planted(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        entry.file_name().to_string_lossy().starts_with("planted")
            || (entry.file_type().is_ok_and(|kind| kind.is_dir()) && planted(&entry.path()))
    })
}

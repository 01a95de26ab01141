//! Attacks that read what is not theirs.

use std::fs;
use std::path::{Path, PathBuf};

use leadersboard_tests::board::{ALICE, BOB, ROOT};
use serde_json::json;

use super::attempts::{Attempts, HIDDEN};
use super::neighbour::{Neighbour, SECRET};
use super::{Level, Site};

crate::tests!(nothing_but_its_own_is_read);

async fn nothing_but_its_own_is_read(level: Level) {
    let site = Site::new(level, &[]).await;
    let neighbour = Neighbour::of(level, &site).await;
    let (data, folder) = (site.board.data(), &neighbour.folder);
    let url = site.board.redis_url();
    let password = url.rsplit('=').next().expect("a password");
    let files = json!({
        "another submission": data.join("uploads").join(&neighbour.submission).join("main.py"),
        "another job's output": folder.join("output/secret.txt"),
        "another job's program": folder.join("work/main.py"),
        "another job's log": first_file(&data.join("logs")),
        "Redis's address": data.join("redis.url"),
        "a client's token": data.join("client.json"),
        "the service's lock": data.join("lock"),
        "the service's log": data.join("up.stderr"),
        "what Redis wrote": first_file(&data.join("redis")),
        "/etc/shadow": "/etc/shadow",
        "/etc/gshadow": "/etc/gshadow",
        "/etc/machine-id": "/etc/machine-id",
        "/proc/kcore": "/proc/kcore",
        "/proc/kmsg": "/proc/kmsg",
    });
    let folders = json!({
        "the data directory": data,
        "all submissions": data.join("uploads"),
        "all logs": data.join("logs"),
        "all runs": data.join("work"),
        "another job's run": folder,
        "another job's output folder": folder.join("output"),
        "Redis's folder": data.join("redis"),
        "/root": "/root",
        "/home": "/home",
        "/var/lib": "/var/lib",
        "/srv": "/srv",
        "/mnt": "/mnt",
    });
    let secrets = [ALICE, BOB, ROOT, password, SECRET];
    let targets = json!({
        "files": files,
        "folders": folders,
        "worker": site.board.pid().as_raw(),
        "other": neighbour.process,
        "secrets": secrets,
    });
    let job = site.submit(include_str!("programs/secrets.py"), &targets).await;
    site.completed(&job).await;
    let log = site.log(&job).await;
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    let read: Vec<String> = files.as_object().expect("names").keys().map(|name| format!("read {name}")).collect();
    let listed: Vec<String> = folders.as_object().expect("names").keys().map(|name| format!("list {name}")).collect();
    let names = |names: &[&'static str]| -> Vec<String> {
        let whose = ["the worker", "the supervisor", "another job"];
        whose.iter().flat_map(|who| names.iter().map(move |what| format!("{what} of {who}"))).collect()
    };
    let of_processes = names(&["environment", "memory", "map", "descriptors", "root", "folder"]);
    // A root of its own has the folders that lead to its own, and nothing else in them.
    let leading = ["list the data directory", "list all runs"];
    let listed = listed.iter().filter(|name| !leading.contains(&name.as_str()));
    let hidden: Vec<&str> = read.iter().chain(listed).chain(&of_processes).map(String::as_str).collect();
    Attempts::of(&log).expect(&[
        (HIDDEN, &hidden),
        (level.pick("ENOENT EACCES EPERM or DONE 2", HIDDEN), &leading[..1]),
        (level.pick("ENOENT EACCES EPERM or DONE 1", HIDDEN), &leading[1..]),
        (HIDDEN, &["environment of process 1", "list what is above the work directory"]),
        ("\"nothing found\"", &["search all environments", "search all command lines", "use an inherited descriptor"]),
        ("DONE", &["own environment", "own work directory"]),
    ]);
    neighbour.end().await;
    site.unharmed().await;
}

fn first_file(folder: &Path) -> PathBuf {
    let mut below = vec![folder.to_owned()];
    while let Some(folder) = below.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let kind = entry.file_type().expect("a kind");
            if kind.is_file() {
                return entry.path();
            }
            below.extend(kind.is_dir().then(|| entry.path()));
        }
    }
    panic!("there is no file in {}", folder.display());
}

//! Attacks by what a job leaves for the service to read.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::neighbour::{Neighbour, SECRET};
use super::{Level, Site};

crate::tests!(
    what_is_no_file_of_results_is_refused,
    a_closed_output_costs_one_attempt,
    no_link_is_followed,
    odd_names_and_deep_trees_are_put_up_with,
);

const ENDS: &str = include_str!("programs/ends.py");

async fn what_is_no_file_of_results_is_refused(level: Level) {
    let site = Site::new(level, &[]).await;
    let kinds = [
        ("symlink", "symbolic link"),
        ("symlink to a file of the system", "symbolic link"),
        ("symlink to itself", "symbolic link"),
        ("symlink to a device", "symbolic link"),
        ("fifo", "not a regular file"),
        ("socket", ""),
        ("directory", "not a regular file"),
        ("hard link", "hard link"),
        ("sparse file", "larger than"),
        ("huge number", "number"),
        ("deep nesting", ""),
    ];
    let mut jobs = Vec::new();
    for (kind, word) in kinds {
        jobs.push((kind, word, site.submit(ENDS, &json!({ "way": "planted", "token": "", "kind": kind })).await));
    }
    let device = site.submit(ENDS, &json!({ "way": "device", "token": "" })).await;
    for (kind, word, job) in jobs {
        let shown = site.failed(&job, "invalid_metrics").await;
        assert!(shown["failure"]["error"].as_str().is_some_and(|error| error.contains(word)), "{kind}: {shown:#}");
    }
    let shown = site.failed(&device, "nonzero_exit").await;
    assert!(shown["error"].as_str().is_some_and(|error| error.contains("PermissionError")), "{shown:#}");
    site.unharmed().await;
}

async fn a_closed_output_costs_one_attempt(level: Level) {
    let site = Site::new(level, &[]).await;
    let metrics = site.submit(ENDS, &json!({ "way": "planted", "token": "", "kind": "closed" })).await;
    let output = site.submit(ENDS, &json!({ "way": "closed output", "token": "" })).await;
    for job in [metrics, output] {
        let shown = site.ended(&job).await;
        // Who may read everything reads it; who may not can't tell what is there, which is the job's own doing.
        assert!(
            shown["status"] == "completed"
                || ["invalid_metrics", "output_limit"].contains(&shown["failure"]["kind"].as_str().unwrap_or_default()),
            "{shown:#}"
        );
        assert_eq!(shown["attempt"], 1, "{shown:#}");
    }
    site.unharmed().await;
}

async fn no_link_is_followed(level: Level) {
    let site = Site::new(level, &[]).await;
    let neighbour = Neighbour::of(level, &site).await;
    let (data, secret) = (site.board.data(), neighbour.folder.join("output/secret.txt"));
    let links = json!({
        "passwd.txt": "/etc/passwd",
        "passwd.png": "/etc/passwd",
        "shadow.txt": "/etc/shadow",
        "other.txt": secret,
        "redis.txt": data.join("redis.url"),
        "environ.txt": "/proc/self/environ",
        "zero.bin": "/dev/zero",
    });
    let job = site.submit(ENDS, &json!({ "way": "links", "token": "", "links": links })).await;
    site.completed(&job).await;
    let mut found = Vec::new();
    for folder in ["artifacts", "logs", "uploads"] {
        search(&data.join(folder), &[b"root:x:0:0", SECRET.as_bytes(), b"redis+unix"], &mut found);
    }
    let program_of_bob = |path: &String| path.contains("uploads");
    found.retain(|path| !program_of_bob(path));
    assert_eq!(found, Vec::<String>::new(), "what was linked to has been copied");
    neighbour.end().await;
    site.unharmed().await;
}

/// The files below a folder that hold any of these.
fn search(folder: &Path, secrets: &[&[u8]], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("a kind");
        assert!(kind.is_dir() || kind.is_file(), "{} is neither file nor folder", entry.path().display());
        if kind.is_dir() {
            search(&entry.path(), secrets, found);
            continue;
        }
        let content = fs::read(entry.path()).unwrap_or_default();
        if secrets.iter().any(|secret| content.windows(secret.len()).any(|window| window == *secret)) {
            found.push(entry.path().display().to_string());
        }
    }
}

async fn odd_names_and_deep_trees_are_put_up_with(level: Level) {
    let site = Site::new(level, &[]).await;
    let shallow = site.submit(ENDS, &json!({ "way": "odd names", "token": "", "depth": 50 })).await;
    site.completed(&shallow).await;
    let deep = site.submit(ENDS, &json!({ "way": "odd names", "token": "", "depth": 3000 })).await;
    let shown = site.ended(&deep).await;
    assert!(shown["status"] == "completed" || shown["failure"]["kind"] == "output_limit", "{shown:#}");
    site.unharmed().await;
}

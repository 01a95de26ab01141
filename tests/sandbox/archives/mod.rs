//! Archives that are traps: refused when they are uploaded, or the job fails as `setup`, or there is nothing to them.

mod tars;
mod trap;
mod zips;

use std::fs;
use std::path::Path;

use leadersboard_tests::client::files;
use reqwest::multipart::Part;
use serde_json::json;

use self::trap::{Fate, Trap};
use super::{Level, Site};
use crate::writing::planted;

crate::tests!(no_archive_does_harm);

/// Lists all that was unpacked, and completes.
const LISTING: &str = r"
import os, stat
for folder, _, names in os.walk('.'):
    for name in names:
        path = os.path.join(folder, name)
        mode = os.lstat(path).st_mode
        kind = 'file' if stat.S_ISREG(mode) and not mode & 0o7000 else oct(mode)
        print('found', os.path.normpath(path), kind)
complete()
";

async fn no_archive_does_harm(level: Level) {
    let site = Site::new(level, &[]).await;
    let program = format!("{}{LISTING}", include_str!("../programs/prelude.py"));
    let mut wrong = Vec::new();
    let mut taken = Vec::new();
    for Trap { what, file, content, fate } in tars::traps().into_iter().chain(zips::traps()) {
        let form = files(&[("main.py", &program), ("config.yaml", "{}")]);
        let answer = site.alice.upload(form.part("files", Part::bytes(content).file_name(file))).await;
        match (answer.status, fate) {
            (400 | 413, Fate::Refused(word)) if answer.detail().contains(word) && answer.detail().len() < 2000 => {}
            (400 | 413, Fate::Broken) => {}
            (201, Fate::Broken | Fate::Harmless(_)) => {
                let submission = answer.body["submission_id"].as_str().expect("an id");
                taken.push((what, fate, site.alice.enqueue(submission, json!({})).await));
            }
            _ => wrong.push(format!("{file}, {what}: {answer:?} instead of {fate:?}")),
        }
    }
    for (what, fate, job) in taken {
        let shown = site.ended(&job).await;
        let log = site.log(&job).await;
        let found: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("found ")).collect();
        let is_right = match fate {
            Fate::Harmless(names) => {
                let own = ["main.py file", "config.yaml file"].into_iter().map(str::to_owned);
                let mut all: Vec<String> = own.chain(names.iter().map(|name| format!("{name} file"))).collect();
                all.sort_unstable();
                let mut found = found.clone();
                found.sort_unstable();
                shown["status"] == "completed" && found == all
            }
            Fate::Broken => shown["failure"]["kind"] == "setup" && shown["attempt"] == 1,
            Fate::Refused(_) => false,
        };
        if !is_right {
            wrong.push(format!("{what}: {found:?} {shown:#} instead of {fate:?}"));
        }
    }
    assert!(wrong.is_empty(), "traps that did not fare as they should:\n{}", wrong.join("\n"));
    assert!(!planted(site.board.data()) && !Path::new("/tmp/planted").exists(), "something was planted");
    let staging = fs::read_dir(site.board.data().join("uploads/.staging")).expect("it is there");
    assert_eq!(staging.count(), 0, "broken uploads are left");
    site.unharmed().await;
}

//! A data directory on a disk that one job can fill.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::{INSTANT, gated};
use leadersboard_tests::wait::until;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

/// Writes more and more, in files of 64 MiB.
const FILLER: &str = "\
import os, sys, time
output = sys.argv[sys.argv.index('--output') + 1]
for number in range(10_000):
    with open(os.path.join(output, str(number)), 'wb', buffering=0) as file:
        for _ in range(32):
            file.write(os.urandom(1 << 20) * 2)
            time.sleep(0.005)
";

/// A file system in memory of this size, which is gone with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, options: &str) -> Self {
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("root may mount: run as root");
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn new_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("lb-small-").tempdir().expect("a temporary directory")
}

async fn events(alice: &Client, job: &str) -> Vec<Value> {
    alice.get(&format!("/jobs/{job}/events")).await.body["events"].as_array().expect("events").clone()
}

#[tokio::test]
async fn a_job_that_fills_the_disk_is_ended_before_redis_is_and_ends_as_a_dead_letter_that_says_why() {
    let folder = new_folder();
    let _disk = SmallDisk::mount(folder.path(), "size=600m,mode=0700");
    let options = [("DISK_RESERVE", "200MiB"), ("MAX_RETRIES", "1"), ("RETRY_BACKOFF", "100ms")];
    let board = Board::start_in(folder, None, &options).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(FILLER).await;
    let failed = alice.wait_for(&job, "failed").await;
    assert_eq!(failed["failure"]["kind"], "infrastructure", "{failed}");
    let error = failed["error"].as_str().expect("a sentence");
    assert!(error.contains("DISK_RESERVE") && error.contains("had grown most"), "{error}");
    let lost: Vec<Value> =
        events(&alice, &job).await.into_iter().filter(|event| event["type"] == "job.lease_lost").collect();
    assert_eq!(lost.len(), 2, "one try, and one more: {lost:#?}");
    let ready = async || (alice.get("/health/ready").await.status == 200).then_some(());
    until("the worker takes jobs again", Duration::from_mins(1), ready).await;
    let next = alice.run(INSTANT).await;
    alice.wait_for(&next, "completed").await;
    assert!(!board.log().contains("the private Redis ended"), "{}", board.log());
}

#[tokio::test]
async fn a_job_that_uses_up_the_files_of_a_disk_is_ended_as_well() {
    let folder = new_folder();
    let _disk = SmallDisk::mount(folder.path(), "size=200m,nr_inodes=20000,mode=0700");
    let board = Board::start_in(folder, None, &[("MAX_RETRIES", "0")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice
        .run("import time\nfor n in range(100_000):\n    open(f'{n}', 'w').close()\n    if n > 19_000: time.sleep(0.02)\n")
        .await;
    let failed = alice.wait_for(&job, "failed").await;
    assert_eq!(failed["failure"]["kind"], "infrastructure", "{failed}");
    assert!(failed["error"].as_str().expect("a sentence").contains("more files"), "{failed}");
    let next = alice.run(INSTANT).await;
    alice.wait_for(&next, "completed").await;
}

#[tokio::test]
async fn what_a_dead_job_filled_the_disk_with_is_gone_before_redis_starts() {
    let folder = new_folder();
    let _disk = SmallDisk::mount(folder.path(), "size=200m,mode=0700");
    let mut board = Board::start_in(folder, None, &[("DISK_RESERVE", "0"), ("LEASE", "1s")]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    alice.wait_for(&job, "running").await;
    let work = board.data().join("work");
    let stations = std::fs::read_dir(&work).expect("work").flatten().map(|entry| entry.path());
    let station = stations.into_iter().find(|path| path.join("worker.lock").exists()).expect("a station");
    nix::sys::signal::kill(board.pid(), nix::sys::signal::Signal::SIGSTOP).expect("it runs");
    let mut filler = File::create(station.join("filler")).expect("a file");
    while filler.write_all(&vec![1; 1 << 16]).is_ok() {}
    while filler.write_all(&[1]).is_ok() {}
    drop(filler);
    board.crash_and_restart().await;
    std::fs::write(&gate, "").expect("there is room for the gate");
    let alice = Client::new(board.server(), ALICE);
    alice.wait_for(&job, "completed").await;
    assert!(!station.join("filler").exists());
}

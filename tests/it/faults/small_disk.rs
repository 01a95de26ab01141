//! A data directory on a disk that one job can fill.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::{INSTANT, gated};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

use super::all_ended;
use super::unfit_worker::state;

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

/// A worker's work root on a disk of its own; nothing else of the roles is there.
fn small_root(roles: &Roles, options: &str) -> SmallDisk {
    let root = roles.data.path().join("sick");
    std::fs::create_dir(&root).expect("a folder");
    SmallDisk::mount(&root, options)
}

#[tokio::test]
async fn a_worker_without_room_claims_no_job_and_says_why_until_it_has_swept() {
    let mut roles = Roles::new().await;
    roles.limits.push(("DISK_RESERVE", "100MiB"));
    let disk = small_root(&roles, "size=120m,mode=0755");
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![1; 40 << 20]).expect("there is room");
    let (_api, alice) = roles.api();
    let sick = roles.worker("sick", "1s");
    let patience = Duration::from_mins(1);
    let told =
        until("it says why", patience, async || state(&roles, "sick")["unfit"].as_str().map(str::to_owned)).await;
    assert!(told.contains("DISK_RESERVE") && told.contains("80.0 MiB free"), "{told}");
    let job = alice.run(INSTANT).await;
    until("the job says why it waits", patience, async || {
        let shown = alice.get(&format!("/jobs/{job}")).await.body;
        shown["queue"]["reason"].as_str().is_some_and(|why| why.contains("DISK_RESERVE")).then_some(())
    })
    .await;
    let types: Vec<Value> = events(&alice, &job).await.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["job.enqueued"], "no run was begun to wait for room");
    // What a dead worker left is removed by the living one, which goes on then.
    let dead = disk.0.join("dead");
    std::fs::create_dir(&dead).expect("a folder");
    std::fs::rename(&filler, dead.join("filler")).expect("moved");
    std::fs::write(dead.join("worker.lock"), "sick-dead").expect("a file");
    alice.wait_for(&job, "completed").await;
    assert!(!dead.join("filler").exists());
    all_ended(&roles).await;
    drop(sick);
}

#[tokio::test]
async fn a_full_disk_is_not_the_authors_fault_although_nothing_of_it_is_reserved() {
    let mut roles = Roles::new().await;
    roles.limits.extend([("DISK_RESERVE", "0"), ("MAX_RETRIES", "0")]);
    let _disk = small_root(&roles, "size=100m,mode=0755");
    let (_api, alice) = roles.api();
    let sick = roles.worker("sick", "1s");
    let plain =
        "data = b'x' * (1 << 20)\nwith open('fill', 'wb', buffering=0) as file:\n    while True: file.write(data)\n";
    let reworded = "import os, time\nfile = open('fill', 'wb', buffering=0)\ntry:\n    \
                    while True: file.write(b'x' * (1 << 20))\nexcept OSError as error:\n    time.sleep(0.2)\n    \
                    os.unlink('fill')\n    raise SystemExit(f'could not save the model: {error}')\n";
    let silent = "import time\nfile = open('fill', 'wb', buffering=0)\ntry:\n    \
                  while True: file.write(b'x' * (1 << 20))\nexcept OSError as error: print(error)\n";
    let mapped = "import mmap\nwith open('fill', 'wb') as file: file.truncate(1 << 30)\n\
                  with open('fill', 'r+b') as file:\n    pages = mmap.mmap(file.fileno(), 0)\n    \
                  for at in range(0, 1 << 30, 4096): pages[at] = 1\n";
    for program in [plain, reworded, silent, mapped] {
        let job = alice.run(program).await;
        let failed = alice.wait_for(&job, "failed").await;
        assert_eq!(failed["failure"]["kind"], "infrastructure", "{program}: {failed}");
        assert!(failed["error"].as_str().is_some_and(|why| why.contains("disk was full")), "{failed}");
    }
    let next = alice.run(INSTANT).await;
    alice.wait_for(&next, "completed").await;
    drop(sick);
}

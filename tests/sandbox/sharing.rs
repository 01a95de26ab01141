//! Attacks on what jobs share with the machine: its shared memory, and the locks by which workers share it.

use std::os::unix::fs::PermissionsExt;

use leadersboard_tests::wait::until_equal;
use nix::unistd::geteuid;
use serde_json::{Value, json};

use super::attempts::{Attempts, HIDDEN};
use super::{Level, PATIENCE, Site, token};

crate::tests!(
    no_job_reaches_anothers_shared_memory,
    what_a_killed_worker_left_in_shared_memory_is_removed,
    no_job_takes_the_users_of_others,
    no_job_puts_the_turns_of_its_user_out_of_order,
    what_closes_a_folder_in_shared_memory_is_told_so;
    at_the_floor_of_root: no_job_reaches_anothers_shared_memory,
    what_a_killed_worker_left_in_shared_memory_is_removed,
    no_job_takes_the_users_of_others,
);

const SHARES: &str = include_str!("programs/shares.py");

fn left_in_shared_memory(token: &str) -> usize {
    let files = std::fs::read_dir("/dev/shm").expect("it is there").flatten();
    files.filter(|file| file.file_name().to_string_lossy().contains(token)).count()
}

async fn no_job_reaches_anothers_shared_memory(level: Level) {
    let site = Site::new(level, &[]).await;
    let token = token("shared");
    // The usual mask of a login: what a program that does not care makes.
    for umask in [Value::Null, json!(0o022)] {
        // A job with a user of its own is left its own choice.
        if level == Level::FloorOfRoot && !umask.is_null() {
            continue;
        }
        let gate = site.board.gate(&format!("umask {umask}"));
        let targets = json!({ "token": token, "way": "victim", "gate": gate, "umask": umask });
        let victim = site.submit(SHARES, &targets).await;
        site.begun(&victim).await;
        let thief = site.submit(SHARES, &json!({ "token": token, "way": "thief" })).await;
        if level == Level::Floor {
            let workers = site.board.run_alike(["workers", "--json"]).json();
            assert_eq!(workers["workers"][0]["slots"], 1, "{workers:#}");
            let table = site.board.run_alike(["workers"]).stdout;
            assert!(table.contains(" of 1 ") && table.contains("runs one job at a time"), "{table}");
            assert_eq!(site.alice.get(&format!("/jobs/{thief}")).await.body["status"], "pending");
        } else {
            site.completed(&thief).await;
        }
        std::fs::write(&gate, "").expect("the gate");
        assert_eq!(site.completed(&victim).await["metrics"], json!({ "untouched": 1.0 }));
        site.completed(&thief).await;
        // Where the machine is shared the kernel answers for another's file, and where it is not there for none.
        Attempts::of(&site.log(&thief).await).expect(&[
            (
                HIDDEN,
                &[
                    "read shared memory",
                    "overwrite shared memory",
                    "read a file",
                    "remove a file",
                    "replace a file",
                    "open a folder",
                ],
            ),
            (level.pick("EPERM or DONE", "EPERM"), &["System V shared memory"]),
            ("EPERM EMFILE ENOSYS EACCES", &["message queue"]),
        ]);
        assert_eq!(left_in_shared_memory(&token), 0);
    }
    site.unharmed().await;
}

async fn what_a_killed_worker_left_in_shared_memory_is_removed(level: Level) {
    let mut site = Site::new(level, &[]).await;
    let token = token("shared-left");
    let gate = site.board.gate("never");
    let job = site.submit(SHARES, &json!({ "token": token, "way": "victim", "gate": gate, "umask": 0o022 })).await;
    site.begun(&job).await;
    assert_eq!(left_in_shared_memory(&token) > 0, level != Level::Full);
    site.board.crash_and_restart().await;
    site.alice = leadersboard_tests::client::Client::new(site.board.server(), leadersboard_tests::board::ALICE);
    site.alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    assert_eq!(site.ended(&job).await["status"], "cancelled");
    until_equal("what is left in shared memory", PATIENCE, 0, async || left_in_shared_memory(&token)).await;
}

async fn no_job_takes_the_users_of_others(level: Level) {
    // At its worst: the names of sockets are those of the machine.
    let site = Site::new(level, &[("NETWORK", "host")]).await;
    let gate = site.board.gate("claimed");
    let user = site.board.user().unwrap_or_else(|| geteuid().as_raw());
    let locks = ["/run", "/run/lock", "/var/tmp", "/tmp"].map(|place| format!("{place}/leadersboard-{user}"));
    let locks = locks.map(|folder| [format!("{folder}/users"), folder]).concat();
    let targets = json!({ "token": "", "way": "claims", "gate": gate, "locks": locks });
    let job = site.submit(SHARES, &targets).await;
    site.begun(&job).await;
    if level != Level::Floor {
        let other = site.submit("complete(done=1)\n", &json!({})).await;
        site.completed(&other).await;
    }
    std::fs::write(&gate, "").expect("the gate");
    let held = site.completed(&job).await["metrics"]["held"].as_f64().expect("a number");
    // All, unless another test of this machine has some.
    assert!(held > 4_000.0, "{held}");
    let tried: Vec<String> =
        locks.iter().flat_map(|folder| [format!("list {folder}"), format!("lock in {folder}")]).collect();
    let tried: Vec<&str> = tried.iter().map(String::as_str).collect();
    Attempts::of(&site.log(&job).await).expect(&[("ENOENT EACCES EPERM ENOTDIR EROFS", &tried)]);
    site.unharmed().await;
}

/// Leaves its results, then changes modes as it is told.
const CLOSES: &str = "
import time
complete()
for path in TARGETS['paths']:
    os.chmod(path, TARGETS['mode'])
while TARGETS['stays']:
    time.sleep(1)
";

async fn no_job_puts_the_turns_of_its_user_out_of_order(level: Level) {
    if level != Level::Floor {
        // Jobs of other levels are not the worker's user, or see no folder of it.
        return;
    }
    let mut site = Site::new(level, &[]).await;
    let user = site.board.user().expect("one of its own");
    let locks = format!("/run/lock/leadersboard-{user}");
    let elsewhere =
        ["/run", "/var/tmp", "/tmp"].map(|place| std::path::PathBuf::from(format!("{place}/leadersboard-{user}")));
    let work = site.board.data().join("work").display().to_string();
    let mode_of = |path: &str| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    let before = [mode_of(&locks), mode_of(&work)];
    for (paths, mode) in
        [(vec![locks.clone()], 0o701), (vec![format!("{locks}/turn"), locks.clone()], 0), (vec![work.clone()], 0)]
    {
        let job = site.submit(CLOSES, &json!({ "paths": paths, "mode": mode, "stays": false })).await;
        site.ended(&job).await;
        // The next job has its turn.
        site.completed(&site.submit("complete(done=1)\n", &json!({})).await).await;
        assert_eq!([mode_of(&locks), mode_of(&work)], before, "after {mode:o} for {paths:?}");
    }
    // A worker that starts while they are closed finds the same place as the others.
    for mode in [0o701, 0] {
        let targets = json!({ "paths": [format!("{locks}/turn"), locks], "mode": mode, "stays": true });
        let job = site.submit(CLOSES, &targets).await;
        until_equal("the mode of the locks", PATIENCE, mode, async || mode_of(&locks)).await;
        site.board.crash_and_restart().await;
        site.alice = leadersboard_tests::client::Client::new(site.board.server(), leadersboard_tests::board::ALICE);
        site.cancel(&job).await;
        assert_eq!(site.ended(&job).await["status"], "cancelled");
        site.completed(&site.submit("complete(done=1)\n", &json!({})).await).await;
        assert_eq!(elsewhere.iter().filter(|path| path.exists()).count(), 0, "a second place for locks");
    }
}

async fn what_closes_a_folder_in_shared_memory_is_told_so(level: Level) {
    if level != Level::Floor {
        // Root can look into it.
        return;
    }
    let site = Site::new(level, &[]).await;
    let folder = format!("/dev/shm/{}closed", token("shared"));
    let program = "import time\nos.mkdir(TARGETS['folder'], 0)\ntime.sleep(60)\n";
    let job = site.submit(program, &json!({ "folder": folder })).await;
    let shown = site.failed(&job, "output_limit").await;
    assert!(shown["failure"]["error"].as_str().is_some_and(|error| error.contains(&folder)), "{shown:#}");
    site.unharmed().await;
}

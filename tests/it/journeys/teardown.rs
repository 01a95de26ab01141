//! Nothing of a job outlives it, and no job outlives its worker.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::processes::{children, command_line, marked};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{INSTANT, all_is_well, processes_of};

/// Starts what does not want to end: a grandchild in a session of its own that is nobody's child, ignores every signal
/// it can and holds the output open.
const STUBBORN: &str = r"
import os, signal, sys, time
def stubborn():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True: time.sleep(1)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: stubborn()
    os._exit(0)
os.wait()
";

async fn until_begun(client: &Client, job: &str) {
    until("it has begun", Duration::from_secs(10), async || {
        let logs = client.get(&format!("/jobs/{job}/logs")).await.body;
        logs["logs"].as_str().filter(|logs| logs.contains("begun")).map(drop)
    })
    .await;
}

#[tokio::test]
async fn what_a_job_left_running_is_gone_when_it_has_ended() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&format!("{STUBBORN}{INSTANT}")).await;
    alice.wait_for(&job, "completed").await;
    assert_eq!(marked(&job), []);
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_job_that_will_not_end_is_killed_with_all_it_started() {
    let board = Board::start(&[("LEASE", "1s"), ("INTERRUPT_GRACE", "100ms"), ("TERMINATE_GRACE", "100ms")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&format!("{STUBBORN}stubborn()")).await;
    alice.wait_for(&job, "running").await;
    until("it has forked", Duration::from_secs(10), async || (marked(&job).len() == 2).then_some(())).await;
    alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    alice.wait_for(&job, "cancelled").await;
    assert_eq!(marked(&job), []);
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_job_may_clean_up_when_it_is_cancelled_and_one_that_ends_by_itself_keeps_its_outcome() {
    let board = Board::start(&[("LEASE", "1s")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice
        .run("import time\nprint('begun')\ntry:\n    time.sleep(300)\nexcept KeyboardInterrupt:\n    print('cleaned up')\n")
        .await;
    until_begun(&alice, &job).await;
    alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    alice.wait_for(&job, "cancelled").await;
    assert_eq!(alice.get(&format!("/jobs/{job}/logs")).await.body["logs"], "begun\ncleaned up\n");
    all_is_well(&board).await;
}

/// The supervisors of the job that runs, the outer one first: two where it has namespaces of its own.
fn supervisors(board: &Board) -> Vec<Pid> {
    let below = |pid: &Pid| children(*pid).into_iter().find(|pid| command_line(*pid).ends_with(b"\0__sandbox\0"));
    std::iter::successors(below(&board.pid()), below).collect()
}

#[tokio::test]
async fn a_job_whose_supervisor_is_killed_has_failed_and_left_nothing() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    for which in [0, 1] {
        let job = alice.run("import time\nprint('begun')\ntime.sleep(300)\n").await;
        until_begun(&alice, &job).await;
        let supervisors = supervisors(&board);
        kill(supervisors[which % supervisors.len()], Signal::SIGKILL).expect("it is there");
        let failed = alice.wait_for(&job, "failed").await;
        assert_eq!(failed["failure"]["kind"], "signal", "{failed}");
        assert_eq!(marked(&job), []);
    }
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_job_whose_supervisor_is_stopped_is_ended_all_the_same() {
    let board = Board::start(&[("INTERRUPT_GRACE", "100ms"), ("TERMINATE_GRACE", "100ms")]).await;
    let alice = Client::new(board.server(), ALICE);
    for which in [0, 1] {
        let job = alice.run("import time\nprint('begun')\ntime.sleep(300)\n").await;
        until_begun(&alice, &job).await;
        let supervisors = supervisors(&board);
        kill(supervisors[which % supervisors.len()], Signal::SIGSTOP).expect("it is there");
        alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
        alice.wait_for(&job, "cancelled").await;
        assert_eq!(marked(&job), []);
    }
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_storm_of_processes_is_emptied() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let storm = "import os, time\nfor _ in range(60):\n    if os.fork() == 0:\n        for _ in range(3): os.fork()\n        time.sleep(300)\n";
    let job = alice.run(&format!("{storm}{INSTANT}")).await;
    alice.wait_for(&job, "completed").await;
    assert_eq!(marked(&job), []);
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_takes_its_jobs_with_it() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let worker = roles.worker("one", "1s");
    let job = alice.run(&format!("{STUBBORN}stubborn()")).await;
    alice.wait_for(&job, "running").await;
    until("it has forked", Duration::from_secs(10), async || (marked(&job).len() == 2).then_some(())).await;
    worker.signal(Signal::SIGKILL);
    until("nothing of it is left", Duration::from_secs(5), async || (marked(&job).is_empty()).then_some(())).await;
}

#[tokio::test]
async fn its_environment_is_what_it_needs_and_nothing_else() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&format!("import os\nprint(' '.join(sorted(os.environ)))\n{INSTANT}")).await;
    alice.wait_for(&job, "completed").await;
    let logs = alice.get(&format!("/jobs/{job}/logs")).await.body;
    let known = "CUDA_DEVICE_ORDER CUDA_VISIBLE_DEVICES DATASET_ROOT HOME LANG LC_ALL LEADERSBOARD_JOB_ID LEADERSBOARD_RUN \
                 LOGNAME PATH PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED TMPDIR USER\nhello from the job\n";
    assert_eq!(logs["logs"], known);
    assert_eq!(processes_of(&board), Vec::<String>::new());
}

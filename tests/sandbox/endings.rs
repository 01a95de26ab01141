//! Programs that will not end, or leave something that does not.

use std::time::Duration;

use leadersboard_tests::wait::until_equal;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::attempts::Attempts;
use super::{Killed, Level, PATIENCE, Site, processes_with, token};

crate::tests!(
    nothing_outlives_a_supervisor_that_was_killed,
    nothing_outlives_its_job,
    what_is_deaf_or_stopped_is_ended_all_the_same,
    nothing_outlives_its_worker,
    a_signal_of_its_own_is_named,
    what_closes_its_streams_runs_on,
    nothing_that_hides_outlives_its_job,
    nothing_that_hides_outlives_a_restart;
    at_the_floor_of_root: nothing_that_hides_outlives_its_job,
    nothing_that_hides_outlives_a_restart,
);

const ENDS: &str = include_str!("programs/ends.py");

async fn end(site: &Site, class: &str, way: &str, token: &str) -> String {
    site.submit_to(class, ENDS, &json!({ "way": way, "token": token })).await
}

async fn nothing_outlives_its_job(level: Level) {
    let site = Site::new(level, &[]).await;
    let token = token("survivor");
    let _killed = Killed(token.clone());
    let job = end(&site, "small", "survive", &token).await;
    site.completed(&job).await;
    assert_eq!(processes_with(&token), 0);
    let job = end(&site, "small", "changed later", &token).await;
    assert_eq!(site.completed(&job).await["metrics"], json!({ "value": 1.0 }));
    site.unharmed().await;
}

async fn what_is_deaf_or_stopped_is_ended_all_the_same(level: Level) {
    let site = Site::new(level, &[("RESOURCE_CLASSES", "small=5m,short=2s")]).await;
    let token = token("deaf");
    let _killed = Killed(token.clone());
    for way in ["deaf", "stopped"] {
        let job = end(&site, "small", way, &token).await;
        site.begun(&job).await;
        site.cancel(&job).await;
        assert_eq!(site.ended(&job).await["status"], "cancelled", "{way}");
        assert_eq!(processes_with(&token), 0, "{way}");
    }
    let jobs = [end(&site, "short", "deaf", &token).await, end(&site, "short", "stopped", &token).await];
    for job in jobs {
        site.failed(&job, "timeout").await;
    }
    assert_eq!(processes_with(&token), 0);
    site.unharmed().await;
}

async fn nothing_outlives_its_worker(level: Level) {
    let mut site = Site::new(level, &[]).await;
    let token = token("orphan");
    let _killed = Killed(token.clone());
    let ways = ["deaf", "stopped"];
    let mut jobs = Vec::new();
    // One job at a time runs at the floor.
    for way in &ways[..level.pick(2, 1)] {
        jobs.push(end(&site, "small", way, &token).await);
    }
    for job in &jobs {
        site.begun(job).await;
    }
    until_equal("processes of the jobs", PATIENCE, true, async || processes_with(&token) >= jobs.len()).await;
    kill(site.board.pid(), Signal::SIGKILL).expect("it runs");
    until_equal("processes that outlive the worker", Duration::from_secs(10), 0, async || processes_with(&token)).await;
    site.board.crash_and_restart().await;
    site.alice = leadersboard_tests::client::Client::new(site.board.server(), leadersboard_tests::board::ALICE);
    for job in &jobs {
        site.alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
        assert_eq!(site.ended(job).await["status"], "cancelled");
    }
    assert_eq!(processes_with(&token), 0);
}

const HIDES: &str = include_str!("programs/hides.py");

async fn nothing_that_hides_outlives_its_job(level: Level) {
    let site = Site::new(level, &[]).await;
    let token = token("hidden");
    let _killed = Killed(token.clone());
    let job = site.submit(HIDES, &json!({ "token": token, "then": "end" })).await;
    site.completed(&job).await;
    assert_eq!(processes_with(&token), 0, "left by a job that completed");
    Attempts::of(&site.log(&job).await).expect(&[
        ("DONE True", &["bear a mark"]),
        ("EPERM", &["take the mark off", "take the mark off by number", "take the mark off by the old call"]),
    ]);
    let job = site.submit(HIDES, &json!({ "token": token, "then": "wait" })).await;
    site.begun(&job).await;
    assert!(processes_with(&token) >= 14, "they hide from this test as well");
    site.cancel(&job).await;
    assert_eq!(site.ended(&job).await["status"], "cancelled");
    assert_eq!(processes_with(&token), 0, "left by a job that was cancelled");
    site.unharmed().await;
}

async fn nothing_that_hides_outlives_a_restart(level: Level) {
    let mut site = Site::new(level, &[]).await;
    let token = token("hidden-orphan");
    let _killed = Killed(token.clone());
    let job = site.submit(HIDES, &json!({ "token": token, "then": "wait" })).await;
    site.begun(&job).await;
    // Neither has time to do anything about it.
    let worker = site.board.pid();
    let killed = [supervisors_of(worker), vec![worker]].concat();
    assert!(killed.len() >= 2, "no supervisor was found");
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for pid in &killed {
            kill(*pid, signal).expect("it runs");
        }
    }
    site.board.crash_and_restart().await;
    until_equal("processes that outlive a restart", PATIENCE, 0, async || processes_with(&token)).await;
    site.alice = leadersboard_tests::client::Client::new(site.board.server(), leadersboard_tests::board::ALICE);
    site.alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    assert_eq!(site.ended(&job).await["status"], "cancelled");
    assert_eq!(processes_with(&token), 0);
}

/// The supervisors below a worker, the outer of two first.
fn supervisors_of(worker: Pid) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let found = processes.filter(|entry| {
        let read = |file| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let is_child = String::from_utf8_lossy(&read("status")).contains(&format!("PPid:\t{worker}\n"));
        is_child && String::from_utf8_lossy(&read("cmdline")).contains("__sandbox")
    });
    found.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw).collect()
}

async fn a_signal_of_its_own_is_named(level: Level) {
    let site = Site::new(level, &[]).await;
    // One of them tells of a file that was too large.
    let ignored = [Signal::SIGXFSZ, Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGURG, Signal::SIGWINCH];
    let stopping = [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];
    let mut jobs = Vec::new();
    for signal in Signal::iterator().filter(|signal| !ignored.contains(signal) && !stopping.contains(signal)) {
        let targets = json!({ "way": "signalled", "token": "", "signal": signal as i32 });
        jobs.push((signal.as_str(), site.submit(ENDS, &targets).await));
    }
    jobs.push(("a signal", site.submit(ENDS, &json!({ "way": "signalled", "token": "", "signal": 40 })).await));
    for (name, job) in jobs {
        let shown = site.failed(&job, "signal").await;
        let error = shown["failure"]["error"].as_str().unwrap_or_default();
        assert!(error.contains(name), "{name}: {shown:#}");
        assert_eq!(shown["failure"]["exit_code"], Value::Null, "{name}");
    }
    site.unharmed().await;
}

async fn what_closes_its_streams_runs_on(level: Level) {
    let site = Site::new(level, &[]).await;
    let job = end(&site, "small", "silent", "").await;
    assert_eq!(site.completed(&job).await["metrics"], json!({ "ran_on": 1.0 }));
    assert_eq!(site.log(&job).await, "last words\n");
    site.unharmed().await;
}

/// Takes a name and an environment that nobody knows, and has its supervisor killed, which only the floor's user may.
const RUNS_AWAY: &str = "
import signal, time
if os.fork() == 0:
    os.setsid()
    os.execve('/bin/sleep', [TARGETS['token'], '600'], {})
time.sleep(0.3)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(60)
";

async fn nothing_outlives_a_supervisor_that_was_killed(level: Level) {
    let site = Site::new(level, &[]).await;
    let token = token("runaway");
    let _killed = Killed(token.clone());
    let job = site.submit(RUNS_AWAY, &json!({ "token": token })).await;
    site.failed(&job, level.pick("nonzero_exit", "signal")).await;
    until_equal("processes that ran away", PATIENCE, 0, async || processes_with(&token)).await;
    site.unharmed().await;
}

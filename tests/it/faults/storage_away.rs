//! An S3 server that is away while jobs end.

use std::time::Duration;

use leadersboard_tests::board::Process;
use leadersboard_tests::client::{Client, files};
use leadersboard_tests::http_faults::{Fault, HttpFaults};
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::s3::{S3Server, variables};
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{INSTANT, RECOVERY, UNDISTURBED, all_ended};

/// A deployment behind a network to its S3 server.
struct Site {
    roles: Roles,
    network: HttpFaults,
    _server: S3Server,
    _api: Process,
    alice: Client,
}

impl Site {
    async fn new() -> Self {
        let (mut roles, server) = (Roles::new().await, S3Server::start().await);
        roles.lease = "2s";
        let network = HttpFaults::before(&server.address());
        roles.migrate(&[]);
        let environment = environment(&network);
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (api, alice) = roles.api_with("api", &environment);
        Self { roles, network, _server: server, _api: api, alice }
    }

    fn worker(&self, name: &str, settings: &[(&str, &str)]) -> Process {
        let mut worker = self.roles.worker_command(name, self.roles.lease);
        worker.envs(environment(&self.network)).envs(settings.iter().copied());
        Process::spawn(worker)
    }

    /// Runs a job until it waits for the gate.
    async fn gated(&self) -> String {
        let job = self.alice.run(&gated(&self.roles.gate("gate"))).await;
        self.alice.wait_for(&job, "running").await;
        until("it has begun", RECOVERY, async || {
            let log = self.alice.get(&format!("/jobs/{job}/logs")).await.body;
            (log["logs"] == "begun\n").then_some(())
        })
        .await;
        job
    }

    fn open_gate(&self) {
        std::fs::write(self.roles.gate("gate"), "").expect("the gate");
    }

    async fn shown(&self, job: &str, what: &str, look: impl Fn(&Value) -> bool) {
        until(what, RECOVERY, async || {
            let shown = self.alice.get(&format!("/jobs/{job}")).await.body;
            look(&shown).then_some(())
        })
        .await;
    }
}

fn environment(network: &HttpFaults) -> Vec<(&'static str, String)> {
    let mut environment = variables(&network.address());
    environment.push(("STORAGE_URL", "s3://board".to_owned()));
    environment
}

#[tokio::test]
async fn an_ending_waits_for_storage_with_its_lease_and_says_why() {
    let site = Site::new().await;
    let _worker = site.worker("one", &[]);
    let job = site.gated().await;
    site.network.set(Fault::Down).await;
    site.open_gate();
    let waits = |shown: &Value| {
        let stage = &shown["stage"];
        stage["name"] == "storing" && stage["reason"].as_str().is_some_and(|why| why.contains("can't be reached"))
    };
    site.shown(&job, "why it waits", waits).await;
    let refused = site.alice.upload(files(&[("main.py", INSTANT), ("config.yaml", "")])).await;
    assert_eq!((refused.status, &refused.body["code"]), (503, &"storage_unavailable".into()), "{refused:?}");
    let ready = site.alice.get("/health/ready").await;
    assert_eq!((ready.status, ready.detail()), (503, "storage can't be written"), "{ready:?}");
    site.network.heal().await;
    site.alice.wait_for(&job, "completed").await;
    let log = site.alice.get(&format!("/jobs/{job}/logs")).await.body;
    assert_eq!((&log["logs"], &log["complete"]), (&"begun\nhello from the job\n".into(), &true.into()));
    let metrics = site.alice.get(&format!("/jobs/{job}/artifacts/metrics.json")).await;
    assert_eq!(metrics.body["metrics"]["auc"], 0.5);
    let folded = all_ended(&site.roles).await;
    assert_eq!(folded.stories[&job.parse().expect("an id")], UNDISTURBED);
}

#[tokio::test]
async fn an_ending_that_waited_its_budget_is_the_platforms_failure_and_runs_again() {
    let site = Site::new().await;
    let _worker = site.worker("one", &[("STORAGE_BUDGET", "500ms")]);
    let job = site.gated().await;
    site.network.set(Fault::Down).await;
    site.open_gate();
    let lost = |shown: &Value| shown["attempt"] == 1 && shown["status"] == "pending" || shown["attempt"] == 2;
    site.shown(&job, "the first run is given back", lost).await;
    let history = site.alice.get(&format!("/jobs/{job}/events")).await.body.to_string();
    assert!(history.contains("infrastructure") && history.contains("storage was away for 500ms"), "{history}");
    // Fetching waits too, and says so.
    let waits = |shown: &Value| {
        let stage = &shown["stage"];
        stage["name"] == "preparing"
            && stage["reason"].as_str().is_some_and(|why| why.contains("storage can't be used"))
    };
    site.shown(&job, "why the second run waits", waits).await;
    site.network.heal().await;
    site.alice.wait_for(&job, "completed").await;
    all_ended(&site.roles).await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_storage() {
    let site = Site::new().await;
    let mut one = site.worker("one", &[("DRAIN_TIMEOUT", "500ms")]);
    let job = site.gated().await;
    site.network.set(Fault::Down).await;
    site.open_gate();
    site.shown(&job, "it waits", |shown| !shown["stage"]["reason"].is_null()).await;
    one.signal(Signal::SIGTERM);
    until("the worker ends", Duration::from_secs(15), async || one.has_ended().then_some(())).await;
    site.network.heal().await;
    let _other = site.worker("other", &[]);
    site.alice.wait_for(&job, "completed").await;
    all_ended(&site.roles).await;
}

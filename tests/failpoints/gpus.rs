//! GPUs that a test makes up: who gets which, and what is told of them.

use std::path::PathBuf;

use leadersboard_tests::board::{Finished, Process};
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use projections::Keyspace;
use serde_json::{Value, json};

use crate::PATIENCE;

const GIB: u64 = 1 << 30;

/// A machine with GPUs, in a folder of its own.
struct Machine<'a> {
    roles: &'a Roles,
    gpus: PathBuf,
}

impl<'a> Machine<'a> {
    fn with(roles: &'a Roles, gpus: &Value) -> Self {
        let machine = Self { roles, gpus: roles.data.path().join("gpus.json") };
        machine.is_now(gpus);
        machine
    }

    fn is_now(&self, gpus: &Value) {
        let next = self.gpus.with_extension("next");
        std::fs::write(&next, gpus.to_string()).expect("a file");
        std::fs::rename(next, &self.gpus).expect("the file");
    }

    fn worker(&self, options: &[(&str, &str)]) -> Process {
        let mut worker = self.roles.worker_command("one", "30s");
        worker.env("LEADERSBOARD_FAKE_GPUS", &self.gpus).envs(options.iter().copied());
        Process::spawn(worker)
    }

    /// What the worker tells of its GPUs.
    fn told(&self) -> Value {
        let listed = Finished::of(self.roles.command(&["--json", "workers"]).output().expect("the binary runs"));
        listed.json()["workers"][0].clone()
    }

    async fn states_are(&self, wanted: &[&str]) {
        until(&format!("its GPUs are {wanted:?}"), PATIENCE, async || {
            let told = self.told();
            let states: Vec<&str> = told["gpus"].as_array()?.iter().filter_map(|gpu| gpu["state"].as_str()).collect();
            (states == wanted).then_some(())
        })
        .await;
    }
}

fn gpu(uuid: &str) -> Value {
    json!({ "uuid": uuid, "memory_bytes": 80 * GIB })
}

const CLASSES: &[(&str, &str)] = &[("RESOURCE_CLASSES", "small=5m,one=5m:gpus=1,two=5m:gpus=2,many=5m:gpus=9")];

/// A program that waits at a gate and reports which GPUs it was shown.
fn shown(gate: &std::path::Path) -> String {
    let program = gated(gate);
    program.replace(r#""params": {"#, r#""params": {"shown": __import__("os").environ["CUDA_VISIBLE_DEVICES"], "#)
}

#[tokio::test]
async fn each_job_has_gpus_of_its_own_and_none_is_claimed_without() {
    let roles = Roles::new().await;
    let machine = Machine::with(&roles, &json!([gpu("GPU-a"), gpu("GPU-b")]));
    roles.migrate(CLASSES);
    let (_api, alice) = roles.api_with("api", &[]);
    let gate = roles.gate("gate");
    let submission = alice.submit(&shown(&gate)).await;
    let asked = async |class: &str| alice.enqueue(&submission, json!({ "resource_class": class })).await;
    let (first, second, third) = (asked("one").await, asked("one").await, asked("one").await);
    let (many, small) = (asked("many").await, asked("small").await);

    let _worker = machine.worker(&[("WORKER_SLOTS", "4")]);
    machine.states_are(&["leased", "leased"]).await;
    alice.wait_for(&small, "running").await;
    let status = async |job: &str| alice.get(&format!("/jobs/{job}")).await.body;
    for waits in [&third, &many] {
        assert_eq!(status(waits).await["status"], "pending", "no claim without a GPU, though a slot is free");
    }
    let given = [status(&first).await["gpus"].clone(), status(&second).await["gpus"].clone()];
    assert!(
        given == [json!(["GPU-a"]), json!(["GPU-b"])] || given == [json!(["GPU-b"]), json!(["GPU-a"])],
        "{given:?}"
    );
    std::fs::write(&gate, "").expect("the gate");
    for job in [&first, &second, &third] {
        alice.wait_for(job, "completed").await;
        let gpus = status(job).await["gpus"].clone();
        let results = alice.get(&format!("/jobs/{job}/results")).await.body;
        assert_eq!(json!([results["params"]["shown"]]), gpus, "{results}");
        assert_eq!(results["performance"]["gpu_energy_joules"], json!(0.0), "{results}");
    }
    alice.wait_for(&small, "completed").await;
    let results = alice.get(&format!("/jobs/{small}/results")).await.body;
    assert_eq!(results["params"]["shown"], "", "who has no GPU sees none: {results}");
    let two = asked("two").await;
    alice.wait_for(&two, "completed").await;
    assert_eq!(status(&two).await["gpus"].as_array().map(Vec::len), Some(2));
    machine.states_are(&["free", "free"]).await;
    assert!(roles.words("one").contains("too few GPUs for a job of this class"), "{}", roles.words("one"));
    alice.post(&format!("/jobs/{many}/cancel"), &json!({})).await;
    alice.wait_for(&many, "cancelled").await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn a_gpu_that_is_used_lost_or_plugged_in_is_told_and_offered_as_it_is() {
    let roles = Roles::new().await;
    let taken = json!({ "uuid": "GPU-a", "memory_bytes": 80 * GIB, "processes": { "7": GIB } });
    let machine = Machine::with(&roles, &json!([taken]));
    roles.migrate(CLASSES);
    let (_api, alice) = roles.api_with("api", &[]);
    let gate = roles.gate("gate");
    std::fs::write(&gate, "").expect("the gate");
    let submission = alice.submit(&shown(&gate)).await;
    let job = alice.enqueue(&submission, json!({ "resource_class": "one" })).await;
    let _worker = machine.worker(&[]);
    machine.states_are(&["taken"]).await;
    assert_eq!(alice.get(&format!("/jobs/{job}")).await.body["status"], "pending");
    machine.is_now(&json!("no driver"));
    machine.states_are(&["unhealthy"]).await;
    assert_eq!(alice.get(&format!("/jobs/{job}")).await.body["status"], "pending");
    machine.is_now(&json!([gpu("GPU-b")]));
    alice.wait_for(&job, "completed").await;
    assert_eq!(alice.get(&format!("/jobs/{job}")).await.body["gpus"], json!(["GPU-b"]));
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn a_gpu_on_which_cuda_does_not_begin_where_jobs_run_is_not_offered() {
    let roles = Roles::new().await;
    let mut broken = gpu("GPU-a");
    broken["cuda_code"] = json!(999);
    let machine = Machine::with(&roles, &json!([broken, gpu("GPU-b")]));
    roles.migrate(CLASSES);
    let (_api, alice) = roles.api_with("api", &[]);
    let gate = roles.gate("gate");
    std::fs::write(&gate, "").expect("the gate");
    let submission = alice.submit(&shown(&gate)).await;
    let _worker = machine.worker(&[]);
    machine.states_are(&["unhealthy", "free"]).await;
    let job = alice.enqueue(&submission, json!({ "resource_class": "one" })).await;
    alice.wait_for(&job, "completed").await;
    assert_eq!(alice.get(&format!("/jobs/{job}")).await.body["gpus"], json!(["GPU-b"]));
    assert!(roles.words("one").contains("cuInit answers 999"), "{}", roles.words("one"));
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

use std::sync::Arc;

use events::JobId;
use events::ports::GpuState;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::fake::Fake;
use super::lease::GpuLease;
use super::meter::Meter;
use super::pool::{GpuOptions, Gpus};
use super::selection::Selection;

const GIB: u64 = 1 << 30;

/// A machine whose GPUs a test makes up.
struct Machine(TempDir);

impl Machine {
    fn with(gpus: &Value) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.is_now(gpus);
        machine
    }

    fn is_now(&self, gpus: &Value) {
        let next = self.0.path().join("next");
        std::fs::write(&next, gpus.to_string()).unwrap();
        std::fs::rename(next, self.0.path().join("gpus.json")).unwrap();
    }

    /// A worker's view of it.
    async fn worker(&self, slots_per_gpu: usize) -> Gpus {
        let file = self.0.path().join("gpus.json");
        let options = GpuOptions {
            selection: Selection::All,
            slots_per_gpu,
            locks: self.0.path().join("locks"),
            #[cfg(feature = "faults")]
            fake: None,
        };
        Gpus::over(Arc::new(Fake(file)), options).await
    }
}

fn gpu(uuid: &str) -> Value {
    json!({ "uuid": uuid, "memory_bytes": 80 * GIB })
}

fn job() -> JobId {
    "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap()
}

async fn lease(gpus: &Gpus, count: usize) -> Option<GpuLease> {
    gpus.offer().await.take(count, job())
}

fn states(gpus: &Gpus) -> Vec<GpuState> {
    gpus.presence().into_iter().map(|gpu| gpu.state).collect()
}

#[tokio::test]
async fn a_machine_without_a_driver_has_no_gpus_and_runs_jobs_that_need_none() {
    let machine = Machine(tempfile::tempdir().unwrap());
    let gpus = machine.worker(1).await;
    assert_eq!((gpus.capacity(), gpus.len()), (0, 0));
    assert!(lease(&gpus, 1).await.is_none());
    let nothing = lease(&gpus, 0).await.unwrap();
    let hidden = ("CUDA_VISIBLE_DEVICES".to_owned(), String::new());
    assert!(nothing.environment().contains(&hidden), "no GPU is seen by a job that has none");
    assert_eq!(nothing.device_nodes(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn no_gpu_is_leased_twice_not_even_by_two_workers_of_one_machine() {
    let machine = Machine::with(&json!([gpu("GPU-a"), gpu("GPU-b")]));
    let (one, two) = (machine.worker(1).await, machine.worker(1).await);
    let first = lease(&one, 1).await.unwrap();
    assert_eq!(first.uuids(), ["GPU-a"]);
    assert_eq!(first.environment()[0], ("CUDA_VISIBLE_DEVICES".to_owned(), "GPU-a".to_owned()));
    assert!(lease(&two, 2).await.is_none());
    let second = lease(&two, 1).await.unwrap();
    assert_eq!(second.uuids(), ["GPU-b"]);
    assert!(lease(&one, 1).await.is_none());
    assert_eq!(states(&one), [GpuState::Leased, GpuState::Free]);
    drop(first);
    assert_eq!(lease(&two, 1).await.unwrap().uuids(), ["GPU-a"]);
}

#[tokio::test]
async fn a_gpu_that_somebody_else_uses_is_left_alone_until_it_is_free() {
    let machine = Machine::with(&json!([
        { "uuid": "GPU-a", "memory_bytes": 80 * GIB, "processes": { "77": GIB }, "used_bytes": GIB },
        { "uuid": "GPU-b", "memory_bytes": 80 * GIB, "used_bytes": 2 * GIB },
    ]));
    let gpus = machine.worker(1).await;
    assert!(lease(&gpus, 1).await.is_none());
    assert_eq!(states(&gpus), [GpuState::Taken, GpuState::Taken]);
    assert!(gpus.presence()[0].reason.as_ref().unwrap().contains("77"));
    machine.is_now(&json!([gpu("GPU-a"), gpu("GPU-b")]));
    assert_eq!(lease(&gpus, 2).await.unwrap().uuids(), ["GPU-a", "GPU-b"]);
}

#[tokio::test]
async fn a_gpu_that_is_pulled_out_is_not_offered_and_one_that_is_plugged_in_is() {
    let machine = Machine::with(&json!([gpu("GPU-a")]));
    let gpus = machine.worker(1).await;
    machine.is_now(&json!([gpu("GPU-b")]));
    assert_eq!(lease(&gpus, 1).await.unwrap().uuids(), ["GPU-b"]);
    assert!(lease(&gpus, 2).await.is_none());
    assert_eq!(states(&gpus), [GpuState::Unhealthy, GpuState::Free], "the one that is gone is shown so");
}

#[tokio::test]
async fn a_driver_that_fails_offers_nothing_until_it_answers_again() {
    let machine = Machine::with(&json!([gpu("GPU-a")]));
    let gpus = machine.worker(1).await;
    machine.is_now(&json!("broken"));
    assert!(lease(&gpus, 1).await.is_none());
    assert_eq!(states(&gpus), [GpuState::Unhealthy]);
    machine.is_now(&json!([gpu("GPU-a")]));
    assert!(lease(&gpus, 1).await.is_some());
}

#[tokio::test]
async fn a_gpu_that_a_job_would_not_leave_is_offered_when_it_is_seen_free_again() {
    let used = json!([{ "uuid": "GPU-a", "memory_bytes": 80 * GIB, "processes": { "9": GIB } }]);
    let machine = Machine::with(&json!([gpu("GPU-a")]));
    let gpus = machine.worker(1).await;
    let held = lease(&gpus, 1).await.unwrap();
    machine.is_now(&used);
    held.mark_unhealthy("process 9 does not die");
    drop(held);
    assert!(lease(&gpus, 1).await.is_none());
    assert_eq!(states(&gpus), [GpuState::Unhealthy]);
    machine.is_now(&json!([gpu("GPU-a")]));
    assert!(lease(&gpus, 1).await.is_some());
}

#[tokio::test]
async fn a_gpu_with_two_slots_takes_two_jobs_and_none_of_them_twice() {
    let machine = Machine::with(&json!([gpu("GPU-a")]));
    let gpus = machine.worker(2).await;
    assert_eq!(gpus.capacity(), 2);
    assert!(lease(&gpus, 2).await.is_none(), "one job can't have one GPU twice");
    let first = lease(&gpus, 1).await.unwrap();
    machine.is_now(&json!([{ "uuid": "GPU-a", "memory_bytes": 80 * GIB, "processes": { "9": GIB } }]));
    let second = lease(&gpus, 1).await.unwrap();
    assert!(lease(&gpus, 1).await.is_none());
    drop((first, second));
    assert!(lease(&gpus, 1).await.is_none(), "nobody of ours is on it, and somebody is");
}

#[tokio::test]
async fn what_a_run_takes_of_its_gpu_is_measured_and_its_own_words_stand() {
    let gpu = |energy_mj: u64, processes: Value, accounted: Value| {
        json!([{ "uuid": "GPU-a", "memory_bytes": 80 * GIB, "energy_mj": energy_mj, "processes": processes,
                 "accounted": accounted }])
    };
    let machine = Machine::with(&gpu(1_000, json!({}), Value::Null));
    let gpus = machine.worker(1).await;
    let held = lease(&gpus, 1).await.unwrap();
    let meter = Meter::begin(&held).await;
    machine.is_now(&gpu(2_000, json!({ "1": GIB, "2": 2 * GIB }), Value::Null));
    gpus.inventory().look().await;
    machine.is_now(&gpu(6_000, json!({ "1": GIB }), Value::Null));
    gpus.inventory().look().await;
    let mut performance = Map::new();
    meter.end(&held).await.add_to(&mut performance);
    assert_eq!(performance["gpu_peak_memory_bytes"], json!(3 * GIB));
    assert_eq!(performance["gpu_peak_memory_source"], "sampled");
    assert_eq!(performance["gpu_energy_joules"], json!(5.0));

    machine.is_now(&gpu(6_000, json!({}), json!({ "1": 9 * GIB })));
    let meter = Meter::begin(&held).await;
    machine.is_now(&gpu(7_500, json!({}), json!({ "1": 9 * GIB, "3": 4 * GIB })));
    let mut performance = Map::from_iter([("gpu_energy_joules".to_owned(), json!("mine"))]);
    meter.end(&held).await.add_to(&mut performance);
    assert_eq!(performance["gpu_peak_memory_bytes"], json!(4 * GIB), "an earlier job's process does not count");
    assert_eq!(performance["gpu_peak_memory_source"], "accounting");
    assert_eq!(performance["gpu_energy_joules"], "mine");
}

#[tokio::test]
async fn a_job_and_its_gpu_are_joined_for_as_long_as_it_has_it() {
    let machine = Machine::with(&json!([gpu("GPU-a")]));
    let gpus = machine.worker(1).await;
    assert_eq!(gpus.job_info(), "");
    let held = lease(&gpus, 1).await.unwrap();
    let line = format!("leadersboard_gpu_job_info{{gpu=\"0\",UUID=\"GPU-a\",job=\"{}\"}} 1\n", job());
    assert!(gpus.job_info().ends_with(&line));
    drop(held);
    assert_eq!(gpus.job_info(), "");
}

#[tokio::test]
async fn what_the_gpus_of_a_run_do_is_told_together() {
    let machine = Machine::with(&json!([gpu("GPU-a"), gpu("GPU-b"), gpu("GPU-c")]));
    let gpus = machine.worker(1).await;
    let (run, without) = (lease(&gpus, 2).await.unwrap(), lease(&gpus, 0).await.unwrap());
    let using = |uuid, gib: u64| json!({ "uuid": uuid, "memory_bytes": 80 * GIB, "used_bytes": gib * GIB });
    machine.is_now(&json!([using("GPU-a", 3), using("GPU-b", 4), using("GPU-c", 50)]));
    gpus.inventory().look().await;
    let now = run.now().unwrap();
    assert_eq!(now.memory_used_bytes, 7 * GIB);
    assert!((now.utilisation_percent - 50.0).abs() < 1e-9);
    assert_eq!(without.now(), None);
}

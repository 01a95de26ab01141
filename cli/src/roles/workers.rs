//! `leadersboard workers`: which workers there are.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use events::ports::{GpuPresence, SeenWorker, WorkersPort};
use serde_json::{Value, json};

use super::answer;
use crate::client::Output;
use crate::client::output::human;
use crate::client::output::table::{Align, render};
use crate::options::redis::RedisOptions;
use crate::shared_policy;
use crate::wiring::connect;

/// Room for the sentence that tells why a worker takes no jobs.
const MAX_WHY_CHARS: usize = 100;

/// List the workers: alive, draining, unfit to set up jobs, or silent with tickets in their hands.
#[derive(Debug, Args)]
#[command(after_help = "\
A worker reports every five seconds. After twenty seconds without a report it counts as silent. Other workers \
take over its jobs when their leases expire.")]
pub(crate) struct WorkersCommand {
    #[command(flatten)]
    redis: RedisOptions,
}

impl WorkersCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        let redis = connect(&self.redis).await?;
        let classes: Vec<_> = shared_policy::stored(&redis).await?.policy().classes.into_keys().collect();
        let workers = redis.workers(&classes).await?;
        let documents: Vec<Value> = workers.iter().map(document).collect();
        answer(output, &table(&workers), &json!({ "workers": documents }))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn state(worker: &SeenWorker) -> &'static str {
    match &worker.presence {
        Some(presence) if presence.draining => "draining",
        Some(presence) if presence.unfit.is_some() => "unfit",
        Some(_) => "alive",
        None => "silent",
    }
}

/// The state, and why a worker takes no jobs.
fn shown(worker: &SeenWorker) -> String {
    let why = worker.presence.as_ref().and_then(|presence| presence.unfit.as_ref());
    why.map_or_else(
        || state(worker).to_owned(),
        |why| format!("{}: {}", state(worker), human::line(why, MAX_WHY_CHARS)),
    )
}

fn document(worker: &SeenWorker) -> Value {
    let mut document = json!({
        "worker": worker.worker.to_string(),
        "state": state(worker),
        "last_beat_s": worker.silent.map(|silent| silent.as_secs_f64()),
        "tickets": worker.tickets,
    });
    if let Some(presence) = &worker.presence {
        document["host"] = json!(presence.host);
        document["pid"] = json!(presence.pid);
        document["version"] = json!(presence.version);
        document["classes"] = json!(presence.classes);
        document["slots"] = json!(presence.slots);
        document["busy"] = json!(presence.busy);
        document["sandbox"] = json!(presence.sandbox);
        document["gpus"] = json!(presence.gpus);
        document["unfit"] = json!(presence.unfit);
    }
    document
}

/// A line for each GPU: its model, its memory, its UUID's beginning, and whether a job can have it.
fn gpus(gpus: &[GpuPresence]) -> String {
    if gpus.is_empty() {
        return "none".to_owned();
    }
    let line = |gpu: &GpuPresence| {
        let uuid: String = gpu.uuid.chars().take(12).collect();
        let reason = gpu.reason.as_ref().map_or_else(String::new, |why| format!(": {}", human::plain(why)));
        let name = human::plain(&gpu.name);
        format!("{name} {} GiB {uuid} {}{reason}", gpu.memory_bytes >> 30, gpu.state.as_str())
    };
    gpus.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// How far jobs are confined, in a word; the document tells all of it.
fn sandbox(applied: &str) -> String {
    applied.split(' ').next().filter(|word| !word.is_empty()).map_or_else(|| "-".to_owned(), human::plain)
}

fn table(workers: &[SeenWorker]) -> String {
    if workers.is_empty() {
        return "No workers.".to_owned();
    }
    let columns = [
        ("WORKER", Align::Left),
        ("STATE", Align::Left),
        ("LAST BEAT", Align::Right),
        ("JOBS", Align::Right),
        ("TICKETS", Align::Right),
        ("SANDBOX", Align::Left),
        ("GPUS", Align::Left),
        ("CLASSES", Align::Left),
        ("HOST", Align::Left),
        ("PID", Align::Right),
        ("VERSION", Align::Left),
    ];
    let rows = workers.iter().map(|worker| {
        let told = worker.presence.as_ref();
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let classes =
            |classes: &[events::ClassName]| classes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        [
            worker.worker.to_string(),
            shown(worker),
            text(worker.silent.map(|silent| format!("{} ago", human::duration(silent)))),
            text(told.map(|told| format!("{} of {}", told.busy, told.slots))),
            worker.tickets.to_string(),
            text(told.map(|told| sandbox(&told.sandbox))),
            text(told.map(|told| gpus(&told.gpus))),
            text(told.map(|told| classes(&told.classes))),
            text(told.map(|told| human::plain(&told.host))),
            text(told.map(|told| told.pid.to_string())),
            text(told.map(|told| human::plain(&told.version))),
        ]
    });
    [vec![render(columns, rows)], workers.iter().filter_map(one_at_a_time).collect()].concat().join("\n")
}

/// Why a worker has one slot, if that is not its setting.
fn one_at_a_time(worker: &SeenWorker) -> Option<String> {
    let applied = &worker.presence.as_ref()?.sandbox;
    applied.split(' ').any(|word| word == "jobs=one_at_a_time").then(|| {
        format!(
            "{} runs one job at a time: its jobs run as its own user and without namespaces. Run it as root or allow \
             user namespaces.",
            worker.worker
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use events::ports::{GpuState, Presence};

    use super::*;

    fn worker(presence: Option<Presence>) -> SeenWorker {
        let silent = presence.is_some().then_some(Duration::from_secs(3));
        SeenWorker { worker: "gpu-1-ab".parse().unwrap(), presence, silent, tickets: 2 }
    }

    fn presence() -> Presence {
        Presence {
            worker: "gpu-1-ab".parse().unwrap(),
            host: "gpu\u{1b}-1".to_owned(),
            pid: 7,
            version: "1".to_owned(),
            classes: vec!["small".parse().unwrap()],
            slots: 4,
            busy: 1,
            draining: false,
            sandbox: "strict jobs=one_at_a_time".to_owned(),
            gpus: vec![],
            unfit: None,
        }
    }

    #[test]
    fn each_worker_is_alive_draining_unfit_or_silent() {
        assert_eq!(shown(&worker(None)), "silent");
        assert_eq!(shown(&worker(Some(presence()))), "alive");
        assert_eq!(shown(&worker(Some(Presence { draining: true, ..presence() }))), "draining");
        let unfit = Presence { unfit: Some("no\nsandbox".to_owned()), ..presence() };
        assert_eq!(shown(&worker(Some(unfit))), "unfit: no sandbox");
    }

    #[test]
    fn a_worker_is_a_line_and_the_reason_for_its_one_slot() {
        assert_eq!(table(&[]), "No workers.");
        let text = table(&[worker(Some(presence()))]);
        let line = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(line, "gpu-1-ab alive 3 s ago 1 of 4 2 strict none small gpu-1 7 1");
        assert!(text.ends_with("Run it as root or allow user namespaces."), "{text}");
        let silent = table(&[worker(None)]);
        assert!(silent.contains("gpu-1-ab  silent          -     -        2"), "{silent}");
    }

    #[test]
    fn a_gpu_that_no_job_can_have_tells_why() {
        let gpu = GpuPresence {
            uuid: "GPU-0123456789abcdef".to_owned(),
            name: "H200".to_owned(),
            memory_bytes: 139 << 30,
            state: GpuState::Taken,
            reason: Some("process 9".to_owned()),
        };
        assert_eq!(gpus(&[gpu]), format!("H200 139 GiB GPU-01234567 {}: process 9", GpuState::Taken.as_str()));
    }
}

//! Where a job stands, in words.

use std::time::Duration;

use super::human;
use crate::client::http::model::{Job, Stage, Status};

/// `pending: 2 jobs of class small are ahead of you, position 3, starts in about 5 min`,
/// `running on gpu-1 (attempt 2)`.
pub(crate) fn describe(job: &Job) -> String {
    let mut text = job.status.name().to_owned();
    match job.status {
        Status::Pending => {
            let parts = waiting_for(job);
            if !parts.is_empty() {
                text = format!("{text}: {}", parts.join(", "));
            }
        }
        Status::Running => {
            if let Some(stage) = job.stage.as_ref().filter(|stage| stage.name != "running") {
                text = stage_of(stage);
            }
            if let Some(worker) = &job.worker {
                text = format!("{text} on {}", human::line(worker, 60));
            }
        }
        Status::Completed | Status::Failed | Status::Cancelled | Status::Unknown => {}
    }
    if job.attempt() > 1 { format!("{text} (attempt {})", job.attempt()) } else { text }
}

/// `running on gpu-1 (attempt 2)`: the beginning of an attempt. `None` if its worker is not known.
pub(crate) fn beginning(job: &Job) -> Option<String> {
    let worker = human::line(job.worker.as_deref()?, 60);
    let attempt = if job.attempt() > 1 { format!(" (attempt {})", job.attempt()) } else { String::new() };
    Some(format!("running on {worker}{attempt}"))
}

/// `storing 1.2 GiB of 3 GiB`, `preparing`, `preparing (waiting: …)`.
pub(crate) fn stage_of(stage: &Stage) -> String {
    let name = human::line(&stage.name, 40);
    if let Some(reason) = stage.reason.as_deref().filter(|reason| !reason.is_empty()) {
        return format!("{name} (waiting: {})", human::line(reason, 120));
    }
    match (stage.bytes_done, stage.bytes_total) {
        (Some(done), Some(total)) => format!("{name} {} of {}", human::size(done), human::size(total)),
        (Some(done), None) if done > 0 => format!("{name} {}", human::size(done)),
        _ => name,
    }
}

/// What a pending job waits for, in parts of a sentence: the server's reason, its place, and about how long.
pub(crate) fn waiting_for(job: &Job) -> Vec<String> {
    let Some(queue) = &job.queue else {
        return Vec::new();
    };
    let reason = queue.reason.as_deref().filter(|reason| !reason.is_empty()).map(|reason| human::line(reason, 120));
    let told = reason.is_some();
    let mut parts: Vec<String> = reason.into_iter().collect();
    match (queue.position, queue.ahead) {
        (Some(position), _) if told => parts.push(format!("position {position}")),
        (_, Some(0)) => parts.push("next".to_owned()),
        (_, Some(ahead)) => parts.push(format!("{ahead} ahead")),
        (_, None) => {}
    }
    if let Some(seconds) = queue.eta_seconds.filter(|&seconds| seconds >= 1.0) {
        // Whole seconds: an estimate has no tenths.
        let eta = Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX);
        parts.push(format!("starts in about {}", human::duration(eta)));
    }
    if queue.workers_alive == Some(0) && !told {
        parts.push("no worker is alive".to_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(extra: &serde_json::Value) -> String {
        let mut job = serde_json::json!({
            "job_id": "j", "submission_id": "s", "user_id": "u", "created_at": "2026-01-01T00:00:00Z",
        });
        job.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        describe(&serde_json::from_value(job).unwrap())
    }

    #[test]
    fn the_status_line() {
        let cases = [
            (serde_json::json!({"status": "pending"}), "pending"),
            (serde_json::json!({"status": "running", "worker": "w", "stage": {"name": "running"}}), "running on w"),
            (
                serde_json::json!({"status": "running", "worker": "w", "stage": {
                    "name": "storing", "bytes_done": 1024, "bytes_total": 3072,
                }}),
                "storing 1.0 KiB of 3.0 KiB on w",
            ),
            (serde_json::json!({"status": "running", "stage": {"name": "preparing", "bytes_done": null}}), "preparing"),
            (
                serde_json::json!({"status": "running", "worker": "w", "stage": {
                    "name": "preparing", "reason": "the worker's disk is full",
                }}),
                "preparing (waiting: the worker's disk is full) on w",
            ),
            (
                serde_json::json!({"status": "pending", "queue": {"ahead": 2, "eta_seconds": 90.4}}),
                "pending: 2 ahead, starts in about 1 min 30 s",
            ),
            (
                serde_json::json!({"status": "pending", "queue": {
                    "position": 3, "ahead": 2, "workers_alive": 1, "eta_seconds": 90,
                    "reason": "2 jobs of class small are ahead of you",
                }}),
                "pending: 2 jobs of class small are ahead of you, position 3, starts in about 1 min 30 s",
            ),
            (
                serde_json::json!({"status": "pending", "queue": {
                    "position": 1, "ahead": 0, "workers_alive": 0, "eta_seconds": null,
                    "reason": "no worker for class small is alive",
                }}),
                "pending: no worker for class small is alive, position 1",
            ),
            (
                serde_json::json!({"status": "pending", "attempt": 2, "queue": {"ahead": 0, "workers_alive": 0}}),
                "pending: next, no worker is alive (attempt 2)",
            ),
            (serde_json::json!({"status": "running", "worker": "gpu-1", "attempt": 1}), "running on gpu-1"),
        ];
        for (job, expected) in cases {
            assert_eq!(described(&job), expected);
        }
    }

    #[test]
    fn the_beginning_of_an_attempt() {
        let told = |attempt: u32, worker: Option<&str>| {
            let job = serde_json::json!({
                "job_id": "j", "submission_id": "s", "user_id": "u", "created_at": "2026-01-01T00:00:00Z",
                "status": "running", "attempt": attempt, "worker": worker, "stage": {"name": "preparing"},
            });
            beginning(&serde_json::from_value(job).unwrap())
        };
        assert_eq!(told(1, Some("gpu-1")).unwrap(), "running on gpu-1");
        assert_eq!(told(2, Some("gpu-1")).unwrap(), "running on gpu-1 (attempt 2)");
        assert_eq!(told(1, None), None);
    }
}

//! Ordinary programs, which work in the sandbox as they do anywhere.

use leadersboard_tests::board::repository;
use serde_json::json;

use super::{Level, Site};

crate::tests!(ordinary_programs_work);

const WORKLOADS: &str = include_str!("programs/workloads.py");

const WORKS: &[&str] = &[
    "numpy",
    "scikit-learn",
    "pools",
    "data loader",
    "subprocesses",
    "threads",
    "plots",
    "databases",
    "temporary files",
    "places and times",
    "own process",
];

async fn ordinary_programs_work(level: Level) {
    let python = repository().join("target/sandbox-venv/bin/python").display().to_string();
    let site = Site::new(level, &[("JOB_PYTHON", &python)]).await;
    let cores = std::thread::available_parallelism().expect("it can be told").get();
    let mut jobs = Vec::new();
    for work in WORKS {
        jobs.push(site.submit(WORKLOADS, &json!({ "work": work, "cores": cores })).await);
    }
    for job in jobs {
        site.completed(&job).await;
    }
    site.unharmed().await;
}

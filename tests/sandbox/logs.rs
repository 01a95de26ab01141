//! Attacks by what a job prints.

use serde_json::json;

use super::{Level, Site};

crate::tests!(a_flood_is_cut_and_says_so, what_is_no_text_is_shown_as_text);

const LOGS: &str = include_str!("programs/logs.py");

/// How much memory a service may have taken that was flooded with much more, in bytes.
const MEMORY: u64 = 400 << 20;

async fn a_flood_is_cut_and_says_so(level: Level) {
    let site = Site::new(level, &[("RESOURCE_CLASSES", "small=5m,quiet=5m:log=1MiB")]).await;
    let flood = site.submit_to("quiet", LOGS, &json!({ "log": "flood", "mib": 400 })).await;
    let line = site.submit_to("quiet", LOGS, &json!({ "log": "line", "mib": 200 })).await;
    site.completed(&flood).await;
    let shown = site.failed(&line, "nonzero_exit").await;
    assert!(shown["failure"]["error"].as_str().is_some_and(|error| error.len() < 1000), "{shown:#}");
    assert!(shown["failure"]["log_tail"].as_str().is_some_and(|tail| tail.len() <= 1024), "{shown:#}");
    for job in [flood, line] {
        let log = site.log(&job).await;
        assert!(log.len() <= (1 << 20) + 200, "{}", log.len());
        assert!(log.contains("[leadersboard]") && log.contains("limit"), "{}", &log[log.len() - 200..]);
    }
    let peak = peak_memory(site.board.pid().as_raw());
    assert!(peak < MEMORY, "the service took {peak} bytes");
    site.unharmed().await;
}

async fn what_is_no_text_is_shown_as_text(level: Level) {
    let site = Site::new(level, &[]).await;
    let job = site.submit(LOGS, &json!({ "log": "bytes" })).await;
    site.completed(&job).await;
    let log = site.log(&job).await;
    for part in ["nulnul\n", "\u{fffd} invalid", "cut \u{1f600} here", "red", " surrogate", "the end"] {
        assert!(log.contains(part), "{part:?} is not in {log:?}");
    }
    site.unharmed().await;
}

fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    peak.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
}

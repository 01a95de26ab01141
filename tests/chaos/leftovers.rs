//! Processes of jobs that outlived everything.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// The processes of jobs below this directory that are there although every job has ended, if any are.
pub(crate) async fn of(data: &Path) -> Option<String> {
    let began = Instant::now();
    loop {
        let left = left(data);
        if left.is_empty() {
            return None;
        }
        if began.elapsed() > PATIENCE {
            return Some(format!("processes of jobs are left: {left:?}"));
        }
        sleep(POLL).await;
    }
}

/// By their home, which is below their worker's work root.
fn left(data: &Path) -> Vec<i32> {
    let home = format!("HOME={}/", data.display());
    let Ok(processes) = std::fs::read_dir("/proc") else { return vec![] };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_left = |number: &i32| {
        std::fs::read(format!("/proc/{number}/environ"))
            .is_ok_and(|all| all.split(|byte| *byte == 0).any(|entry| entry.starts_with(home.as_bytes())))
    };
    numbers.filter(is_left).collect()
}

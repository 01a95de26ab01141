//! The processes below this one, as `/proc` tells.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// Sends a signal to every process below this one.
pub(super) fn signal(signal: Signal) {
    for pid in descendants() {
        // It may have ended since it was seen.
        let _ = kill_process(pid, signal);
    }
}

/// Kills every process below this one that can be seen. They are stopped first, so that none forks while others are
/// looked for.
pub(super) fn kill() {
    let mut stopped = Vec::new();
    loop {
        let new: Vec<Pid> = descendants().into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            let _ = kill_process(pid, Signal::STOP);
            stopped.push(pid);
        }
    }
    for pid in stopped {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Every process below this one. One whose parent dies becomes this one's own child, so none is ever out of sight.
fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if let Some(parent) = fs::read_to_string(entry.path().join("stat")).ok().and_then(|stat| parent_of(&stat)) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![getpid().as_raw_nonzero().get()];
    while let Some(pid) = next.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(below.iter().copied().filter_map(Pid::from_raw));
        next.extend(below);
    }
    found
}

/// The parent's id in a line of `/proc/<pid>/stat`. The name before it is in brackets and may itself hold any byte.
fn parent_of(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    let state = fields.next()?;
    // What is dead already only waits to be reaped.
    if state == "Z" { None } else { fields.next()?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_hide_the_parent() {
        assert_eq!(parent_of("7 (a) S 1) R 42 7 7"), Some(42));
        assert_eq!(parent_of("7 (sleep) Z 42 7 7"), None);
    }

    #[test]
    fn children_are_found() {
        let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        assert!(descendants().iter().any(|pid| pid.as_raw_nonzero().get() == id));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

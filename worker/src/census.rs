//! Counts the processes of this machine, and what each run uses.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// All processes at one moment, and what they use.
#[derive(Debug, Default)]
pub(crate) struct Census {
    processes: HashMap<i32, Process>,
    children: HashMap<i32, Vec<i32>>,
}

/// What a process and its ancestors' bookkeeping know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i32,
    threads: u64,
    /// Of its own, and of its children that it has waited for, in clock ticks.
    ticks: u64,
    resident_pages: u64,
}

/// What a tree of processes uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TreeUsage {
    /// How many processes.
    pub(crate) processes: u64,
    /// How many threads.
    pub(crate) threads: u64,
    /// Their resident memory. What they share is counted once for each.
    pub(crate) resident_bytes: u64,
    /// Processor time, of those that have ended as well.
    pub(crate) processor_time: Duration,
}

impl Census {
    /// Counts now. This reads a file for each process: not for an asynchronous thread.
    pub(crate) fn take() -> Self {
        let mut census = Self::default();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // One that has ended since is none.
            let stat = fs::read_to_string(entry.path().join("stat")).ok();
            if let Some(process) = stat.as_deref().and_then(parse) {
                census.children.entry(process.parent).or_default().push(pid);
                census.processes.insert(pid, process);
            }
        }
        census
    }

    /// The ids of a process and of all below it.
    pub(crate) fn tree(&self, root: i32) -> Vec<i32> {
        let mut found = Vec::new();
        let mut next = vec![root];
        while let Some(pid) = next.pop() {
            if self.processes.contains_key(&pid) {
                found.push(pid);
                next.extend(self.children.get(&pid).into_iter().flatten());
            }
        }
        found
    }

    /// The ids of the children of a process.
    pub(crate) fn children(&self, parent: i32) -> Vec<i32> {
        self.children.get(&parent).cloned().unwrap_or_default()
    }

    /// What the tree below a process uses, that process apart: it is the supervisor.
    pub(crate) fn below(&self, root: i32) -> TreeUsage {
        let mut usage = TreeUsage::default();
        let mut ticks = 0;
        for pid in self.tree(root) {
            let process = self.processes[&pid];
            ticks += process.ticks;
            if pid != root {
                usage.processes += 1;
                usage.threads += process.threads;
                usage.resident_bytes += process.resident_pages * page_bytes();
            }
        }
        usage.processor_time = Duration::from_millis(ticks * 1000 / ticks_a_second());
        usage
    }
}

/// The last census, shared by all runs of a worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<Mutex<Option<Taken>>>);

/// A census, and when it was taken.
type Taken = (Instant, Arc<Census>);

impl Counter {
    /// A census that is at most so old.
    pub(crate) async fn census(&self, at_most: Duration) -> Arc<Census> {
        let mut last = self.0.lock().await;
        if let Some((taken, census)) = last.as_ref()
            && taken.elapsed() <= at_most
        {
            return Arc::clone(census);
        }
        let census = Arc::new(tokio::task::spawn_blocking(Census::take).await.unwrap_or_default());
        *last = Some((Instant::now(), Arc::clone(&census)));
        census
    }
}

/// A line of `/proc/<pid>/stat`. The name in it is in brackets and may itself hold any byte. (proc(5))
fn parse(stat: &str) -> Option<Process> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.trim().parse::<i64>().ok();
    let counted = |field: usize| number(field).and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
    let parent = i32::try_from(number(4)?).ok()?;
    let ticks = (14..=17).map(counted).sum();
    Some(Process { parent, threads: counted(20), ticks, resident_pages: counted(24) })
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

fn ticks_a_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_name() {
        let line = "42 (a) R 1 (b) S 7 42 42 0 -1 4194560 1 0 0 0 10 20 30 40 20 0 3 0 99 1000000 256 1844674407";
        let expected = Process { parent: 7, threads: 3, ticks: 100, resident_pages: 256 };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("42 (gone"), None);
    }

    #[test]
    fn what_is_below_this_process_is_counted() {
        let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        let here = i32::try_from(std::process::id()).unwrap();
        let census = Census::take();
        assert!(census.tree(here).contains(&i32::try_from(child.id()).unwrap()));
        // In the moment in which it becomes another program it has no memory.
        let counted = (0..1_000).map(|_| Census::take().below(here)).find(|usage| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            usage.resident_bytes > 0
        });
        assert!(counted.is_some_and(|usage| usage.processes >= 1), "{counted:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

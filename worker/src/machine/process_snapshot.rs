//! Counts the processes of this machine, and what each run uses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::machine::procfs;
use crate::machine::procfs::Stat;

/// All processes at one moment, and what they use.
#[derive(Debug, Default)]
pub(crate) struct ProcessSnapshot {
    processes: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
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

impl ProcessSnapshot {
    /// Counts now. This reads a file for each process: not for an asynchronous thread.
    pub(crate) fn take() -> Self {
        let mut snapshot = Self::default();
        for pid in procfs::pids() {
            // One that has ended since is none.
            if let Ok(stat) = Stat::of(pid) {
                snapshot.children.entry(stat.parent).or_default().push(pid);
                snapshot.processes.insert(pid, stat);
            }
        }
        snapshot
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

/// The last snapshot, shared by all runs of a worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<Mutex<Option<Taken>>>);

/// A snapshot, and when it was taken.
type Taken = (Instant, Arc<ProcessSnapshot>);

impl Counter {
    /// A snapshot that is at most so old.
    pub(crate) async fn snapshot(&self, at_most: Duration) -> Arc<ProcessSnapshot> {
        let mut last = self.0.lock().await;
        if let Some((taken, snapshot)) = last.as_ref()
            && taken.elapsed() <= at_most
        {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(tokio::task::spawn_blocking(ProcessSnapshot::take).await.unwrap_or_default());
        *last = Some((Instant::now(), Arc::clone(&snapshot)));
        snapshot
    }
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
    fn what_is_below_this_process_is_counted() {
        let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        let here = i32::try_from(std::process::id()).unwrap();
        let snapshot = ProcessSnapshot::take();
        assert!(snapshot.tree(here).contains(&i32::try_from(child.id()).unwrap()));
        // In the moment in which it becomes another program it has no memory.
        let counted = (0..1_000).map(|_| ProcessSnapshot::take().below(here)).find(|usage| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            usage.resident_bytes > 0
        });
        assert!(counted.is_some_and(|usage| usage.processes >= 1), "{counted:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

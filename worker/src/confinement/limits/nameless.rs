//! Files without a name: they are a run's as long as one of its processes has them open, mapped or not.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::machine::procfs;

/// How often they are counted, at most.
const LOOK: Duration = Duration::from_secs(1);
/// A count may take this part of the time: the next begins not before so many times its own duration.
const SHARE: u32 = 3;

/// What processes have open that has no name, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// Files in memory.
    pub(crate) memory: u64,
    /// Files that were removed from the machine's shared memory.
    pub(crate) shared_memory: u64,
    /// Files that were removed from a disk.
    pub(crate) disk: u64,
}

/// The last count. Counting runs beside everything else: a job with many open files must not delay it.
#[derive(Debug, Default)]
pub(crate) struct Nameless {
    counting: Option<(Instant, JoinHandle<Open>)>,
    counted: Option<(Instant, Duration)>,
    open: Open,
}

impl Nameless {
    /// What these processes have open, by the last count; begins the next where it is time. `device` is the disk's.
    pub(crate) async fn look(&mut self, pids: &[i32], device: Option<u64>) -> Open {
        if let Some((began, counting)) = self.counting.take_if(|(_, counting)| counting.is_finished()) {
            self.open = counting.await.unwrap_or(self.open);
            self.counted = Some((Instant::now(), began.elapsed()));
        }
        let is_time = self.counted.is_none_or(|(at, took)| at.elapsed() >= LOOK.max(took * SHARE));
        if self.counting.is_none() && is_time {
            let pids = pids.to_vec();
            self.counting = Some((Instant::now(), spawn_blocking(move || open(&pids, device))));
        }
        self.open
    }
}

/// Each file once, however many have it open.
pub(crate) fn open(pids: &[i32], device: Option<u64>) -> Open {
    let (mut memory, mut shared_memory, mut disk) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for pid in pids {
        let open =
            fs::read_dir(procfs::living(*pid).join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in open {
            let Ok(target) = fs::read_link(&path) else { continue };
            let target = target.to_string_lossy();
            let is_memory = target.starts_with("/memfd:");
            if !is_memory && !target.ends_with(" (deleted)") {
                continue;
            }
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let files = if is_memory {
                &mut memory
            } else if target.starts_with("/dev/shm/") {
                &mut shared_memory
            } else if metadata.is_file() && Some(metadata.dev()) == device {
                &mut disk
            } else {
                continue;
            };
            files.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
        }
    }
    let [memory, shared_memory, disk] = [memory, shared_memory, disk].map(|files| files.values().sum());
    Open { memory, shared_memory, disk }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_without_a_name_counts_once() {
        let here = i32::try_from(std::process::id()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let device = Some(fs::metadata(folder.path()).unwrap().dev());
        let before = open(&[here], device);
        let mut removed = tempfile::tempfile_in(folder.path()).unwrap();
        removed.write_all(&vec![1; 1 << 20]).unwrap();
        removed.sync_all().unwrap();
        let memory = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = fs::File::from(memory);
        file.write_all(&vec![1; 1 << 20]).unwrap();
        let _again = file.try_clone().unwrap();
        let after = open(&[here, here], device);
        assert_eq!(after.memory - before.memory, 1 << 20);
        assert!(after.disk - before.disk >= 1 << 20);
    }
}

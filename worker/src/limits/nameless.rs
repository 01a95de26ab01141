//! Shared memory without a name: it is a run's as long as one of its processes has it open, mapped or not.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// How often it is counted: a process may have many files open.
const LOOK: Duration = Duration::from_secs(1);

/// What was counted last.
#[derive(Debug, Default)]
pub(super) struct Nameless {
    counted: Option<(Instant, u64)>,
}

impl Nameless {
    /// What these processes have open of it, in bytes.
    pub(super) async fn bytes(&mut self, pids: &[i32]) -> u64 {
        if let Some((at, bytes)) = self.counted
            && at.elapsed() < LOOK
        {
            return bytes;
        }
        let pids = pids.to_vec();
        let bytes = spawn_blocking(move || open_bytes(&pids)).await.unwrap_or(0);
        self.counted = Some((Instant::now(), bytes));
        bytes
    }
}

/// Each file once, however many have it open.
fn open_bytes(pids: &[i32]) -> u64 {
    let mut files = BTreeMap::new();
    for pid in pids {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in open {
            let is_memory = fs::read_link(&path).is_ok_and(|target| {
                let target = target.to_string_lossy();
                target.starts_with("/memfd:") || (target.starts_with("/dev/shm/") && target.ends_with(" (deleted)"))
            });
            if is_memory && let Ok(metadata) = fs::metadata(&path) {
                files.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
            }
        }
    }
    files.values().sum()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_without_a_name_counts_once() {
        let here = i32::try_from(std::process::id()).unwrap();
        let before = open_bytes(&[here]);
        let memory = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = fs::File::from(memory);
        file.write_all(&vec![1; 1 << 20]).unwrap();
        let _again = file.try_clone().unwrap();
        assert_eq!(open_bytes(&[here, here]) - before, 1 << 20);
    }
}

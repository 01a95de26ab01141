//! Control groups, version 2, where a part of the hierarchy is delegated to the worker.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;

use super::limiter::{Allowance, Bounds, Group, Limiter, without_cache};

const HIERARCHY: &str = "/sys/fs/cgroup";
/// What systemd puts on a group that it has delegated.
const DELEGATED: &str = "user.delegate";

/// The delegated group, in which this worker makes one for each run.
#[derive(Debug)]
pub(crate) struct CgroupV2 {
    base: PathBuf,
    scope: String,
}

#[derive(Debug)]
struct RunGroup(PathBuf);

impl CgroupV2 {
    /// The group of this process, if it is delegated: by systemd, or as the whole of what a container sees.
    pub(crate) fn find(scope: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let base = Path::new(HIERARCHY).join(path.trim_start_matches('/'));
        (path == "/" || is_delegated(&base)).then_some(())?;
        Self::at(base, scope).ok()
    }

    /// Below this group. Its processes move to a leaf, for only groups without any may hand out controllers.
    fn at(base: PathBuf, scope: &str) -> io::Result<Self> {
        let controllers = fs::read_to_string(base.join("cgroup.controllers"))?;
        if !["memory", "pids"].iter().all(|wanted| controllers.split_whitespace().any(|c| c == *wanted)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let leaf = base.join(folder_of(scope));
        fs::create_dir(&leaf)?;
        for process in fs::read_to_string(base.join("cgroup.procs"))?.lines() {
            // One that has ended since need not move.
            let _ = fs::write(leaf.join("cgroup.procs"), process);
        }
        fs::write(base.join("cgroup.subtree_control"), "+memory +pids")?;
        Ok(Self { base, scope: scope.to_owned() })
    }
}

fn folder_of(scope: &str) -> String {
    format!("leadersboard-{scope}")
}

fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 8];
    getxattr(group, DELEGATED, &mut value[..]).is_ok_and(|read| value.get(..read) == Some(b"1"))
}

impl Limiter for CgroupV2 {
    fn name(&self) -> &'static str {
        "cgroup_v2"
    }

    fn bounds(&self) -> Bounds {
        Bounds::Kernel
    }

    fn group(&self, name: &str, allowance: &Allowance) -> io::Result<Box<dyn Group>> {
        let folder = self.base.join(format!("{}-{name}", folder_of(&self.scope)));
        fs::create_dir(&folder)?;
        let group = RunGroup(folder);
        fs::write(group.0.join("memory.max"), allowance.memory_bytes.to_string())?;
        fs::write(group.0.join("pids.max"), allowance.processes.to_string())?;
        // Else the parent of what was killed lives on and may report a success.
        fs::write(group.0.join("memory.oom.group"), "1")?;
        let swap = group.0.join("memory.swap.max");
        if swap.exists() {
            fs::write(swap, "0")?;
        }
        Ok(Box::new(group))
    }

    fn sweep(&self, scope: &str) {
        for group in fs::read_dir(&self.base).into_iter().flatten().flatten() {
            if group.file_name().to_string_lossy().starts_with(&folder_of(scope)) {
                // What is no folder goes with its folder.
                let _ = fs::remove_dir(group.path());
            }
        }
    }
}

impl Group for RunGroup {
    fn entrances(&self) -> Vec<PathBuf> {
        vec![self.0.join("cgroup.procs")]
    }

    fn oom_kills(&self) -> u64 {
        let events = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        events.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|n| n.trim().parse().ok()).unwrap_or(0)
    }

    fn memory_bytes(&self) -> Option<u64> {
        without_cache(&self.0.join("memory.current"), &self.0.join("memory.stat"), "file ", "shmem ")
    }
}

impl Drop for RunGroup {
    fn drop(&mut self) {
        // Empty by now, for the tree is gone; else the kernel keeps it, and it bounds nobody.
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files in the place of the kernel's: what is written where, and what is read from where.
    #[test]
    fn a_run_gets_a_group_with_its_limits() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        fs::write(base.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(base.join("cgroup.procs"), "1\n2\n").unwrap();
        let limiter = CgroupV2::at(base.to_owned(), "w").unwrap();
        assert_eq!(fs::read_to_string(base.join("cgroup.subtree_control")).unwrap(), "+memory +pids");
        let allowance = Allowance { memory_bytes: 1 << 30, processes: 64, disk_bytes: 0 };
        let group = limiter.group("run", &allowance).unwrap();
        assert_eq!(fs::read_to_string(base.join("leadersboard-w-run/memory.max")).unwrap(), "1073741824");
        assert_eq!(fs::read_to_string(base.join("leadersboard-w-run/pids.max")).unwrap(), "64");
        assert_eq!(group.entrances(), [base.join("leadersboard-w-run/cgroup.procs")]);
        assert_eq!(group.oom_kills(), 0);
        fs::write(base.join("leadersboard-w-run/memory.events"), "low 0\noom 3\noom_kill 2\n").unwrap();
        assert_eq!(group.oom_kills(), 2);
        fs::write(base.join("leadersboard-w-run/memory.current"), "1000\n").unwrap();
        fs::write(base.join("leadersboard-w-run/memory.stat"), "anon 200\nfile 700\nfile_mapped 9\nshmem 300\n")
            .unwrap();
        assert_eq!(group.memory_bytes(), Some(600));
        fs::create_dir(base.join("leadersboard-dead")).unwrap();
        fs::create_dir(base.join("leadersboard-dead-run")).unwrap();
        limiter.sweep("dead");
        assert!(!base.join("leadersboard-dead").exists() && !base.join("leadersboard-dead-run").exists());
    }

    #[test]
    fn a_group_without_the_controllers_is_of_no_use() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "cpu\n").unwrap();
        assert!(CgroupV2::at(folder.path().to_owned(), "w").is_err());
    }
}

//! Control groups, version 1: a memory hierarchy, and one for processes where there is one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::limiter::{Allowance, Bounds, Group, Limiter, without_cache};

/// The folders of this worker in both hierarchies.
#[derive(Debug)]
pub(crate) struct CgroupV1 {
    memory: Folder,
    processes: Option<Folder>,
}

/// A folder of a hierarchy that goes with its owner.
#[derive(Debug)]
struct Folder(PathBuf);

/// One run's folders.
#[derive(Debug)]
struct RunGroup {
    memory: Folder,
    processes: Option<Folder>,
}

impl CgroupV1 {
    /// Below the groups this process is in, if it may make groups there.
    pub(crate) fn find(scope: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let make = |controller| {
            let folder = own_folder(&own, controller)?.join(folder_of(scope));
            Folder::make(folder).ok()
        };
        let memory = make("memory")?;
        // Without this file nobody can tell whether the kernel had to kill.
        if oom_kills(&memory.0).is_none() || fs::metadata(memory.0.join("memory.limit_in_bytes")).is_err() {
            return None;
        }
        Some(Self { memory, processes: make("pids") })
    }
}

fn folder_of(scope: &str) -> String {
    format!("leadersboard-{scope}")
}

/// Where the group of this process is in the hierarchy of a controller. A container may see but its own part.
fn own_folder(own: &str, controller: &str) -> Option<PathBuf> {
    let of_controller =
        |line: &&str| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|n| n == controller));
    let path = own.lines().find(of_controller)?.splitn(3, ':').nth(2)?;
    let hierarchy = Path::new("/sys/fs/cgroup").join(controller);
    let folder = hierarchy.join(path.trim_start_matches('/'));
    Some(if folder.is_dir() { folder } else { hierarchy })
}

fn oom_kills(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join("memory.oom_control")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

impl Limiter for CgroupV1 {
    fn name(&self) -> &'static str {
        "cgroup_v1"
    }

    fn bounds(&self) -> Bounds {
        Bounds::Kernel
    }

    fn group(&self, name: &str, allowance: &Allowance) -> io::Result<Box<dyn Group>> {
        let memory = Folder::make(self.memory.0.join(name))?;
        let limit = allowance.memory_bytes.to_string();
        fs::write(memory.0.join("memory.limit_in_bytes"), &limit)?;
        // Memory and swap together; only there where swap is counted.
        let with_swap = memory.0.join("memory.memsw.limit_in_bytes");
        if with_swap.exists() {
            fs::write(with_swap, &limit)?;
        }
        let processes = match &self.processes {
            None => None,
            Some(parent) => {
                let folder = Folder::make(parent.0.join(name))?;
                fs::write(folder.0.join("pids.max"), allowance.processes.to_string())?;
                Some(folder)
            }
        };
        Ok(Box::new(RunGroup { memory, processes }))
    }

    fn sweep(&self, scope: &str) {
        for own in [Some(&self.memory), self.processes.as_ref()].into_iter().flatten() {
            let left = own.0.with_file_name(folder_of(scope));
            for run in fs::read_dir(&left).into_iter().flatten().flatten() {
                // What is no folder goes with its folder.
                let _ = fs::remove_dir(run.path());
            }
            let _ = fs::remove_dir(left);
        }
    }
}

impl Group for RunGroup {
    fn entrances(&self) -> Vec<PathBuf> {
        [Some(&self.memory), self.processes.as_ref()].into_iter().flatten().map(|f| f.0.join("cgroup.procs")).collect()
    }

    fn oom_kills(&self) -> u64 {
        oom_kills(&self.memory.0).unwrap_or(0)
    }

    fn memory_bytes(&self) -> Option<u64> {
        let file = |name| self.memory.0.join(name);
        without_cache(&file("memory.usage_in_bytes"), &file("memory.stat"), "total_cache ", "total_shmem ")
    }
}

impl Folder {
    fn make(path: PathBuf) -> io::Result<Self> {
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(Self(path)),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Empty by now, for the tree is gone; else the kernel keeps it, and it bounds nobody.
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_controller_is_found_among_all() {
        let own = "9:name=systemd:/\n5:cpu,cpuacct:/here\n4:memory:/none/such:odd\n0::/\n";
        assert_eq!(own_folder(own, "memory"), Some(PathBuf::from("/sys/fs/cgroup/memory")));
        assert_eq!(own_folder(own, "pids"), None);
    }
}

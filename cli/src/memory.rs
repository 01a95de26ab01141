//! How much memory is left to this process: on its machine, and in the control groups that it is in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often to look.
const LOOK: Duration = Duration::from_millis(500);
/// This part of the memory, and at most so many bytes, must be left for what is under way.
const RESERVE_PART: u64 = 20;
const MAX_RESERVE: u64 = 256 << 20;

/// Looks from now on. Returns what tells whether the reserve is touched.
pub(crate) fn watch() -> api::ScarceMemory {
    let is_scarce = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_scarce);
    tokio::spawn(async move {
        loop {
            let scarcest = bounds(Path::new("/")).into_iter().find(|bound| bound.is_scarce());
            if scarcest.is_some() != is_scarce.swap(scarcest.is_some(), Ordering::Relaxed) {
                if let Some(Bound { total, left }) = scarcest {
                    tracing::warn!(total, left, "little memory is left: requests that can wait are refused");
                } else {
                    tracing::info!("there is enough memory again");
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    Arc::new(move || told.load(Ordering::Relaxed))
}

/// The memory that this process can have at all; `None` if nothing tells.
pub(crate) fn total_bytes() -> Option<u64> {
    bounds(Path::new("/")).into_iter().map(|bound| bound.total).min()
}

/// A bound of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    total: u64,
    left: u64,
}

impl Bound {
    fn is_scarce(self) -> bool {
        self.left < (self.total / RESERVE_PART).min(MAX_RESERVE)
    }
}

/// The bounds of this process, where they can be read.
fn bounds(root: &Path) -> Vec<Bound> {
    let mut bounds: Vec<Bound> = machine(&text(&root.join("proc/meminfo"))).into_iter().collect();
    let mounted = root.join("sys/fs/cgroup");
    for line in text(&root.join("proc/self/cgroup")).lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (hierarchy, files) = match controllers {
            "" => (mounted.clone(), &V2),
            controllers if controllers.split(',').any(|name| name == "memory") => (mounted.join("memory"), &V1),
            _ => continue,
        };
        // A group has no more than those above it. In a container, paths begin at the container's own group.
        let own = hierarchy.join(path.trim_start_matches('/'));
        let groups = own.ancestors().take_while(|group| group.starts_with(&hierarchy));
        bounds.extend(groups.filter_map(|group| files.read(group)));
    }
    bounds
}

/// The names of a control group's files in one version of the interface.
struct Files {
    most: &'static str,
    used: &'static str,
    /// What the kernel can take back, as it is named in `memory.stat`.
    cache: [&'static str; 2],
}

const V2: Files = Files { most: "memory.max", used: "memory.current", cache: ["active_file", "inactive_file"] };
const V1: Files = Files {
    most: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: ["total_active_file", "total_inactive_file"],
};

impl Files {
    /// `None` if the group has no limit, or there is no such group.
    fn read(&self, group: &Path) -> Option<Bound> {
        let number = |name| text(&group.join(name)).trim().parse::<u64>().ok();
        // Version 1 says "no limit" by a number that no machine has.
        let total = number(self.most).filter(|most| *most < 1 << 60)?;
        let stat = text(&group.join("memory.stat"));
        let cache: u64 = stat.lines().filter_map(|line| value(line, &self.cache)).sum();
        Some(Bound { total, left: total.saturating_sub(number(self.used)?.saturating_sub(cache)) })
    }
}

fn machine(meminfo: &str) -> Option<Bound> {
    let kib = |name| meminfo.lines().find_map(|line| value(line.strip_suffix(" kB")?, &[name]));
    Some(Bound { total: kib("MemTotal:")? << 10, left: kib("MemAvailable:")? << 10 })
}

fn value(line: &str, names: &[&str]) -> Option<u64> {
    let (name, value) = line.split_once(' ')?;
    if names.contains(&name) { value.trim().parse().ok() } else { None }
}

/// What can't be read bounds nothing.
fn text(path: &PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn the_machine_and_every_group_above_bound_this_process() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("proc/meminfo", "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:   600 kB\n"),
                ("proc/self/cgroup", "4:cpu,memory:/old\n3:cpu:/x\n0::/a/b\n"),
                ("sys/fs/cgroup/memory/old/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "900"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "100"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/memory.max", "1000\n"),
                ("sys/fs/cgroup/a/memory.current", "990\n"),
                ("sys/fs/cgroup/a/memory.stat", "anon 800\nactive_file 100\ninactive_file 60\n"),
            ],
        );
        let bound = |total, left| Bound { total, left };
        assert_eq!(bounds(root.path()), [bound(1_024_000, 614_400), bound(900, 800), bound(1_000, 170)]);
        assert_eq!(bounds(Path::new("/nowhere")), []);
        assert!(!bounds(Path::new("/")).is_empty(), "this machine tells how much it has");
    }

    #[test]
    fn a_twentieth_is_kept_and_no_more_than_needed() {
        assert!(Bound { total: 2_000, left: 99 }.is_scarce());
        assert!(!Bound { total: 2_000, left: 100 }.is_scarce());
        assert!(!Bound { total: 1 << 40, left: MAX_RESERVE }.is_scarce());
    }
}

//! What `/proc` tells of processes, read as bytes: a job chooses names and paths, and need not choose text.
//!
//! The crate `procfs` is not used: it reads `status` as UTF-8, so that a job could hide by a name that is none.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

/// The ids of all processes.
pub(crate) fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The users that have a process.
pub(crate) fn users() -> BTreeSet<u32> {
    // Not the owner of the folder, which is root if the process can't be looked into.
    let user = |pid| u32::try_from(number(&root(pid).join("status"), "Uid:")?).ok();
    pids().filter_map(user).collect()
}

/// The folder of a process. Its memory and open files are in [`living`].
pub(crate) fn root(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// Where the memory and the open files of a process are told: in its own folder, or in that of a living thread if its
/// first thread has ended before the others.
pub(crate) fn living(pid: i32) -> PathBuf {
    let own = root(pid);
    match Stat::read(&own) {
        Ok(stat) if stat.first_has_ended => living_thread(&own).unwrap_or(own),
        _ => own,
    }
}

fn living_thread(process: &Path) -> Option<PathBuf> {
    let threads = fs::read_dir(process.join("task")).ok()?.flatten().map(|thread| thread.path());
    threads.into_iter().find(|thread| Stat::read(thread).is_ok_and(|stat| !stat.first_has_ended))
}

/// The first number on the line of a file that begins with `key`.
pub(crate) fn number(file: &Path, key: &str) -> Option<u64> {
    let content = fs::read(file).ok()?;
    let line = content.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key.as_bytes()))?;
    str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// Whether processes of this user may be hidden from this process: those that nobody may look into are.
pub(crate) fn hides_processes() -> bool {
    let can_see_all =
        rustix::thread::capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_PTRACE));
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let groups = nix::unistd::getgroups().unwrap_or_default().into_iter().chain([nix::unistd::getegid()]);
    !can_see_all && hides(&mounts, &groups.map(nix::unistd::Gid::as_raw).collect::<Vec<_>>())
}

/// Whether the mount of `/proc` hides processes from who is in these groups. (`proc_pid_mountinfo(5)`, `proc(5)`)
fn hides(mounts: &[u8], groups: &[u32]) -> bool {
    let text = String::from_utf8_lossy(mounts);
    // Of several mounts at one place the last is seen.
    let Some(mount) = text.lines().rfind(|line| line.split(' ').nth(4) == Some("/proc")) else { return false };
    let options = mount.rsplit(' ').next().unwrap_or_default();
    let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name));
    let is_on = option("hidepid=").is_some_and(|how| how != "0" && how != "off");
    let is_exempt = option("gid=").and_then(|gid| gid.parse().ok()).is_some_and(|gid| groups.contains(&gid));
    is_on && !is_exempt
}

/// Whether reading failed because the process has ended since it was seen.
pub(crate) fn has_ended(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// What the file `stat` tells of a process or thread. (`proc_pid_stat(5)`)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The id of its parent.
    pub(crate) parent: i32,
    /// How many threads it has, a first one that has ended included.
    pub(crate) threads: u64,
    /// Processor time of its own, and of its children that it has waited for, in clock ticks.
    pub(crate) ticks: u64,
    /// Its resident memory, which is the process's.
    pub(crate) resident_pages: u64,
    first_has_ended: bool,
}

impl Stat {
    /// That of the process or thread with this folder.
    ///
    /// # Errors
    /// If it can't be read, as [`has_ended`] tells for this reason or another.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let line = fs::read(folder.join("stat"))?;
        Self::parse(&line).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "unknown form of a process's stat"))
    }

    /// That of a process. The resident memory is known if any of its threads lives.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let folder = root(pid);
        let mut stat = Self::read(&folder)?;
        if stat.first_has_ended && stat.is_alive() {
            let living = living_thread(&folder).and_then(|thread| Self::read(&thread).ok());
            stat.resident_pages = living.map_or(0, |living| living.resident_pages);
        }
        Ok(stat)
    }

    /// Whether it does anything yet. A process whose first thread has ended is alive while it has others.
    pub(crate) const fn is_alive(&self) -> bool {
        !self.first_has_ended || self.threads > 1
    }

    /// The name in the line is in brackets and may itself hold any byte; nothing behind it holds a bracket.
    fn parse(line: &[u8]) -> Option<Self> {
        let name_ends = line.iter().rposition(|byte| *byte == b')')?;
        let fields: Vec<&str> = str::from_utf8(line.get(name_ends + 2..)?).ok()?.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
        let counted = |field: usize| number(field).and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        Some(Self {
            parent: i32::try_from(number(4)?).ok()?,
            threads: counted(20),
            ticks: (14..=17).map(counted).sum(),
            resident_pages: counted(24),
            first_has_ended: matches!(*fields.first()?, "Z" | "X"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &[u8], rest: &str) -> Option<Stat> {
        Stat::parse(&[b"42 (", name, b") ", rest.as_bytes()].concat())
    }

    #[test]
    fn a_line_is_read_whatever_the_name() {
        let rest = "S 7 42 42 0 -1 4194560 1 0 0 0 10 20 30 40 20 0 3 0 99 1000000 256 1844674407\n";
        let expected = Stat { parent: 7, threads: 3, ticks: 100, resident_pages: 256, first_has_ended: false };
        for name in [&b"sleep"[..], b"", b"a) R 1 (b", b") Z", b"\xff\xfe", b"a\nb\t", b"(((", b")))", b" 1 2 3 "] {
            assert_eq!(line(name, rest), Some(expected), "{name:?}");
        }
        assert_eq!(line(b"short", ""), None);
        assert_eq!(Stat::parse(b"42 (gone"), None);
    }

    #[test]
    fn a_process_lives_as_long_as_any_of_its_threads() {
        let alive = |state: &str, threads: u64| {
            let rest = format!("{state} 7 1 1 0 -1 0 1 0 0 0 1 1 1 1 20 0 {threads} 0 99 0 0 0");
            line(b"a", &rest).unwrap().is_alive()
        };
        assert!(alive("S", 1) && alive("T", 1) && alive("Z", 2));
        assert!(!alive("Z", 1) && !alive("Z", 0) && !alive("X", 0));
    }

    #[test]
    fn a_mount_that_hides_processes_is_known() {
        let mounted = |options: &str| {
            let line =
                format!("22 1 0:20 / /proc rw,nosuid - proc proc rw{options}\n23 1 0:21 / /proc/x rw - a b rw\n");
            hides(line.as_bytes(), &[7, 8])
        };
        for options in
            [",hidepid=2", ",hidepid=1", ",hidepid=invisible", ",gid=9,hidepid=noaccess", ",hidepid=ptraceable"]
        {
            assert!(mounted(options), "{options}");
        }
        for options in ["", ",hidepid=0", ",hidepid=off", ",gid=8,hidepid=2", ",gid=7"] {
            assert!(!mounted(options), "{options}");
        }
    }

    #[test]
    fn a_number_is_found_in_a_file_that_is_no_text() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"Name:\t\xff\xfe\nUid:\t7\t8\t9\t10\nVmRSS:\t  12 kB\n").unwrap();
        assert_eq!(number(file.path(), "Uid:"), Some(7));
        assert_eq!(number(file.path(), "VmRSS:"), Some(12));
        assert_eq!(number(file.path(), "Name:"), None);
        assert!(users().contains(&nix::unistd::getuid().as_raw()));
    }
}

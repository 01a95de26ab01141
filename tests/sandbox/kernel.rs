//! Attacks by system calls: on other processes, on the kernel, for privileges.

use serde_json::json;

use super::attempts::{Attempts, HIDDEN};
use super::{Level, Site};

crate::tests!(no_power_is_had);

async fn no_power_is_had(level: Level) {
    let site = Site::new(level, &[]).await;
    let targets = json!({ "worker": site.board.pid().as_raw() });
    let job = site.submit(include_str!("programs/kernel.py"), &targets).await;
    site.completed(&job).await;
    let log = site.log(&job).await;
    let devices =
        ["mem", "kmsg", "port", "kvm", "fuse", "net/tun", "vda", "sda", "loop-control", "ptmx", "mapper/control"];
    let devices = devices.map(|name| format!("open /dev/{name}"));
    let namespaces = ["mount", "cgroup", "uts", "ipc", "user", "pid", "net"];
    let namespaces: Vec<String> =
        namespaces.iter().flat_map(|name| [format!("unshare {name}"), format!("clone {name}")]).collect();
    let user = log.lines().find_map(|line| line.strip_prefix("uid: DONE ")).and_then(|uid| uid.parse::<u32>().ok());
    match level {
        Level::Full | Level::FloorOfRoot => {
            assert!(user.is_some_and(|uid| (61_184..=65_519).contains(&uid)), "{user:?}");
        }
        Level::Floor => assert_eq!(user, site.board.user()),
    }
    let mut rows: Vec<(&str, &[&str])> = vec![
        ("EPERM", DENIED),
        ("DONE", &["uid"]),
        ("DONE 1", &["status NoNewPrivs"]),
        ("DONE 2", &["status Seccomp"]),
        ("DONE 0000000000000000", &["status CapEff", "status CapPrm", "status CapInh"]),
        ("DONE", &["status Groups"]),
        ("ENOSYS", &["clone3"]),
        // The kernel lets a program lower its own score as far as it was once, and no program makes it its own file.
        ("EACCES EPERM", &["spare itself when memory is short", "a lower score when memory is short"]),
        ("EPERM EACCES", PRIVILEGES),
        // Expected at the floor: below Landlock's ABI 6 a signal to a process of the same user can't be denied.
        (level.pick("ESRCH EPERM", "DONE"), &["signal the worker", "signal the worker by pidfd"]),
        ("EPERM ESRCH", &["move the worker to another cpu"]),
        (
            "EPERM ESRCH",
            &["a descriptor of the worker", "limit the worker", "limit the supervisor", "signal process 1"],
        ),
        (HIDDEN, &["setns to process 1"]),
        ("EPERM", &["setns to its own"]),
    ];
    let (devices, namespaces): (Vec<&str>, Vec<&str>) =
        (devices.iter().map(String::as_str).collect(), namespaces.iter().map(String::as_str).collect());
    rows.push((HIDDEN, &devices));
    rows.push(("EPERM", &namespaces));
    if cfg!(target_arch = "x86_64") {
        rows.push(("EPERM", &["ports", "port level", "segments", "kexec from a file"]));
        rows.push(("ENOSYS", &["x32: getpid", "x32: ptrace"]));
        rows.push(("\"signal 31\"", &["32-bit gate"]));
    }
    Attempts::of(&log).expect(&rows);
    site.unharmed().await;
}

/// What answers `EPERM` whoever asks.
const DENIED: &[&str] = &[
    "ptrace the worker",
    "ptrace the supervisor",
    "be ptraced",
    "a descriptor of its own by pidfd",
    "memory of the worker by process_vm_readv",
    "memory of the worker by process_vm_writev",
    "compare with the worker",
    "mount",
    "bind mount",
    "umount",
    "pivot_root",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "chroot",
    "open by handle",
    "name to handle",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "load a module",
    "load a module from a file",
    "unload a module",
    "kexec",
    "reboot",
    "swapon",
    "swapoff",
    "accounting",
    "the kernel's log",
    "host name",
    "domain name",
    "set the clock",
    "set the time",
    "fanotify",
    "quotas",
    "another personality",
    "advise another process",
    "secret memory",
    "type into a terminal",
    "paste into a terminal",
];

/// What only a privileged user may.
const PRIVILEGES: &[&str] = &[
    "setuid",
    "setgid",
    "setgroups",
    "raise a limit",
    "a higher priority",
    "real time",
    "make a device of memory",
    "make a device of the disk",
];

//! Namespaces and a root of the job's own: what it is not to see is not there.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, getgid, getuid, pivot_root};

use super::view::{SHARED_MEMORY, View};
use crate::confinement::floor::privileges::Identity;
use crate::confinement::floor::system_calls::{add_mount_attributes, bring_loopback_up};
use crate::confinement::level::Network;

const NOTHING: Option<&str> = None;

/// What a program may do with what is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// What the root has of its own, whatever the machine has there.
const MADE: &[&str] = &["/proc", SHARED_MEMORY, "/tmp", "/etc/passwd", "/etc/group"];

/// Leaves the machine's namespaces. The processes that are forked from now on have a numbering of their own, in which
/// the first is 1; when that one ends, the kernel ends all.
pub(crate) fn leave(network: Network) -> io::Result<()> {
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    if network != Network::Host {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    let (uid, gid) = (getuid(), getgid());
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags)?;
    if !uid.is_root() {
        // As itself: it has the power to mount in here all the same, and what it runs is never root, not even in here.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    }
    if network == Network::Loopback {
        bring_loopback_up()?;
    }
    Ok(())
}

/// Builds the program's root and moves into it. To be called by the first process of the new numbering.
pub(crate) fn enter(view: &View, identity: Option<Identity>) -> io::Result<()> {
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .map_err(at("making mounts private"))?;
    let options = "mode=0755,size=16m";
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), &view.root, Some("tmpfs"), safe, Some(options)).map_err(at("a root"))?;
    // From here on its own paths are short: those of the machine are repeated in it, and may be long.
    chdir(&view.root)?;
    let root = Path::new(".");
    for folder in ["proc", "dev", "tmp", "run", "home", "root", "var/tmp", "etc"] {
        fs::create_dir_all(root.join(folder))?;
    }
    mount(Some("proc"), &root.join("proc"), Some("proc"), safe | MsFlags::MS_NOEXEC, NOTHING).map_err(at("/proc"))?;
    devices(root, view)?;
    // No link from one to the other: work directories may lie below either.
    for temporary in ["tmp", "var/tmp"] {
        bind(&view.temporary, &root.join(temporary), Access::Write)?;
    }
    for path in &view.readable {
        place(root, path, Access::Read)?;
    }
    // What is in them is what was just bound.
    for path in &view.listed {
        fs::create_dir_all(below(root, path))?;
    }
    for path in &view.writable {
        place(root, path, Access::Write)?;
    }
    people(root, identity)?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | safe;
    mount(NOTHING, root, NOTHING, read_only, NOTHING).map_err(at("a root that nobody writes"))?;
    // Both at the same place: the old root then lies on top, and is let go of.
    pivot_root(".", ".").map_err(at("pivot_root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(at("leaving the old root"))?;
    chdir("/")?;
    Ok(())
}

/// Puts a path of the machine at the same path below `root`.
fn place(root: &Path, path: &Path, access: Access) -> io::Result<()> {
    // These are made, not bound.
    if MADE.iter().any(|made| path == Path::new(made)) {
        return Ok(());
    }
    // A machine may lack some of what others have.
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let target = below(root, path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    // Such as `/bin`, a link to `usr/bin`.
    if metadata.is_symlink() && path.parent() == Some(Path::new("/")) {
        return symlink(fs::read_link(path)?, target);
    }
    if fs::metadata(path)?.is_dir() {
        fs::create_dir_all(&target)?;
    } else {
        drop(File::create(&target)?);
    }
    bind(path, &target, access)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_)));
    names.fold(root.to_owned(), |below, name| below.join(name))
}

/// Binds a path with all mounts below it, none of which may then have more than this one.
fn bind(from: &Path, to: &Path, access: Access) -> io::Result<()> {
    let context = || format!("binding {}", from.display());
    mount(Some(from), to, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .map_err(|error| with(error, &context()))?;
    let mut attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    if access == Access::Read {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    add_mount_attributes(to, attributes).map_err(|error| io::Error::other(format!("{}: {error}", context())))
}

/// A `/dev` with nothing but these devices, and shared memory that ends with the run.
fn devices(root: &Path, view: &View) -> io::Result<()> {
    let folder = root.join("dev");
    for device in &view.devices {
        // A machine may lack one of them.
        if device.exists() {
            let target = below(root, device);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            File::create(&target)?;
            // Not as other binds: a device has to stay one.
            mount(Some(device), &target, NOTHING, MsFlags::MS_BIND, NOTHING)
                .map_err(|error| with(error, &format!("binding {}", device.display())))?;
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, folder.join(name))?;
    }
    let shared_memory = folder.join("shm");
    fs::create_dir_all(&shared_memory)?;
    let options = format!("mode=1777,size={}", view.shm_bytes);
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), &shared_memory, Some("tmpfs"), safe, Some(options.as_str())).map_err(at(SHARED_MEMORY))?;
    Ok(())
}

/// Who there is: root, the job's user, and nobody.
fn people(root: &Path, identity: Option<Identity>) -> io::Result<()> {
    let number = identity.map_or_else(|| getuid().as_raw(), |Identity(number)| number);
    let users = format!(
        "root:x:0:0:root:/root:/usr/sbin/nologin\njob:x:{number}:{number}:job:/tmp:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    for (name, content) in [("passwd", users), ("group", format!("root:x:0:\njob:x:{number}:\nnogroup:x:65534:\n"))] {
        let path = root.join("etc").join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    Ok(())
}

fn at(what: &'static str) -> impl Fn(nix::errno::Errno) -> io::Error {
    move |error| with(error, what)
}

fn with(error: nix::errno::Errno, context: &str) -> io::Error {
    io::Error::other(format!("{context}: {error}"))
}

//! What jobs may read of their machine: the system, the interpreter with all that it imports, and data.
//!
//! The interpreter's own folders and the data are the operator's explicit wish: where they would reveal a secret, the
//! worker does not start. What the interpreter imports from elsewhere was found, not given: what is too wide or would
//! reveal a secret stays out of sight, and the operator is told.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::options::{SandboxError, SandboxOptions};
use crate::confinement::full::view::{ETC, SYSTEM, reveals};
use crate::python::{Imports, Python};

/// How many places beside the system are bound for every job at most.
const MOST_PLACES: usize = 3_000;

/// How many links to what jobs can't see are told one by one.
const MOST_LINKS: usize = 20;

const NOT_TEXT: &str = "its name is not UTF-8: rename it";

/// Folders that belong to no package: below them lie those of others.
const SHARED: &[&str] = &[
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/media",
    "/mnt",
    "/proc",
    "/root",
    "/run",
    "/srv",
    "/sys",
    "/tmp",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/tmp",
];
/// Folders in which no package lies that a job may need, and secrets may.
const CLOSED: &[&str] = &["/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/var/log"];

/// What jobs may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Files and folders, with all that is in them.
    pub(crate) readable: Vec<PathBuf>,
    /// Folders whose names they see, but only what is also `readable` of what is in them.
    pub(crate) listed: Vec<Listed>,
    /// What the interpreter imports from and they can't see.
    pub(crate) unseen: Vec<Unseen>,
}

/// A folder whose names jobs see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    /// Whether something that no job may see lies in it: its names are then only safe where it has a root of its own.
    pub(crate) holds_secret: bool,
}

/// Something that the interpreter imports from and that jobs can't see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// Where it is.
    pub path: PathBuf,
    /// Why, and what to do.
    pub why: String,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl Sight {
    /// What jobs may read here.
    ///
    /// # Errors
    /// If the interpreter or the data would reveal a secret.
    pub(crate) fn of(options: &SandboxOptions, python: &Python, work_root: &Path) -> Result<Self, SandboxError> {
        let mut readable: Vec<PathBuf> =
            SYSTEM.iter().chain(ETC).map(PathBuf::from).filter(|path| path.exists()).collect();
        let secrets: Vec<PathBuf> = options.secrets.iter().cloned().chain([work_root.to_owned()]).collect();
        // Much is kept there, and programs seldom need any of it.
        if secrets.iter().any(|secret| secret.starts_with("/opt")) {
            readable.retain(|folder| folder != Path::new("/opt"));
        }
        for folder in python.folders.iter().chain(&options.data) {
            // By its real name too: that is what scripts in it name.
            for path in [Some(folder.clone()), folder.canonicalize().ok()].into_iter().flatten() {
                if !readable.iter().any(|known| path.starts_with(known)) {
                    readable.push(path);
                }
            }
        }
        for secret in &secrets {
            if let Some(folder) = reveals(&readable, secret) {
                return Err(SandboxError::Revealing { secret: secret.clone(), folder: folder.to_owned() });
            }
        }
        let mut sight = Self { readable, ..Self::default() };
        sight.add(&python.imports, &Guard { secrets, homes: homes(options) });
        Ok(sight)
    }

    fn add(&mut self, imports: &Imports, guard: &Guard) {
        let known = self.readable.len();
        for path in &imports.whole {
            if self.readable.iter().any(|known| path.starts_with(known)) {
                continue;
            }
            match guard.refuses(path) {
                _ if self.readable.len() - known >= MOST_PLACES => {
                    self.miss(path, format!("there are more than {MOST_PLACES} such places: use fewer links"));
                    break;
                }
                Some(why) => self.miss(path, why),
                None => self.show(path),
            }
        }
        for folder in &imports.path {
            self.add_folder(folder, guard);
        }
        if let Some(folder) = &imports.of_user {
            self.miss(
                folder,
                "jobs have a home of their own: install these packages into a virtual environment".to_owned(),
            );
        }
        if let Some(folder) = &imports.cut {
            self.miss(folder, "not all links in it were looked at: what they lead to may be out of sight".to_owned());
        }
        // A folder that is readable as a whole has in it what was shown before.
        let shown: BTreeSet<PathBuf> = self.readable.split_off(known).into_iter().collect();
        for path in shown {
            self.show(&path);
        }
        self.miss_links(&imports.links);
    }

    /// Notes the links in what jobs see that lead to what they don't.
    fn miss_links(&mut self, links: &[PathBuf]) {
        let is_shown = |path: &Path| self.readable.iter().any(|known| path.starts_with(known));
        let leads_out = |link: &&PathBuf| {
            let target = link.canonicalize().ok()?;
            // One that is bound itself shows what it leads to.
            let is_missed = is_shown(link) && !self.readable.contains(link) && !is_shown(&target);
            is_missed.then_some(((*link).clone(), target))
        };
        let missed: Vec<(PathBuf, PathBuf)> = links.iter().filter_map(|link| leads_out(&link)).collect();
        for (link, target) in missed.iter().take(MOST_LINKS) {
            let why = format!(
                "it leads to {}, which jobs can't see: install the package without -e, or replace the link by what it leads to",
                target.display()
            );
            self.miss(link, why);
        }
        if let Some((link, _)) = missed.get(MOST_LINKS) {
            self.miss(link, format!("so do this link and {} more", missed.len() - MOST_LINKS - 1));
        }
    }

    /// Shows what can be imported from a folder of `sys.path`, which is often a project: its folders and modules, not
    /// what is hidden in it, such as `.git` and `.env`, nor other files, such as `credentials.json`.
    fn add_folder(&mut self, folder: &Path, guard: &Guard) {
        if self.readable.iter().any(|known| folder.starts_with(known)) {
            return;
        }
        if let Some(why) = guard.too_wide(folder) {
            return self.miss(folder, why);
        }
        if guard.is_secret(folder) {
            return self.miss(folder, "it lies in what no job may see: move the package elsewhere".to_owned());
        }
        if folder.to_str().is_none() {
            return self.miss(folder, NOT_TEXT.to_owned());
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()),
            Err(error) => return self.miss(folder, format!("it can't be read: {error}")),
        };
        let (mut shown, mut all) = (vec![], true);
        for path in entries {
            match guard.refuses(&path) {
                None if is_importable(&path) => {
                    // Where a link leads elsewhere, that is shown in its place.
                    all &= path.canonicalize().is_ok_and(|real| is_below(&real, folder));
                    shown.push(path);
                }
                // It is the platform's own, and nothing to import.
                Some(why) if is_importable(&path) && !guard.is_secret(&path) => {
                    all = false;
                    self.miss(&path, why);
                }
                _ => all = false,
            }
        }
        if shown.len() > MOST_PLACES {
            return self
                .miss(folder, format!("it has more than {MOST_PLACES} entries: import from a folder of its own"));
        }
        if all && guard.refuses(folder).is_none() {
            return self.show(folder);
        }
        let holds_secret = guard.secrets.iter().any(|secret| secret.starts_with(folder));
        self.listed.push(Listed { path: folder.to_owned(), holds_secret });
        for path in &shown {
            self.show(path);
        }
    }

    fn show(&mut self, path: &Path) {
        if path.to_str().is_none() {
            return self.miss(path, NOT_TEXT.to_owned());
        }
        if !self.readable.iter().any(|known| path.starts_with(known)) {
            self.readable.push(path.to_owned());
        }
    }

    /// Notes what a job was seen not to be able to read.
    pub(crate) fn found_unseen(&mut self, mut one: Unseen) {
        if self.unseen.iter().any(|known| known.path == one.path) {
            return;
        }
        if self.listed.iter().any(|folder| folder.holds_secret && folder.path == one.path) {
            "the data directory lies in it, and there are no namespaces to tell the two apart: move one of them"
                .clone_into(&mut one.why);
        }
        self.unseen.push(one);
    }

    fn miss(&mut self, path: &Path, why: String) {
        self.unseen.push(Unseen { path: path.to_owned(), why });
    }
}

/// Whether a real path is in a folder.
fn is_below(real: &Path, folder: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| real.starts_with(folder))
}

/// Whether an entry of a folder of `sys.path` may be a package, a module, or what is known of a distribution.
fn is_importable(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let module = path.extension().is_some_and(|extension| ["py", "pyc", "so"].iter().any(|known| extension == *known));
    !hidden && (module || path.is_dir())
}

/// The homes of the worker's user: no job reads one as a whole.
fn homes(options: &SandboxOptions) -> Vec<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let homes = user.map(|user| user.dir).into_iter().chain(options.home.clone());
    homes.filter(|home| home.is_absolute() && home != Path::new("/")).collect()
}

/// Whether it belongs to a Python of the system, as `/etc/python3.11/sitecustomize.py` does.
fn is_of_python(path: &Path) -> bool {
    let name = path.strip_prefix("/etc").ok().and_then(|rest| rest.iter().next());
    name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"python3"))
}

/// What no import may reveal.
struct Guard {
    secrets: Vec<PathBuf>,
    homes: Vec<PathBuf>,
}

impl Guard {
    /// Why jobs may not read all of this; none if they may.
    fn refuses(&self, path: &Path) -> Option<String> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        [path, &real].into_iter().find_map(|path| {
            let secret = self.secrets.iter().find(|secret| secret.starts_with(path) || path.starts_with(secret));
            let secret = secret.map(|secret| {
                format!(
                    "it would show jobs {}: keep the two apart, or install the package without -e",
                    secret.display()
                )
            });
            self.too_wide(path).or(secret)
        })
    }

    /// Why a folder is nothing to import from.
    fn too_wide(&self, path: &Path) -> Option<String> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        [path, &real].into_iter().find_map(|path| {
            let shared = SHARED.iter().any(|folder| path == Path::new(folder))
                || (CLOSED.iter().any(|folder| path.starts_with(folder)) && !is_of_python(path))
                || path.parent() == Some(Path::new("/home"));
            let is_home = self.homes.iter().any(|home| home.starts_with(path));
            let why =
                "it holds more than packages: move the package into a folder of its own, or install it without -e";
            (shared || is_home).then(|| why.to_owned())
        })
    }

    fn is_secret(&self, path: &Path) -> bool {
        self.secrets.iter().any(|secret| path.starts_with(secret))
    }
}

#[cfg(test)]
mod tests;

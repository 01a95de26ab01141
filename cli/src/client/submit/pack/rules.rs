//! What the server would refuse, told before anything is sent.

use std::path::{Component, Path};

use events::ports::{ArchiveLimits, FileName, Suffixes};

use super::Package;
use super::tree::Entry;
use crate::client::http::error::ClientError;
use crate::client::output::human;

const MIB: u64 = 1024 * 1024;
const MAX_CANDIDATES: usize = 5;

/// What a server takes unless its administrator says otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) file_bytes: u64,
    pub(crate) total_bytes: u64,
    pub(crate) files: usize,
    /// What the archive may hold.
    pub(crate) archive: ArchiveLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 100 * MIB, total_bytes: 500 * MIB, files: 200, archive: ArchiveLimits::default() }
    }
}

impl Limits {
    pub(crate) fn check_loose(&self, loose: &[Entry]) -> Result<(), ClientError> {
        for entry in loose {
            FileName::parse(&entry.path, &Suffixes::default())
                .map_err(|refusal| ClientError::usage(format!("{refusal}.")))?;
        }
        match loose.iter().find(|entry| entry.size > self.file_bytes) {
            None => Ok(()),
            Some(entry) => Err(ClientError::usage(format!(
                "{} is {}; a file may have {}.",
                entry.path,
                human::size(entry.size),
                human::size(self.file_bytes)
            ))),
        }
    }

    pub(crate) fn bundle_too_large(&self, entries: &[Entry]) -> ClientError {
        let mut by_size: Vec<&Entry> = entries.iter().collect();
        by_size.sort_by_key(|entry| std::cmp::Reverse(entry.size));
        let largest: Vec<String> =
            by_size.iter().take(3).map(|entry| format!("{} ({})", entry.path, human::size(entry.size))).collect();
        ClientError::usage(format!(
            "packed and compressed, the folder is over {}, the most one file may have; its largest files are {}. \
             Leave out what the job does not need with .gitignore or .ignore.",
            human::size(self.file_bytes),
            largest.join(", ")
        ))
    }

    pub(crate) fn check_whole(&self, package: &Package) -> Result<(), ClientError> {
        if package.count() > self.files {
            return Err(ClientError::usage(format!(
                "{} files to send, {} are the most: move modules from the top of the folder into a package below it.",
                package.count(),
                self.files
            )));
        }
        if package.size() > self.total_bytes {
            return Err(ClientError::usage(format!(
                "{} to send, {} are the most.",
                human::size(package.size()),
                human::size(self.total_bytes)
            )));
        }
        Ok(())
    }
}

/// What a named file is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Entrypoint,
    Config,
}

impl Role {
    fn option(self) -> &'static str {
        match self {
            Self::Entrypoint => "--entrypoint",
            Self::Config => "--config",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Entrypoint => ".py",
            Self::Config => ".yaml",
        }
    }
}

/// The path as the server wants it: below the folder, with the role's suffix.
pub(crate) fn relative(given: &str, role: Role) -> Result<String, ClientError> {
    let refuse = |why: String| Err(ClientError::usage(format!("{} {given:?} {why}.", role.option())));
    if given.contains(['\\', '\0']) {
        return refuse("holds a backslash or a NUL".into());
    }
    let mut parts = Vec::new();
    for component in Path::new(given).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return refuse("must be a path below the folder".into());
            }
        }
    }
    let path = parts.join("/");
    if path.starts_with('-') {
        return refuse("begins with '-': Python would take it for an option. Rename it, or put it in a folder".into());
    }
    if !path.ends_with(role.suffix()) {
        return refuse(format!("must end in {}", role.suffix()));
    }
    Ok(path)
}

/// Refuses a folder without the named file, with what the user may have meant.
pub(crate) fn present(root: &Path, entries: &[Entry], path: &str, role: Role) -> Result<(), ClientError> {
    if entries.iter().any(|entry| entry.path == path) {
        return Ok(());
    }
    let option = role.option();
    if root.join(path).is_file() {
        return Err(ClientError::usage(format!(
            "{path} is there but would be left out: it is hidden, or named in .gitignore or .ignore."
        )));
    }
    let candidates = candidates(entries, path, role);
    let root = root.display();
    Err(ClientError::usage(if candidates.is_empty() {
        format!("{root} has no {} file.", role.suffix())
    } else {
        format!("there is no {path} in {root}: name it with {option}; candidates are {}.", candidates.join(", "))
    }))
}

/// Same name elsewhere first, then the least nested.
fn candidates<'a>(entries: &'a [Entry], wanted: &str, role: Role) -> Vec<&'a str> {
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    let mut paths: Vec<&str> =
        entries.iter().map(|entry| entry.path.as_str()).filter(|path| path.ends_with(role.suffix())).collect();
    paths.sort_by_key(|path| (name(path) != name(wanted), path.matches('/').count()));
    paths.truncate(MAX_CANDIDATES);
    paths
}

//! The entrypoint and the config file: refused before the upload if the server would refuse them.

use std::path::{Component, Path};

use super::tree::Entry;
use crate::client::http::error::ClientError;

const MAX_CANDIDATES: usize = 5;

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
        let suffix = role.suffix();
        format!("there is no {path} in {root}, nor any other {suffix} file: name it with {option} if it is elsewhere.")
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

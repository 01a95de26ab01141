//! The files of a folder that belong to a submission.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use ignore::{DirEntry, WalkBuilder};

use crate::client::http::error::ClientError;

/// One regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Below the folder, with `/`.
    pub(crate) path: String,
    pub(crate) file: PathBuf,
    pub(crate) size: u64,
    pub(crate) executable: bool,
}

/// All files to send, sorted by path.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    pub(crate) entries: Vec<Entry>,
    pub(crate) left_out: Vec<String>,
}

impl Tree {
    /// Walks `folder`: without hidden files, what `.gitignore` and `.ignore` name, byte code, virtual
    /// environments, and the data directory of a server.
    pub(crate) fn read(folder: &Path, server_data: &Path) -> Result<Self, ClientError> {
        let shown = folder.display();
        let root = fs::canonicalize(folder).map_err(|error| {
            ClientError::usage(match error.kind() {
                ErrorKind::NotFound => format!("there is no folder {shown}."),
                _ => format!("the folder {shown} can't be read: {error}."),
            })
        })?;
        if !root.is_dir() {
            return Err(ClientError::usage(format!("{shown} is a file; give the folder that holds it.")));
        }
        let server_data = fs::canonicalize(server_data).ok();
        let (skipped, left_out) = mpsc::channel();
        let start = root.clone();
        let walk = WalkBuilder::new(&root)
            // A folder need not be a repository for its .gitignore to mean something.
            .require_git(false)
            // Only inside a repository do the folders above have a say; an ignore file in some
            // home directory has none. Nor has what only this machine knows.
            .parents(root.ancestors().any(|above| above.join(".git").exists()))
            .git_global(false)
            .git_exclude(false)
            .follow_links(false)
            .filter_entry(move |entry| match reason_to_skip(entry, server_data.as_deref()) {
                None => true,
                Some(Skip::Silently) => false,
                Some(Skip::Because(why)) => {
                    let path = entry.path().strip_prefix(&start).unwrap_or(entry.path());
                    // The receiver lives as long as the walk.
                    let _ = skipped.send(format!("{}: {why}", path.display()));
                    false
                }
            })
            .build();
        let mut entries = Vec::new();
        for found in walk {
            let found = found.map_err(|error| ClientError::usage(format!("{shown} can't be read: {error}.")))?;
            entries.extend(entry(&root, &found)?);
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let mut left_out: Vec<String> = left_out.try_iter().collect();
        left_out.sort();
        Ok(Self { root, entries, left_out })
    }
}

enum Skip {
    Silently,
    Because(&'static str),
}

fn reason_to_skip(entry: &DirEntry, server_data: Option<&Path>) -> Option<Skip> {
    if entry.depth() == 0 || !entry.file_type().is_some_and(|kind| kind.is_dir()) {
        return None;
    }
    if entry.file_name() == "__pycache__" {
        return Some(Skip::Silently);
    }
    if entry.path().join("pyvenv.cfg").is_file() {
        return Some(Skip::Because("a virtual environment"));
    }
    let servers = server_data == Some(entry.path())
        && ["client.json", "redis.url", "token"].iter().any(|name| entry.path().join(name).exists());
    servers.then_some(Skip::Because("the data directory of a server, with its tokens"))
}

fn entry(root: &Path, found: &DirEntry) -> Result<Option<Entry>, ClientError> {
    let file = found.path();
    let relative = file.strip_prefix(root).unwrap_or(file);
    let shown = relative.display();
    let Some(kind) = found.file_type().filter(|kind| !kind.is_dir()) else {
        return Ok(None);
    };
    if kind.is_symlink() {
        return Err(ClientError::usage(format!(
            "{shown} is a symbolic link, which a submission can't hold: copy what it points to, or name it in .gitignore."
        )));
    }
    if !kind.is_file() {
        return Err(ClientError::usage(format!(
            "{shown} is neither a file nor a folder: remove it, or name it in .gitignore."
        )));
    }
    let Some(path) = relative.to_str() else {
        return Err(ClientError::usage(format!("the name of {shown} is not UTF-8: rename it.")));
    };
    let metadata = found.metadata().map_err(|error| ClientError::usage(format!("{shown}: {error}.")))?;
    Ok(Some(Entry {
        path: path.to_owned(),
        file: file.to_owned(),
        size: metadata.len(),
        executable: metadata.permissions().mode() & 0o100 != 0,
    }))
}

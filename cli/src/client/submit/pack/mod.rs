//! Turns a folder into the files of a submission: `.py` and `.yaml` at its top as they are, all else in
//! one archive that the server unpacks into the same tree.

mod bundle;
mod limits;
mod named_files;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

pub(crate) use bundle::BUNDLE_NAME;
pub(crate) use limits::Limits;
pub(crate) use tree::Entry;

use crate::client::http::error::ClientError;
use bundle::Bundle;
use named_files::Role;
use tree::Tree;

/// What to pack and what the server will look for in it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) folder: PathBuf,
    pub(crate) entrypoint: String,
    pub(crate) config_file: String,
    /// A server's own data directory, which holds tokens and must never be sent.
    pub(crate) server_data: PathBuf,
    pub(crate) limits: Limits,
}

/// A submission ready to be sent.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) entrypoint: String,
    pub(crate) config_file: String,
    /// Files sent as they are.
    pub(crate) loose: Vec<Entry>,
    /// Files inside the archive.
    pub(crate) bundled: Vec<Entry>,
    pub(crate) bundle: Option<Bundle>,
    /// Folders left out though no ignore file says so, with the reason.
    pub(crate) left_out: Vec<String>,
}

impl Package {
    /// Reads and packs the folder; blocking. `stop` ends it early, for a user who has pressed Ctrl-C.
    pub(crate) fn build(plan: &Plan, stop: &AtomicBool) -> Result<Self, ClientError> {
        let entrypoint = named_files::relative(&plan.entrypoint, Role::Entrypoint)?;
        let config_file = named_files::relative(&plan.config_file, Role::Config)?;
        let Tree { root, entries, left_out } = Tree::read(&plan.folder, &plan.server_data)?;
        named_files::present(&root, &entries, &entrypoint, Role::Entrypoint)?;
        named_files::present(&root, &entries, &config_file, Role::Config)?;
        let (loose, bundled): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_loose);
        plan.limits.check_loose(&loose)?;
        let bundle = match bundled.as_slice() {
            [] => None,
            entries => Some(Bundle::write(entries, &plan.limits, stop)?.checked(entries, &plan.limits)?),
        };
        let package = Self { entrypoint, config_file, loose, bundled, bundle, left_out };
        plan.limits.check_whole(package.count(), package.size())?;
        Ok(package)
    }

    /// Bytes of all files to be sent.
    pub(crate) fn size(&self) -> u64 {
        let loose: u64 = self.loose.iter().map(|entry| entry.size).sum();
        loose + self.bundle.as_ref().map_or(0, |bundle| bundle.size)
    }

    /// Number of files to be sent.
    pub(crate) fn count(&self) -> usize {
        self.loose.len() + usize::from(self.bundle.is_some())
    }
}

fn is_loose(entry: &Entry) -> bool {
    let extension = Path::new(&entry.path).extension();
    !entry.path.contains('/') && extension.is_some_and(|extension| extension == "py" || extension == "yaml")
}

#[cfg(test)]
mod tests;

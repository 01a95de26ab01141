//! How jobs are confined: the options, and what they give on this machine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use worker::{
    CACHE_ROOT, DATASET_ROOT, JobVariables, Level, Network, Python, Reach, Sandbox, SandboxError, SandboxOptions,
    clear_leftovers, make_all_passable, open_up,
};

use crate::options::storage::StorageOptions;

/// Where work directories lie when those of the data directory are closed to the users that jobs run as.
const OPEN_FOLDER: &str = "/var/tmp";

/// How jobs are confined.
#[derive(Debug, Args)]
pub(crate) struct ConfinementOptions {
    /// Required confinement of jobs: strict (namespaces, and memory limits of the kernel), standard (at least Landlock
    /// and seccomp, and not root), or off (for trusted code). The worker does not start without it
    #[arg(long, env = "SANDBOX", default_value_t = Level::Standard)]
    sandbox: Level,
    /// Network of jobs: none, loopback (an interface of their own), or host
    #[arg(long, env = "NETWORK", default_value_t = Network::None)]
    network: Network,
    /// A folder with data that jobs may read at the same path; jobs see it as `DATASET_ROOT`
    #[arg(long, env = "DATASET_ROOT")]
    dataset_root: Option<PathBuf>,
    /// A folder with model weights and other caches that jobs may read at the same path; jobs see it as `CACHE_ROOT`
    #[arg(long, env = "CACHE_ROOT")]
    cache_root: Option<PathBuf>,
    /// Folder for work directories [default: <data>/work, or a folder below /var/tmp if jobs can't enter that]
    #[arg(long, env = "WORK_ROOT")]
    work_root: Option<PathBuf>,
    /// Use no more than what works everywhere
    #[cfg(feature = "faults")]
    #[arg(long, env = "LEADERSBOARD_SANDBOX_FLOOR", hide = true)]
    sandbox_floor: bool,
}

/// What holds jobs, and where.
pub(crate) struct Site {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) work_root: PathBuf,
}

impl ConfinementOptions {
    /// Prepares the sandbox on this machine, for a worker with the name `scope` and this number of slots.
    ///
    /// # Errors
    /// If the machine can't enforce the required level, or there is no place for work directories.
    pub(crate) async fn prepare(
        &self,
        python: &Python,
        (data, storage): (&Path, &StorageOptions),
        scope: &str,
        slots: usize,
    ) -> Result<Site> {
        let options = self.options(data, storage)?;
        let work_root = self.make_work_root(data)?;
        let prepared = Sandbox::prepare(&options, python, &work_root, scope, slots).await;
        let (sandbox, work_root) = match prepared {
            // A data directory is its owner's alone, and a job may be somebody else.
            Err(SandboxError::Closed { variable: "WORK_ROOT", .. }) if self.work_root.is_none() => {
                let work_root = open_work_root(data)?;
                let prepared = Sandbox::prepare(&options, python, &work_root, scope, slots).await;
                if prepared.is_err() {
                    // Kept if an earlier worker left something to take over.
                    let _ = fs::remove_dir(&work_root);
                }
                (prepared.map_err(|error| self.with_setting(error))?, work_root)
            }
            prepared => (prepared.map_err(|error| self.with_setting(error))?, work_root),
        };
        Ok(Site { sandbox: Arc::new(sandbox), work_root })
    }

    /// The error with the setting that is to blame.
    fn with_setting(&self, error: SandboxError) -> anyhow::Error {
        let name = match &error {
            SandboxError::Revealing { folder, .. } => {
                let mut given = [(DATASET_ROOT, &self.dataset_root), (CACHE_ROOT, &self.cache_root)].into_iter();
                given.find(|(_, given)| given.as_ref() == Some(folder)).map(|(name, _)| name)
            }
            _ => None,
        };
        match name {
            Some(name) => anyhow::Error::new(error).context(format!("{name} can't be used")),
            None => error.into(),
        }
    }

    /// Ends and removes what dead workers left in the folders that work directories may be in.
    pub(crate) async fn clear_leftovers(&self, data: &Path) {
        clear_leftovers(&self.work_root(data)).await;
        if let Some(open) = fs::metadata(data).ok().map(|of_data| open_folder(&of_data)) {
            clear_leftovers(&open).await;
        }
    }

    /// Makes the folder of work directories, which jobs can enter. Does not change a folder that the operator made.
    fn make_work_root(&self, data: &Path) -> Result<PathBuf> {
        let work_root = self.work_root(data);
        let made = if self.work_root.is_some() { make_all_passable(&work_root) } else { open_up(&work_root) };
        let found = made.and_then(|()| work_root.canonicalize());
        found.with_context(|| format!("the work directory {} can't be made", work_root.display()))
    }

    /// These variables, and where jobs find data and caches.
    pub(crate) fn with_folders(&self, variables: JobVariables) -> JobVariables {
        variables
            .with_folder(DATASET_ROOT, self.dataset_root.as_deref())
            .with_folder(CACHE_ROOT, self.cache_root.as_deref())
    }

    /// Where work directories are to lie.
    pub(crate) fn work_root(&self, data: &Path) -> PathBuf {
        self.work_root.clone().unwrap_or_else(|| data.join("work"))
    }

    fn options(&self, data: &Path, storage: &StorageOptions) -> Result<SandboxOptions> {
        let folders = [(DATASET_ROOT, &self.dataset_root), (CACHE_ROOT, &self.cache_root)];
        let folders = folders.into_iter().filter_map(|(name, folder)| Some((name, folder.as_deref()?)));
        let secrets = [data.to_owned(), storage.uploads(data), storage.logs(data), storage.artifacts(data)];
        Ok(SandboxOptions {
            level: self.sandbox,
            network: self.network,
            data: folders.map(|(name, folder)| at_its_own_path(name, folder)).collect::<Result<_>>()?,
            home: std::env::home_dir(),
            // What is not there yet is not revealed by where it will be, but by what it will be made in.
            secrets: secrets
                .into_iter()
                .map(|path| path.canonicalize().or_else(|_| std::path::absolute(path)))
                .collect::<Result<_, _>>()?,
            disk_reserve: storage.disk_reserve(),
            #[cfg(feature = "faults")]
            reach: if self.sandbox_floor { Reach::Floor } else { Reach::Full },
            #[cfg(not(feature = "faults"))]
            reach: Reach::Full,
        })
    }
}

/// Where the work directories of a closed data directory are.
fn open_folder(of_data: &fs::Metadata) -> PathBuf {
    Path::new(OPEN_FOLDER).join(format!("leadersboard-{:x}-{:x}", of_data.dev(), of_data.ino()))
}

/// A folder that is at the same path for jobs.
fn at_its_own_path(name: &str, folder: &Path) -> Result<PathBuf> {
    let found = folder.canonicalize().with_context(|| format!("{name} {} can't be used", folder.display()))?;
    // The same path for jobs, wherever it leads.
    if found != folder {
        bail!("{name} {} must be an absolute path without links: it is {}", folder.display(), found.display());
    }
    if found.to_str().is_none() {
        bail!("{name} {} must be UTF-8", folder.display());
    }
    if !found.is_dir() {
        bail!("{name} {} is not a folder: give one that holds what jobs are to read", folder.display());
    }
    Ok(found)
}

/// Makes the folder for work directories outside a closed data directory. All users can enter it, only its owner can
/// write.
fn open_work_root(data: &Path) -> Result<PathBuf> {
    let of_data = fs::metadata(data).with_context(|| data.display().to_string())?;
    let path = open_folder(&of_data);
    open_up(&path).context("the work directory can't be made")?;
    let found = fs::symlink_metadata(&path)?;
    let is_ours = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o022 == 0;
    if !is_ours {
        bail!("{} belongs to another user, or others can write to it: remove it, or set WORK_ROOT", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_for_jobs_must_be_a_folder_at_its_own_path() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        let (file, link) = (root.join("file"), root.join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&root, &link).unwrap();
        for (folder, why) in [
            (file.as_path(), "is not a folder: give one that holds what jobs are to read"),
            (link.as_path(), "must be an absolute path without links: it is "),
            (Path::new("/nowhere/data"), "can't be used"),
        ] {
            let error = at_its_own_path(DATASET_ROOT, folder).unwrap_err().to_string();
            assert!(error.starts_with(&format!("DATASET_ROOT {} {why}", folder.display())), "{error}");
        }
        assert_eq!(at_its_own_path(DATASET_ROOT, &root).unwrap(), root);
    }
}

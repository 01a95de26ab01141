//! The data directory of `up`: one process at a time, secrets readable by their owner only.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use adapters::ids::random_hex;
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Writes a file that only its owner may read. It is never seen half written.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().prefix(".private-").permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename itself is durable only once the directory is.
    File::open(folder)?.sync_all()
}

/// Where the private Redis's address is kept, password and all.
pub(crate) fn redis_url_file(data: &Path) -> PathBuf {
    data.join("redis.url")
}

/// A data directory that this process alone may use.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: Flock<File>,
}

/// Who holds a data directory.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    address: Option<String>,
}

impl DataDir {
    /// Makes the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// If another process holds it; the error names its id and address.
    pub(crate) fn lock(path: &Path) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("the data directory {} can't be made", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("{} can't be resolved", path.display()))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .with_context(|| format!("{} can't be written", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                let mut data = Self { path, lock };
                // On a full disk it still is a lock; only its holder stays unnamed.
                if let Err(error) = data.tell(None) {
                    tracing::warn!(%error, "the lock of the data directory can't name this process");
                }
                Ok(data)
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                // A lock without readable content is still a lock; only its holder stays unnamed.
                let _ = file.read_to_string(&mut text);
                match serde_json::from_str::<Holder>(&text) {
                    Ok(Holder { pid, address: Some(address) }) => {
                        bail!("{} is in use by process {pid}, which serves {address}", path.display())
                    }
                    Ok(Holder { pid, address: None }) => {
                        bail!("{} is in use by process {pid}, which is starting", path.display())
                    }
                    Err(_) => bail!("{} is in use by another process", path.display()),
                }
            }
            Err((_, error)) => Err(error).with_context(|| format!("{} can't be locked", path.display())),
        }
    }

    /// The directory, as an absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells a second process where this one serves.
    pub(crate) fn tell(&mut self, address: Option<String>) -> Result<()> {
        let holder = Holder { pid: std::process::id(), address };
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        serde_json::to_writer(&mut *self.lock, &holder)?;
        Ok(())
    }

    /// Removes the token of the user `me`, which is not valid while the operator gives the tokens.
    pub(crate) fn remove_token(&self) -> Result<()> {
        let path = self.path.join("token");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} can't be removed", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The token of the user `me`, made at the first start and kept for all that follow.
    pub(crate) fn token(&self) -> Result<String> {
        let path = self.path.join("token");
        match fs::read_to_string(&path) {
            Ok(token) if !token.trim().is_empty() => Ok(token.trim().to_owned()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} can't be read", path.display()))
            }
            _ => {
                let token = random_hex::<24>();
                write_private(&path, format!("{token}\n").as_bytes())
                    .with_context(|| format!("{} can't be written", path.display()))?;
                Ok(token)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::lock(folder.path()).unwrap();
        let token = data.token().unwrap();
        assert_eq!(data.token().unwrap(), token);
        assert_eq!(token.len(), 48);
        let mode = fs::metadata(folder.path().join("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_second_process_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = DataDir::lock(folder.path()).unwrap();
        first.tell(Some("http://127.0.0.1:8010".to_owned())).unwrap();
        let refusal = DataDir::lock(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains("http://127.0.0.1:8010"), "{refusal}");
        assert!(refusal.contains(&std::process::id().to_string()), "{refusal}");
    }
}

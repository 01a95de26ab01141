//! `client.json`: the address and token a local server leaves for the commands of the same machine.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the server of a data directory listens, and the token its user has.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientFile {
    /// Base URL, such as `http://127.0.0.1:8010`.
    pub(crate) server: String,
    /// The bearer token, without a user name before it; `None` if the server knows only hashes.
    #[serde(default)]
    pub(crate) token: Option<String>,
    /// The file with the server's certificate, if it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<PathBuf>,
}

// By hand, because a derived one would put the token into any debug line.
impl std::fmt::Debug for ClientFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientFile").field("server", &self.server).finish_non_exhaustive()
    }
}

impl ClientFile {
    /// The file's place in a data directory.
    pub(crate) fn path(data: &Path) -> PathBuf {
        data.join("client.json")
    }

    /// Reads the file of a data directory; `None` where there is none.
    pub(crate) fn read(data: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(Self::path(data)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file of a data directory, readable by its owner only.
    ///
    /// Written beside its place and renamed, so that a reader sees the old file or the new one; made
    /// with mode 0600 from the start, so that the token is at no moment open to others.
    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".client.json.")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(data)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(Self::path(data)).map_err(|error| error.error)?;
        // The rename itself is durable only once the directory is.
        File::open(data)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(token: &str) -> ClientFile {
        ClientFile { server: "http://127.0.0.1:8010".into(), token: Some(token.into()), certificate: None }
    }

    #[test]
    fn written_for_its_owner_only_and_read_back() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(ClientFile::read(data.path()).unwrap(), None);
        file("one").write(data.path()).unwrap();
        file("two").write(data.path()).unwrap();
        assert_eq!(ClientFile::read(data.path()).unwrap(), Some(file("two")));
        let mode = std::fs::metadata(ClientFile::path(data.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn an_open_file_is_closed_by_the_next_write() {
        let data = tempfile::tempdir().unwrap();
        let path = ClientFile::path(data.path());
        std::fs::write(&path, "{}").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        file("t").write(data.path()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn debug_output_has_no_token() {
        assert!(!format!("{:?}", file("hunter2")).contains("hunter2"));
    }
}

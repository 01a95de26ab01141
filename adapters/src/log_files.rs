//! Logs as files of a directory that all hosts share: `<root>/<job>/<fence>.log`.

use std::io::ErrorKind;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use events::ports::{LogPort, LogWriter, PortError};
use events::{Fence, JobId, Problem};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
use tokio::task::spawn_blocking;

use crate::removal::remove_folder;

/// Logs as files of a directory.
#[derive(Debug, Clone)]
pub struct LogFiles {
    root: PathBuf,
}

impl LogFiles {
    /// Opens the logs under `root`, and creates `root` if it is missing.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn open(root: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    fn path(&self, job: JobId, fence: &Fence) -> PathBuf {
        self.root.join(job.to_string()).join(format!("{fence}.log"))
    }

    async fn open_existing(&self, job: JobId, fence: &Fence) -> Result<Option<File>, PortError> {
        match File::open(self.path(job, fence)).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(away(error)),
        }
    }
}

#[async_trait]
impl LogPort for LogFiles {
    async fn create(&self, job: JobId, fence: &Fence) -> Result<Box<dyn LogWriter>, PortError> {
        let path = self.path(job, fence);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).await.map_err(away)?;
        let file = File::options().create(true).append(true).open(&path).await.map_err(away)?;
        let position = file.metadata().await.map_err(away)?.len();
        Ok(Box::new(FileWriter { file, position, torn: false }))
    }

    async fn len(&self, job: JobId, fence: &Fence) -> Result<Option<u64>, PortError> {
        match fs::metadata(self.path(job, fence)).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    async fn read(&self, job: JobId, fence: &Fence, offset: u64, max: usize) -> Result<Bytes, PortError> {
        let Some(mut file) = self.open_existing(job, fence).await? else {
            return Ok(Bytes::new());
        };
        // Systems refuse to seek beyond 2^63 - 1.
        let len = file.metadata().await.map_err(away)?.len();
        file.seek(SeekFrom::Start(offset.min(len))).await.map_err(away)?;
        let mut buffer = Vec::with_capacity(max.min(1 << 20));
        file.take(max as u64).read_to_end(&mut buffer).await.map_err(away)?;
        Ok(buffer.into())
    }

    async fn delete(&self, job: JobId) -> Result<(), PortError> {
        let folder = self.root.join(job.to_string());
        let removed = spawn_blocking(move || remove_folder(&folder)).await;
        removed.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(away)
    }
}

struct FileWriter {
    file: File,
    position: u64,
    /// A write failed. A part of its bytes may be stored, and stays, because a client may have read it.
    torn: bool,
}

#[async_trait]
impl LogWriter for FileWriter {
    async fn append(&mut self, chunk: &[u8]) -> Result<(), PortError> {
        if self.torn {
            self.position = self.file.metadata().await.map_err(away)?.len();
        }
        self.torn = true;
        self.file.write_all(chunk).await.map_err(away)?;
        // Tokio's file buffers; a reader must see the bytes now.
        self.file.flush().await.map_err(away)?;
        self.torn = false;
        self.position += chunk.len() as u64;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }
}

fn away(error: std::io::Error) -> PortError {
    let sentence = format!("the log can't be reached: {error}");
    PortError::Unavailable(Problem::caused_by(error, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_has_nothing_behind_its_end_however_far() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogFiles::open(folder.path().to_path_buf()).unwrap();
        let job = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap();
        let fence = "00112233445566778899aabb".parse().unwrap();
        logs.create(job, &fence).await.unwrap().append(b"line\n").await.unwrap();
        for (offset, expected) in
            [(4, &b"\n"[..]), (5, b""), (6, b""), ((1 << 63) - 1, b""), (1 << 63, b""), (u64::MAX, b"")]
        {
            assert_eq!(logs.read(job, &fence, offset, 10).await.unwrap(), expected, "{offset}");
        }
    }
}

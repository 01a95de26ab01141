//! A board in folders, read without changing anything.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use events::ports::{ArtifactReader, FileName, PortError};
use events::{ArtifactPath, Fence, JobId, SubmissionId};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::fs::{self, File};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::shelf::{CopyError, Item, Shelf};

pub(super) const UPLOADS: &str = "uploads";
pub(super) const LOGS: &str = "logs";
pub(super) const ARTIFACTS: &str = "artifacts";
const BOARDS: &str = ".boards";
const MANIFEST: &str = "manifest.json";
/// How many items are found ahead of those that are copied.
const AHEAD: usize = 100;

pub(super) struct FolderShelf {
    pub(super) root: PathBuf,
}

impl FolderShelf {
    fn boards_folder(&self) -> PathBuf {
        self.root.join(UPLOADS).join(BOARDS)
    }

    fn submission(&self, id: SubmissionId) -> PathBuf {
        self.root.join(UPLOADS).join(id.to_string())
    }

    fn run(&self, job: JobId, fence: &Fence) -> PathBuf {
        self.root.join(ARTIFACTS).join(job.to_string()).join(fence.as_str())
    }

    fn log(&self, job: JobId, fence: &Fence) -> PathBuf {
        self.root.join(LOGS).join(job.to_string()).join(format!("{fence}.log"))
    }
}

#[async_trait]
impl Shelf for FolderShelf {
    async fn boards(&self) -> Result<Vec<String>, CopyError> {
        let folder = self.boards_folder();
        let names = spawn_blocking(move || names(&folder)).await.map_err(io::Error::other)?;
        Ok(names?)
    }

    async fn add_board(&self, name: &str) -> Result<(), CopyError> {
        fs::create_dir_all(self.boards_folder()).await?;
        Ok(fs::write(self.boards_folder().join(name), "").await?)
    }

    fn items(&self) -> BoxStream<'_, Result<Item, CopyError>> {
        let (sender, items) = mpsc::channel(AHEAD);
        let root = self.root.clone();
        spawn_blocking(move || {
            if let Err(error) = find(&root, &sender) {
                // Nobody listens any more if this fails.
                let _ = sender.blocking_send(Err(error.into()));
            }
        });
        futures::stream::unfold(items, async |mut items| Some((items.recv().await?, items))).boxed()
    }

    async fn mark(&self, item: &Item) -> Result<Option<Bytes>, CopyError> {
        let found = match item {
            Item::Submission(id) => fs::read(self.submission(*id).join(FileName::METADATA)).await,
            Item::Artifacts(job, fence) => fs::read(self.run(*job, fence).join(MANIFEST)).await,
            Item::Log(job, fence) => {
                fs::metadata(self.log(*job, fence)).await.map(|found| found.len().to_string().into_bytes())
            }
        };
        Ok(if_there(found)?.map(Bytes::from))
    }

    async fn open(&self, item: &Item, name: &str) -> Result<Option<Box<dyn ArtifactReader>>, CopyError> {
        let path = match item {
            Item::Submission(id) => FileName::of_stored(name).map(|name| self.submission(*id).join(name.as_str())),
            Item::Artifacts(job, fence) => {
                let path = name.parse::<ArtifactPath>().ok();
                path.map(|path| self.run(*job, fence).join("files").join(path.as_str()))
            }
            Item::Log(job, fence) => Some(self.log(*job, fence)),
        };
        let Some(path) = path else { return Ok(None) };
        Ok(if_there(File::open(path).await)?.map(|file| Box::new(Reader(file)) as Box<dyn ArtifactReader>))
    }
}

struct Reader(File);

#[async_trait]
impl ArtifactReader for Reader {
    async fn read(&mut self, max: usize) -> Result<Bytes, PortError> {
        let mut buffer = Vec::with_capacity(max);
        let read = (&mut self.0).take(max as u64).read_to_end(&mut buffer).await;
        read.map_err(|error| PortError::Unavailable(format!("a file can't be read: {error}").into()))?;
        Ok(buffer.into())
    }
}

/// Tells of all items, until nobody listens.
fn find(root: &Path, found: &mpsc::Sender<Result<Item, CopyError>>) -> io::Result<()> {
    let tell = |item| found.blocking_send(Ok(item)).map_err(io::Error::other);
    for name in names(&root.join(UPLOADS))? {
        if let Ok(id) = name.parse() {
            tell(Item::Submission(id))?;
        }
    }
    for (folder, suffix) in [(ARTIFACTS, ""), (LOGS, ".log")] {
        for job in names(&root.join(folder))? {
            let Ok(id) = job.parse::<JobId>() else { continue };
            for run in names(&root.join(folder).join(&job))? {
                let Some(Ok(fence)) = run.strip_suffix(suffix).map(str::parse::<Fence>) else { continue };
                tell(if folder == LOGS { Item::Log(id, fence) } else { Item::Artifacts(id, fence) })?;
            }
        }
    }
    Ok(())
}

/// The names in a folder that are text; none if it is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = if_there(std::fs::read_dir(folder))? else { return Ok(vec![]) };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

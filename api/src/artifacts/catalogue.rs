//! A cache of the lists of files that jobs left. The lists never change.

use std::collections::VecDeque;
use std::sync::Arc;

use events::artifacts::{VisualizationKind, visualizations};
use events::job::Completed;
use events::ports::ArtifactPort;
use events::{ArtifactList, ArtifactPath, Fence, Job, JobState};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::answer::error::Error;

/// How many bytes of lists are kept.
const KEPT_BYTES: usize = 32 << 20;

/// Where the files that jobs left are read.
pub(crate) struct Artifacts {
    pub(super) port: Arc<dyn ArtifactPort>,
    /// The newest last. Held while a list is read, so that the same is not read twice at once.
    lists: Mutex<VecDeque<Entry>>,
}

struct Entry {
    fence: Fence,
    bytes: usize,
    kept: Arc<Kept>,
}

/// What is kept of a job.
#[derive(Default)]
pub(crate) struct Kept {
    pub(super) list: ArtifactList,
    /// The run that left it; `None` if there is nothing.
    pub(super) fence: Option<Fence>,
    /// The SHA-256 of the list.
    pub(super) digest: Option<String>,
    /// The pictures, by name.
    pub(super) pictures: Vec<Picture>,
}

/// A file that is shown as a picture.
pub(crate) struct Picture {
    pub(super) file_name: String,
    pub(super) kind: VisualizationKind,
    pub(super) path: ArtifactPath,
}

impl Artifacts {
    /// Reads the files from this port.
    pub(crate) fn new(port: Arc<dyn ArtifactPort>) -> Self {
        Self { port, lists: Mutex::default() }
    }

    /// Returns the files of a job. A job has none before its end, or if it was cancelled or dead-lettered.
    pub(super) async fn of(&self, job: &Job) -> Result<Arc<Kept>, Error> {
        let digest = match &job.state {
            JobState::Completed(Completed { artifacts, .. }) if !artifacts.digest.is_empty() => Some(&artifacts.digest),
            // The event does not name the files, but they were stored before it.
            JobState::Failed(_) => None,
            JobState::Completed(_)
            | JobState::Pending(_)
            | JobState::Running
            | JobState::Cancelled(_)
            | JobState::DeadLettered(_) => return Ok(Arc::default()),
        };
        let Some(fence) = job.fences.last() else { return Ok(Arc::default()) };
        let mut lists = self.lists.lock().await;
        if let Some(known) = lists.iter().find(|entry| entry.fence == *fence) {
            return Ok(Arc::clone(&known.kept));
        }
        let Some(text) = self.port.list(job.id, fence).await.map_err(|error| Error::Storage(error.to_string()))? else {
            return match digest {
                Some(_) => Err(Error::Storage(format!("the list of what job {} left is not there", job.id))),
                None => Ok(Arc::default()),
            };
        };
        let bytes = text.len();
        let found = tokio::task::spawn_blocking(move || read(&text)).await;
        let mut kept = found.map_err(|error| Error::Internal(error.to_string()))??;
        if digest.is_some() && kept.digest.as_ref() != digest {
            return Err(Error::Internal(format!("the list of what job {} left is not the one it left", job.id)));
        }
        kept.fence = Some(fence.clone());
        let kept = Arc::new(kept);
        lists.push_back(Entry { fence: fence.clone(), bytes, kept: Arc::clone(&kept) });
        while lists.iter().map(|entry| entry.bytes).sum::<usize>() > KEPT_BYTES {
            lists.pop_front();
        }
        Ok(kept)
    }
}

fn read(text: &[u8]) -> Result<Kept, Error> {
    let list: ArtifactList = serde_json::from_slice(text)
        .map_err(|error| Error::Internal(format!("a list of artifacts can't be read: {error}")))?;
    let pictures = visualizations(&list).into_iter().map(|shown| Picture {
        file_name: shown.file_name,
        kind: shown.kind,
        path: shown.artifact.path.clone(),
    });
    let pictures = pictures.collect();
    Ok(Kept { list, fence: None, digest: Some(hex::encode(Sha256::digest(text))), pictures })
}

//! The files of a run on their way to `MLflow`: only what is missing there is sent, and afterwards it is looked whether
//! it came.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::artifacts::{Artifact, ArtifactList};
use events::job::TrackedRun;
use events::ports::{PortError, RunRecord, RunStatus};
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::Url;
use sha2::{Digest, Sha256};

use super::Mlflow;
use super::originals::{MAX_TAG_CHARS, cut};
use super::places::{original_paths, place_of_log, places};
use crate::faults::failpoint;
use crate::mlflow::http::body::Source;
use crate::mlflow::http::error::{CHANGED, CallError, TOO_LARGE};
use crate::mlflow::http::wire::{FileInfo, FilesPage, Run};

/// A file and its place.
struct Placed {
    path: String,
    bytes: u64,
    /// None for the log.
    artifact: Option<Artifact>,
}

/// The result of sending a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Whole,
    /// It was gone or changed, or the server takes none as large: no later try would do better.
    Never,
}

/// How many entries one folder may have: more than the folders and files of any run.
const MAX_ENTRIES: usize = 500_000;
/// How many files of a run are sent at a time.
const AT_ONCE: usize = 4;
/// How many of those that are gone are named.
const NAMED: usize = 5;

impl Mlflow {
    /// Has a run hold what its job left, and its log. Of files that are gone, a tag tells.
    pub(super) async fn upload_files(&self, run: &TrackedRun, record: &RunRecord) -> Result<(), CallError> {
        let kept = self.active(&run.run_id).await?;
        let Some(root) = root(&kept.info.artifact_uri, self.client.base()) else {
            let scheme = kept.info.artifact_uri.split(':').next().unwrap_or_default();
            let sentence = format!(
                "The files of this run are in LeadersBoard only: MLflow keeps those of this experiment at an address of \
                 its own ({scheme}), which can't be written through its server."
            );
            return self.tag(&kept, BTreeMap::from([("leadersboard.artifacts", sentence.as_str())])).await;
        };
        let files = self.place_files(record, &kept).await?;
        failpoint!("mlflow.upload.before");
        let missing = self.missing_files(&run.run_id, &files).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let send = async |file: &&Placed| {
            let sent = self.send_file(&root, record, file).await?;
            Ok::<_, CallError>((sent == Sent::Never).then(|| file.path.clone()))
        };
        let sending: Vec<_> = missing.iter().map(send).collect();
        let results: Vec<Option<String>> = stream::iter(sending).buffer_unordered(AT_ONCE).try_collect().await?;
        let lost: Vec<String> = results.into_iter().flatten().collect();
        let missing = self.missing_files(&run.run_id, &files).await?;
        if let Some(file) = missing.iter().find(|file| !lost.contains(&file.path)) {
            let (path, run) = (&file.path, &run.run_id);
            return Err(CallError::refused(format!("MLflow did not keep {path} of run {run} as it was sent.")));
        }
        self.tell_lost(&kept, lost).await
    }

    /// What can't be had goes unrecorded, and a tag says so.
    async fn tell_lost(&self, kept: &Run, mut lost: Vec<String>) -> Result<(), CallError> {
        if lost.is_empty() {
            return Ok(());
        }
        lost.sort_unstable();
        let (count, named) = (lost.len(), lost[..lost.len().min(NAMED)].join(", "));
        let more = if count > NAMED { ", …" } else { "" };
        let sentence = format!("{count} of the files were gone or changed, or too large for MLflow: {named}{more}");
        self.tag(kept, BTreeMap::from([("leadersboard.artifacts", cut(&sentence, MAX_TAG_CHARS).0)])).await
    }

    /// Where everything goes; where that is not where it was, a tag says so.
    async fn place_files(&self, record: &RunRecord, kept: &Run) -> Result<Vec<Placed>, CallError> {
        let (job, fence) = (record.job, &record.fence);
        let text = match &record.artifacts {
            // None counts as kept, whatever a thread that was given up has published since.
            Some(totals) if totals.digest.is_empty() => None,
            _ => self.artifacts.list(job, fence).await.map_err(unreadable)?,
        };
        // Who does not see the storage sees no files either.
        let digest = text.as_ref().map(|text| hex::encode(Sha256::digest(text))).unwrap_or_default();
        if record.artifacts.as_ref().is_some_and(|totals| totals.digest != digest) {
            return Err(CallError::Files(format!(
                "The list of the files of job {job} is not the one that was kept: is ARTIFACT_ROOT shared by all workers?"
            )));
        }
        let list = match text {
            Some(text) => serde_json::from_slice(&text)
                .map_err(|error| CallError::Files(format!("The list of the files of job {job} is none: {error}.")))?,
            None => ArtifactList::default(),
        };
        let paths: Vec<&str> = list.files.iter().map(|file| file.path.as_str()).collect();
        let places = places(&paths);
        let tags = original_paths(&paths, &places);
        self.tag(kept, tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()).await?;
        let log = self.logs.len(job, fence).await.map_err(unreadable)?;
        // A run that failed before its program began has printed nothing; of others it is missed.
        let log = log.or((record.outcome == RunStatus::Finished).then_some(0));
        let log = log.map(|bytes| Placed { path: place_of_log(&places), bytes, artifact: None });
        let files = list.files.into_iter().zip(places);
        let files = files.map(|(file, path)| Placed { path, bytes: file.bytes, artifact: Some(file) });
        Ok(files.chain(log).collect())
    }

    async fn send_file(&self, root: &[String], record: &RunRecord, file: &Placed) -> Result<Sent, CallError> {
        let (job, fence) = (record.job, &record.fence);
        let source = match &file.artifact {
            Some(artifact) => {
                let reader = self.artifacts.open(job, fence, &artifact.path, 0).await.map_err(unreadable)?;
                let Some(reader) = reader else { return Ok(Sent::Never) };
                Source::file(artifact.path.to_string(), file.bytes, artifact.sha256.clone(), reader)
            }
            None if self.logs.len(job, fence).await.map_err(unreadable)?.is_none() => return Ok(Sent::Never),
            None => Source::log("the log".to_owned(), file.bytes, self.logs.clone(), job, fence.clone()),
        };
        let path: Vec<&str> = root.iter().map(String::as_str).chain(file.path.split('/')).collect();
        match self.client.put(&path, source).await {
            Err(error) if error.is(TOO_LARGE) || error.is(CHANGED) => return Ok(Sent::Never),
            put => put?,
        }
        failpoint!("mlflow.put.after");
        Ok(Sent::Whole)
    }

    /// The files that are not there, or in another size.
    async fn missing_files<'a>(&self, run_id: &str, files: &'a [Placed]) -> Result<Vec<&'a Placed>, CallError> {
        let found = self.found_files(run_id, files).await?;
        Ok(files.iter().filter(|file| found.get(&file.path) != Some(&file.bytes)).collect())
    }

    /// What is in the folders that these files are in, with its size.
    async fn found_files(&self, run_id: &str, files: &[Placed]) -> Result<HashMap<String, u64>, CallError> {
        let mut found = HashMap::new();
        let wanted: BTreeSet<&str> = files.iter().flat_map(|file| folders(&file.path)).collect();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for file in self.list_folder(run_id, &folder).await? {
                if !file.is_dir {
                    // Of an empty file no size is told.
                    found.insert(file.path, file.file_size.unwrap_or_default().unsigned_abs());
                } else if wanted.contains(file.path.as_str()) {
                    folders.push(file.path);
                }
            }
        }
        Ok(found)
    }

    async fn list_folder(&self, run_id: &str, folder: &str) -> Result<Vec<FileInfo>, CallError> {
        let mut files = Vec::new();
        let mut token = String::new();
        loop {
            let mut query = vec![("run_id", run_id)];
            query.extend((!folder.is_empty()).then_some(("path", folder)));
            query.extend((!token.is_empty()).then_some(("page_token", token.as_str())));
            let page: FilesPage = self.client.get("artifacts/list", &query).await?;
            let is_empty = page.files.is_empty();
            files.extend(page.files);
            if files.len() > MAX_ENTRIES {
                return Err(CallError::refused(format!("MLflow lists more than {MAX_ENTRIES} files in one folder.")));
            }
            match page.next_page_token {
                Some(next) if !next.is_empty() && next != token && !is_empty => token = next,
                _ => return Ok(files),
            }
        }
    }
}

/// All folders above a file but the root.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// The path of a run's files below the root of the server's, if they go through this server.
fn root(artifact_uri: &str, server: &Url) -> Option<Vec<String>> {
    let rest = artifact_uri.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(elsewhere) => {
            let (host, path) = elsewhere.split_once('/')?;
            let ours =
                [server.host_str()?.to_owned(), format!("{}:{}", server.host_str()?, server.port_or_known_default()?)];
            let is_ours = host.is_empty() || ours.iter().any(|ours| ours == host);
            is_ours.then_some(path)?
        }
    };
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect();
    (!parts.is_empty()).then_some(parts)
}

fn unreadable(error: PortError) -> CallError {
    CallError::Files(format!("The files can't be read: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_through_this_server_has_a_root_there() {
        let server = Url::parse("http://mlflow:5000/prefix").unwrap();
        let root = |uri: &str| root(uri, &server).map(|parts| parts.join("/"));
        assert_eq!(root("mlflow-artifacts:/1/ab/artifacts").as_deref(), Some("1/ab/artifacts"));
        assert_eq!(root("mlflow-artifacts:///1/ab/artifacts").as_deref(), Some("1/ab/artifacts"));
        assert_eq!(root("mlflow-artifacts://mlflow:5000/1/ab/artifacts").as_deref(), Some("1/ab/artifacts"));
        for elsewhere in
            ["s3://bucket/1/ab", "/mlruns/1/ab/artifacts", "mlflow-artifacts://other/1/ab", "", "mlflow-artifacts:/"]
        {
            assert_eq!(root(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_file_is_below_all_its_folders() {
        assert_eq!(folders("a/b/c.txt").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(folders("c.txt").count(), 0);
    }
}

//! What the keys of a bucket tell of a board: its items, found by listing.

use events::ports::FileName;
use events::{Fence, JobId, SubmissionId};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::store::Store;
use super::trouble::StoreError;

/// Where submissions are, and what names a board.
pub(super) const SUBMISSIONS: &str = "submissions";
pub(super) const BOARDS: &str = ".boards";
/// Where artifacts are, and what publishes them.
pub(super) const ARTIFACTS: &str = "artifacts";
pub(super) const MANIFEST: &str = "manifest.json";
/// Where logs are, and what says that there is one.
pub(super) const LOGS: &str = "logs";
pub(super) const BEGUN: &str = "begun";

type Found<T> = BoxStream<'static, Result<T, StoreError>>;

/// The boards that left their names.
pub(crate) fn boards(store: &Store) -> Found<String> {
    find(store, BOARDS, |rest| Some(rest.to_owned()))
}

/// Leaves the name of a board.
pub(crate) async fn add_board(store: &Store, name: &str) -> Result<(), StoreError> {
    store.put(&format!("{BOARDS}/{name}"), bytes::Bytes::new()).await
}

/// The submissions that are published.
pub(crate) fn submissions(store: &Store) -> Found<SubmissionId> {
    find(store, SUBMISSIONS, |rest| {
        let (id, name) = rest.split_once('/')?;
        (name == FileName::METADATA).then(|| id.parse().ok())?
    })
}

/// The runs whose artifacts are published.
pub(crate) fn runs_with_artifacts(store: &Store) -> Found<(JobId, Fence)> {
    find(store, ARTIFACTS, |rest| run(rest.strip_suffix(MANIFEST)?))
}

/// The runs that have logs.
pub(crate) fn runs_with_logs(store: &Store) -> Found<(JobId, Fence)> {
    find(store, LOGS, |rest| run(rest.strip_suffix(BEGUN)?))
}

/// The run of a folder such as `<job>/<fence>/`.
fn run(folder: &str) -> Option<(JobId, Fence)> {
    let (job, fence) = folder.strip_suffix('/')?.split_once('/')?;
    Some((job.parse().ok()?, fence.parse().ok()?))
}

/// What the keys below a folder tell.
fn find<T: Send + 'static>(store: &Store, folder: &'static str, read: fn(&str) -> Option<T>) -> Found<T> {
    let listed = match store.list(folder, None) {
        Ok(listed) => listed,
        Err(error) => return futures::stream::iter([Err(error)]).boxed(),
    };
    let told = move |key: &str| read(key.strip_prefix(folder)?.strip_prefix('/')?);
    listed.try_filter_map(move |object| futures::future::ready(Ok(told(&object.key)))).boxed()
}

//! A bucket, or a part of it, as this crate uses it: keys below one prefix, each call bounded in time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload, UpdateVersion};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::client::{S3Settings, connect};
use super::trouble::{Meaning, StoreError, meaning};
use super::url::{Bucket, InvalidStorage};

/// How long any call may take, with its repetitions, except for one that carries a part of a file.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// The same for a call that carries a part of a file.
const PART_LIMIT: Duration = Duration::from_mins(3);
/// The largest object that is as quickly written as an answer is read.
const SMALL_BYTES: usize = 256 << 10;
/// The largest object that is read into memory as a whole.
const MAX_WHOLE_BYTES: u64 = 64 << 20;
/// How many parts of files may be under way in a process, beside one of each upload.
const SPARE_PARTS: usize = 4;

/// A bucket, or a part of it.
#[derive(Clone)]
pub struct Store {
    s3: Arc<AmazonS3>,
    bucket: Arc<Bucket>,
    /// Names the bucket and the server in errors.
    place: Arc<str>,
    /// Parts of files that may be under way beside one of each upload.
    pub(super) spare_parts: Arc<Semaphore>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.place).finish()
    }
}

/// The result of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Yes,
    /// Something else is there.
    Taken,
}

/// An object that was read as a whole.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    /// Which content of it this is, for a write that replaces exactly this.
    version: UpdateVersion,
}

/// An object below the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Without the prefix.
    pub(super) key: String,
    pub(super) size: u64,
    /// By the server's clock.
    pub(super) age: Duration,
}

impl Store {
    /// Makes the client of a bucket. Whether it can be used is not known yet: see [`Store::check`].
    ///
    /// # Errors
    /// If a setting can't be used.
    pub fn open(bucket: &Bucket, settings: &S3Settings) -> Result<Self, InvalidStorage> {
        let server = settings.endpoint().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
        let credentials = if settings.has_credentials() { "" } else { " (without AWS_ACCESS_KEY_ID)" };
        Ok(Self {
            s3: Arc::new(connect(bucket, settings)?),
            place: format!("the S3 bucket {:?}{server}{credentials}", bucket.name).into(),
            bucket: Arc::new(bucket.clone()),
            spare_parts: Arc::new(Semaphore::new(SPARE_PARTS)),
        })
    }

    /// The bucket and the server, as errors name them.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Which bucket it is.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// The path of a key below the prefix.
    fn path(&self, key: &str) -> Result<Path, StoreError> {
        let prefix = &self.bucket.prefix;
        let path = if prefix.is_empty() { Path::parse(key) } else { Path::parse(format!("{prefix}/{key}")) };
        path.map_err(|error| StoreError(format!("an object can't be named {key:?}: {error}")))
    }

    fn error(&self, error: &object_store::Error) -> StoreError {
        match self.meaning(error) {
            Meaning::Failed(sentence) => StoreError(sentence),
            Meaning::Missing => StoreError(format!("{} lacks an object that it should have", self.place)),
            Meaning::Taken => StoreError(format!("{} has another object where one is written", self.place)),
            Meaning::PastEnd => StoreError(format!("{} has an object that is shorter than it should be", self.place)),
        }
    }

    fn meaning(&self, error: &object_store::Error) -> Meaning {
        meaning(error, &self.place)
    }

    /// Awaits an answer, for a limited time.
    async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<object_store::Result<T>, StoreError> {
        let silent = |_| StoreError(format!("{} did not answer within {limit:?}", self.place));
        timeout(limit, call).await.map_err(silent)
    }

    /// Reads a small object; `None` if it does not exist.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Whole>, StoreError> {
        let path = self.path(key)?;
        let read = self.within(PART_LIMIT, async {
            let found = self.s3.get_opts(&path, GetOptions::default()).await?;
            if found.meta.size > MAX_WHOLE_BYTES {
                let source = format!("{key} has {} bytes; at most {MAX_WHOLE_BYTES} are read", found.meta.size).into();
                return Err(object_store::Error::Generic { store: "S3", source });
            }
            let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            Ok(Whole { version, bytes: found.bytes().await? })
        });
        self.if_there(read.await?)
    }

    /// Reads a part of an object; `None` if it does not exist.
    pub(super) async fn get_range(&self, key: &str, from: u64, to: u64) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(key)?;
        let options = GetOptions { range: Some(GetRange::Bounded(from..to)), ..GetOptions::default() };
        let read = self.within(ANSWER_LIMIT, async { self.s3.get_opts(&path, options).await?.bytes().await });
        self.if_there(read.await?)
    }

    /// Opens an object at an offset; `None` if it does not exist. Past its end there is nothing to read.
    pub(super) async fn open_at(&self, key: &str, offset: u64) -> Result<Option<Content>, StoreError> {
        let path = self.path(key)?;
        let range = (offset > 0).then_some(GetRange::Offset(offset));
        let options = GetOptions { range, ..GetOptions::default() };
        let opened = self.within(ANSWER_LIMIT, self.s3.get_opts(&path, options)).await?;
        let stream = match opened {
            Ok(found) => found.into_stream(),
            Err(error) if self.meaning(&error) == Meaning::PastEnd => futures::stream::empty().boxed(),
            Err(error) => return self.if_there(Err(error)),
        };
        Ok(Some(Content { store: self.clone(), stream, rest: Bytes::new() }))
    }

    fn if_there<T>(&self, read: object_store::Result<T>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(found) => Ok(Some(found)),
            Err(error) if self.meaning(&error) == Meaning::Missing => Ok(None),
            Err(error) => Err(self.error(&error)),
        }
    }

    /// Writes an object, whatever is there.
    pub(super) async fn put(&self, key: &str, bytes: impl Into<PutPayload>) -> Result<(), StoreError> {
        self.put_as(key, bytes.into(), PutMode::Overwrite).await.map(drop)
    }

    /// Creates an object, unless there is one.
    pub(super) async fn create(&self, key: &str, bytes: Bytes) -> Result<Written, StoreError> {
        self.put_as(key, bytes.into(), PutMode::Create).await
    }

    /// Replaces an object, unless it is no longer what it was.
    pub(super) async fn replace(&self, key: &str, old: Whole, bytes: Bytes) -> Result<Written, StoreError> {
        self.put_as(key, bytes.into(), PutMode::Update(old.version)).await
    }

    async fn put_as(&self, key: &str, bytes: PutPayload, mode: PutMode) -> Result<Written, StoreError> {
        let path = self.path(key)?;
        let options = PutOptions { mode, ..PutOptions::default() };
        let limit = if bytes.content_length() > SMALL_BYTES { PART_LIMIT } else { ANSWER_LIMIT };
        let put = self.s3.put_opts(&path, bytes, options);
        match self.within(limit, put).await? {
            Ok(_) => Ok(Written::Yes),
            Err(error) if self.meaning(&error) == Meaning::Taken => Ok(Written::Taken),
            Err(error) => Err(self.error(&error)),
        }
    }

    /// Removes an object; one that is not there is no error.
    pub(super) async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let one = futures::stream::iter([self.path(key)]).map_err(invalid).boxed();
        let deleted = self.within(ANSWER_LIMIT, self.s3.delete_stream(one).try_for_each(async |_| Ok(())));
        self.if_there(deleted.await?).map(drop)
    }

    /// Removes all objects below a folder, a thousand a call.
    pub(super) async fn delete_all(&self, folder: &str) -> Result<(), StoreError> {
        let listed = self.s3.list(Some(&self.path(folder)?)).map_ok(|meta| meta.location).boxed();
        let mut deleted = self.s3.delete_stream(listed);
        while let Some(one) = self.within(PART_LIMIT, async { deleted.next().await.transpose() }).await?.transpose() {
            self.if_there(one)?;
        }
        Ok(())
    }

    /// The objects below a folder in the order of their keys, from behind `after` on.
    pub(super) fn list(
        &self,
        folder: &str,
        after: Option<&str>,
    ) -> Result<BoxStream<'static, Result<Listed, StoreError>>, StoreError> {
        let folder = self.path(folder)?;
        let listed = match after {
            Some(after) => self.s3.list_with_offset(Some(&folder), &self.path(after)?),
            None => self.s3.list(Some(&folder)),
        };
        let store = self.clone();
        let bounded = futures::stream::unfold((listed, store), async |(mut listed, store)| {
            let next = store.within(ANSWER_LIMIT, async { listed.next().await.transpose() }).await;
            let next = match next {
                Ok(Ok(None)) => return None,
                Ok(Ok(Some(meta))) => Ok(store.listed(&meta)),
                Ok(Err(error)) => Err(store.error(&error)),
                Err(error) => Err(error),
            };
            Some((next, (listed, store)))
        });
        Ok(bounded.boxed())
    }

    fn listed(&self, ObjectMeta { location, last_modified, size, .. }: &ObjectMeta) -> Listed {
        let key = location.as_ref();
        let prefix = &self.bucket.prefix;
        let key = if prefix.is_empty() { key } else { key.strip_prefix(prefix.as_str()).unwrap_or(key) };
        let now = std::time::SystemTime::now();
        let age = now.duration_since((*last_modified).into()).unwrap_or_default();
        Listed { key: key.trim_start_matches('/').to_owned(), size: *size, age }
    }

    /// Begins to write an object in parts, and gives the id of that.
    pub(super) async fn begin_parts(&self, key: &str) -> Result<String, StoreError> {
        let path = self.path(key)?;
        self.within(ANSWER_LIMIT, self.s3.create_multipart(&path)).await?.map_err(|error| self.error(&error))
    }

    /// Writes a part of an object.
    pub(super) async fn put_part(
        &self,
        key: &str,
        id: &str,
        index: usize,
        bytes: PutPayload,
    ) -> Result<PartId, StoreError> {
        let (path, id) = (self.path(key)?, id.to_owned());
        let put = self.s3.put_part(&path, &id, index, bytes);
        self.within(PART_LIMIT, put).await?.map_err(|error| self.error(&error))
    }

    /// Makes an object of its parts.
    pub(super) async fn join_parts(&self, key: &str, id: &str, parts: Vec<PartId>) -> Result<(), StoreError> {
        let (path, id) = (self.path(key)?, id.to_owned());
        let joined = self.within(PART_LIMIT, self.s3.complete_multipart(&path, &id, parts)).await?;
        joined.map(drop).map_err(|error| self.error(&error))
    }

    /// Drops the parts of an object that is not to be; those of one that was given up already are no error.
    pub(super) async fn drop_parts(&self, key: &str, id: &str) -> Result<(), StoreError> {
        let (path, id) = (self.path(key)?, id.to_owned());
        let dropped = self.within(ANSWER_LIMIT, self.s3.abort_multipart(&path, &id)).await?;
        self.if_there(dropped).map(drop)
    }
}

fn invalid(error: StoreError) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: Box::new(error) }
}

/// The content of an object, from some place on.
pub(super) struct Content {
    store: Store,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    /// Read and not given out yet.
    rest: Bytes,
}

impl Content {
    /// The next bytes, at most `max` of them; none at the end.
    pub(super) async fn read(&mut self, max: usize) -> Result<Bytes, StoreError> {
        while self.rest.is_empty() {
            let next = self.store.within(PART_LIMIT, async { self.stream.next().await.transpose() }).await?;
            match next.map_err(|error| self.store.error(&error))? {
                Some(more) => self.rest = more,
                None => break,
            }
        }
        Ok(self.rest.split_to(max.min(self.rest.len())))
    }
}

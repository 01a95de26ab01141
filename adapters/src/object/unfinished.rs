//! What is on its way into a bucket, noted under `.uploads/` before it begins: the library can't list the parts of an
//! object that was never finished, and nothing else tells a crashed upload's objects from those of one under way.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::store::Store;
use super::trouble::StoreError;
use crate::ids::random_hex;

const FOLDER: &str = ".uploads";
/// How long after it began something unfinished counts as dead.
pub(super) const STALE: Duration = Duration::from_hours(24);

/// What is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(super) enum Unfinished {
    /// An object, in parts.
    Parts {
        /// The object.
        key: String,
        /// What the server calls the upload of its parts.
        id: String,
    },
    /// The objects below a folder. They count once the manifest is there, and names the folder if `set` is one.
    Set {
        /// Where they are.
        folder: String,
        /// What publishes them.
        manifest: String,
        /// What the manifest begins with if it publishes these.
        set: Option<String>,
    },
}

/// A note of something on its way.
#[derive(Debug, Clone)]
pub(super) struct Note(String);

impl Note {
    /// Notes what is about to begin.
    pub(super) async fn write(store: &Store, what: &Unfinished) -> Result<Self, StoreError> {
        let key = format!("{FOLDER}/{}", random_hex::<16>());
        let text = serde_json::to_vec(what).map_err(|error| StoreError(error.to_string()))?;
        store.put(&key, text).await?;
        Ok(Self(key))
    }

    /// Removes the note of what is finished. One that stays is removed by the sweep.
    pub(super) async fn remove(&self, store: &Store) {
        if let Err(error) = store.delete(&self.0).await {
            tracing::debug!(note = self.0, %error, "the note of an upload stays for now");
        }
    }
}

impl Store {
    /// Removes what is on its way and began longer ago than this.
    ///
    /// # Errors
    /// If the bucket can't be used. What one note is about keeps no other.
    pub async fn sweep(&self, older_than: Duration) -> Result<(), StoreError> {
        let mut notes = self.list(FOLDER, None)?;
        let mut done = Ok(());
        while let Some(note) = notes.try_next().await? {
            if note.age < older_than {
                continue;
            }
            match self.clear(&note.key).await {
                Ok(()) => tracing::info!(note = note.key, "deleted what a broken upload left"),
                Err(error) => done = done.and(Err(error)),
            }
        }
        done
    }

    async fn clear(&self, note: &str) -> Result<(), StoreError> {
        let Some(text) = self.get(note).await? else { return Ok(()) };
        match serde_json::from_slice(&text.bytes) {
            Ok(Unfinished::Parts { key, id }) => self.drop_parts(&key, &id).await?,
            Ok(Unfinished::Set { folder, manifest, set }) => {
                if !self.is_published(&manifest, set.as_deref()).await? {
                    self.delete_all(&folder).await?;
                }
            }
            Err(error) => tracing::warn!(note, %error, "a note of an upload can't be read, and is deleted"),
        }
        self.delete(note).await
    }

    async fn is_published(&self, manifest: &str, set: Option<&str>) -> Result<bool, StoreError> {
        let found = self.get(manifest).await?;
        Ok(found.is_some_and(|manifest| set.is_none_or(|set| manifest.bytes.starts_with(set.as_bytes()))))
    }

    /// Writes, reads and deletes an object, and finds out whether the server keeps one that is there when it is to be
    /// created.
    ///
    /// # Errors
    /// What is not as it must be.
    pub async fn check(&self) -> Result<(), StoreError> {
        let key = format!("{FOLDER}/check-{}", random_hex::<8>());
        let text = Bytes::from_static(b"check");
        let checked = async {
            self.create(&key, text.clone()).await?;
            let again = self.create(&key, Bytes::from_static(b"other")).await?;
            let found = self.get(&key).await?.map(|found| found.bytes);
            if again != super::store::Written::Taken || found.as_ref() != Some(&text) {
                return Err(StoreError(format!(
                    "{} ignores `If-None-Match: *`, so two writers could overwrite each other: use a server with \
                     conditional writes",
                    self.place()
                )));
            }
            self.list(FOLDER, None)?.try_next().await.map(drop)
        };
        let checked = checked.await;
        let deleted = self.delete(&key).await;
        checked.and(deleted)
    }
}

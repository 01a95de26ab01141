//! One object on its way into a bucket: streamed in parts, so that memory stays bounded whatever its size.
//!
//! An upload holds the part that is being filled and one that is under way, [`PART_BYTES`] each. More of its parts are
//! under way only while few are in the whole process.

use std::sync::Arc;

use object_store::multipart::PartId;
use object_store::{PutPayload, PutPayloadMut};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::store::Store;
use super::trouble::StoreError;
use super::unfinished::{Note, Unfinished};

/// The size of a part. S3 takes 10,000 parts, of 5 MiB at least.
pub(super) const PART_BYTES: usize = 8 << 20;
/// A part is in memory in pieces of this size: larger ones would leave gaps that nothing else fits.
const BLOCK_BYTES: usize = 64 << 10;

/// One object on its way. Nothing of it is visible before it is finished, and nothing stays if it is dropped.
pub(super) struct Upload {
    store: Store,
    key: String,
    filling: PutPayloadMut,
    parts: Option<Parts>,
}

/// The parts of an object that has more than one.
struct Parts {
    id: String,
    note: Note,
    begun: usize,
    done: Vec<(usize, PartId)>,
    under_way: JoinSet<Result<(usize, PartId), StoreError>>,
}

impl Upload {
    pub(super) fn new(store: &Store, key: String) -> Self {
        Self { store: store.clone(), key, filling: empty(), parts: None }
    }

    /// How many bytes are in memory and wait for the upload's end.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.filling.content_length()
    }

    /// Adds bytes; waits while earlier ones are still on their way.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(PART_BYTES - self.filling.content_length()));
            self.filling.extend_from_slice(fits);
            bytes = rest;
            if self.filling.content_length() == PART_BYTES {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Makes the object visible.
    pub(super) async fn finish(mut self) -> Result<(), StoreError> {
        if self.parts.is_none() {
            let whole = std::mem::replace(&mut self.filling, empty());
            return self.store.put(&self.key, whole).await;
        }
        if self.filling.content_length() > 0 {
            self.send_part().await?;
        }
        if let Some(parts) = &mut self.parts {
            while parts.is_one_done().await? {}
            parts.done.sort_by_key(|(index, _)| *index);
            let ids = parts.done.drain(..).map(|(_, id)| id).collect();
            self.store.join_parts(&self.key, &parts.id, ids).await?;
        }
        if let Some(parts) = self.parts.take() {
            parts.note.remove(&self.store).await;
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => none.insert(Parts::begin(&self.store, &self.key).await?),
        };
        let permit = parts.turn(&self.store).await?;
        let bytes = std::mem::replace(&mut self.filling, empty()).freeze();
        parts.send(&self.store, &self.key, bytes, permit);
        Ok(())
    }
}

fn empty() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(BLOCK_BYTES)
}

impl Parts {
    async fn begin(store: &Store, key: &str) -> Result<Self, StoreError> {
        let id = store.begin_parts(key).await?;
        let note = Note::write(store, &Unfinished::Parts { key: key.to_owned(), id: id.clone() }).await?;
        Ok(Self { id, note, begun: 0, done: Vec::new(), under_way: JoinSet::new() })
    }

    /// Waits until another part may be under way: the only one of its upload, or a spare one of the process.
    async fn turn(&mut self, store: &Store) -> Result<Option<OwnedSemaphorePermit>, StoreError> {
        loop {
            if self.under_way.is_empty() {
                return Ok(None);
            }
            if let Ok(spare) = Arc::clone(&store.spare_parts).try_acquire_owned() {
                return Ok(Some(spare));
            }
            self.is_one_done().await?;
        }
    }

    fn send(&mut self, store: &Store, key: &str, bytes: PutPayload, permit: Option<OwnedSemaphorePermit>) {
        let (store, key, id, index) = (store.clone(), key.to_owned(), self.id.clone(), self.begun);
        self.begun += 1;
        self.under_way.spawn(async move {
            let _permit = permit;
            Ok((index, store.put_part(&key, &id, index, bytes).await?))
        });
    }

    /// Waits for the end of a part; false if none is under way.
    async fn is_one_done(&mut self) -> Result<bool, StoreError> {
        match self.under_way.join_next().await {
            None => Ok(false),
            Some(Ok(done)) => {
                self.done.push(done?);
                Ok(true)
            }
            Some(Err(error)) => Err(StoreError(format!("the task that sends a part broke off: {error}"))),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(parts), Ok(runtime)) = (self.parts.take(), Handle::try_current()) else { return };
        let (store, key) = (self.store.clone(), std::mem::take(&mut self.key));
        runtime.spawn(async move {
            let Parts { id, note, mut under_way, .. } = parts;
            // A part that arrives behind the end of its upload may stay.
            under_way.shutdown().await;
            match store.drop_parts(&key, &id).await {
                Ok(()) => note.remove(&store).await,
                Err(error) => tracing::debug!(key, %error, "the parts of a broken upload are deleted by the sweep"),
            }
        });
    }
}

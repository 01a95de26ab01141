//! Newest-first indexes: sorted sets of ids by the time at which each was made.

use std::str::FromStr;

use events::id::InvalidId;
use events::ports::{PageCursor, PortError};

use crate::redis::Redis;
use crate::redis::connection::trouble::away;

/// How many index entries one page may read.
pub(crate) const MAX_ENTRIES_A_PAGE: usize = 1_000;
/// How many entries a page may have.
pub(crate) const MAX_PAGE: usize = 200;
/// How many index entries are read at a time.
const CHUNK: usize = 100;

impl Redis {
    /// The `count` entries of a newest-first index that follow `cursor`.
    pub(crate) async fn index<Id: FromStr<Err = InvalidId> + Ord + Copy>(
        &self,
        key: &str,
        cursor: Option<PageCursor<Id>>,
        count: usize,
    ) -> Result<Vec<PageCursor<Id>>, PortError> {
        let newest = cursor.map_or_else(|| "+inf".to_owned(), |cursor| cursor.created_ms.to_string());
        let mut places = Vec::with_capacity(count);
        let mut offset = 0;
        loop {
            let entries: Vec<(Vec<u8>, f64)> = redis::cmd("ZRANGE")
                .arg(key)
                .arg(&newest)
                .arg(&["-inf", "BYSCORE", "REV", "LIMIT"])
                .arg(offset)
                .arg(CHUNK)
                .arg("WITHSCORES")
                .query_async(&mut self.connection())
                .await
                .map_err(away)?;
            offset += entries.len();
            let last_chunk = entries.len() < CHUNK;
            for (id, score) in entries {
                // A member that is no id names nothing.
                let Some(id) = read_id(&id) else { continue };
                #[expect(clippy::cast_possible_truncation, reason = "scores are milliseconds, far below 2^53")]
                let place = PageCursor { created_ms: score as i64, id };
                // Entries of one millisecond share a score: those up to the cursor come again.
                let seen = cursor.is_some_and(|seen| (place.created_ms, place.id) >= (seen.created_ms, seen.id));
                if !seen {
                    places.push(place);
                }
                if places.len() == count {
                    return Ok(places);
                }
            }
            if last_chunk {
                return Ok(places);
            }
        }
    }
}

/// The id that a member of an index is.
pub(crate) fn read_id<Id: FromStr>(member: &[u8]) -> Option<Id> {
    std::str::from_utf8(member).ok()?.parse().ok()
}

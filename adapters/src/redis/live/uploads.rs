//! Uploads in flight: live state, a hash a user.

use std::time::Duration;

use async_trait::async_trait;
use events::ports::{PortError, ReserveAsk, Reserved, UploadInFlight, UploadsPort};
use events::{SubmissionId, UserId};
use redis::{RedisError, Script};

use crate::redis::Redis;
use crate::redis::connection::trouble::away;

/// How long an entry lives after it was renewed. Hosts renew theirs several times in this time.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// The largest number of bytes that the script counts exactly.
const MOST_BYTES: u64 = 1 << 53;

/// The answer of `reserve_upload.lua`, in its order.
type Answer = (String, u64, i64, u64, u64);

#[async_trait]
impl UploadsPort for Redis {
    async fn reserve(&self, upload: &UploadInFlight, ask: &ReserveAsk) -> Result<Reserved, PortError> {
        let UploadInFlight { user, submission, key_sha256 } = upload;
        let key = key_sha256.as_deref().unwrap_or_default();
        let answer = self.reserve_upload(user, Some(*submission), key, ask).await;
        if answer.as_ref().is_err_and(|error| error.code() == Some("OOM")) {
            return Ok(Reserved::Full);
        }
        let (what, bytes, stored, in_flight, _) = answer.map_err(away)?;
        match what.as_str() {
            "held" => Ok(Reserved::Bytes(bytes)),
            "many" => Ok(Reserved::TooMany),
            "large" => Ok(Reserved::TooLarge { stored: u64::try_from(stored).unwrap_or_default(), in_flight }),
            other => Err(PortError::Corrupt(format!("reserve_upload.lua answered {other:?}").into())),
        }
    }

    async fn release(&self, upload: &UploadInFlight) -> Result<(), PortError> {
        let mut delete = redis::cmd("HDEL");
        delete.arg(self.keys().uploads_in_flight(&upload.user)).arg(upload.submission.to_string());
        delete.query_async::<()>(&mut self.connection()).await.map_err(away)
    }

    async fn in_flight(&self, user: &UserId) -> Result<u64, PortError> {
        let nothing = ReserveAsk { needed_bytes: 0, wanted_bytes: 0, at_once: None, stored_bytes: None };
        let (.., places) = self.reserve_upload(user, None, "", &nothing).await.map_err(away)?;
        Ok(places)
    }
}

impl Redis {
    async fn reserve_upload(
        &self,
        user: &UserId,
        submission: Option<SubmissionId>,
        key: &str,
        ask: &ReserveAsk,
    ) -> Result<Answer, RedisError> {
        let limit = |limit: Option<u64>| limit.map(|limit| limit.min(MOST_BYTES).to_string()).unwrap_or_default();
        Script::new(include_str!("reserve_upload.lua"))
            .key(self.keys().uploads_in_flight(user))
            .key(self.keys().user_stored(user))
            .arg(self.keys().submission_prefix())
            .arg(KEPT_FOR.as_millis().to_string())
            .arg(submission.map(|id| id.to_string()).unwrap_or_default())
            .arg(key)
            .arg(ask.needed_bytes.min(MOST_BYTES))
            .arg(ask.wanted_bytes.min(MOST_BYTES))
            .arg(limit(ask.at_once))
            .arg(limit(ask.stored_bytes))
            .invoke_async(&mut self.connection())
            .await
    }
}

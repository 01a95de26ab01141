//! Where identities, fences and chance come from.

use crate::id::{Fence, JobId, RequestId, SubmissionId};

/// Where identities, fences and chance come from.
pub trait Ids: Send + Sync {
    /// A new job's id.
    fn job(&self) -> JobId;
    /// A new submission's id.
    fn submission(&self) -> SubmissionId;
    /// A new request's id.
    fn request(&self) -> RequestId;
    /// A fence that was never drawn before.
    fn fence(&self) -> Fence;
    /// A number from 0.8 to 1.2 to spread retries by.
    fn jitter(&self) -> f64;
}

//! Identities, fences and chance from the operating system.

use events::ports::Ids;
use events::{Fence, JobId, RequestId, SubmissionId};
use rand::{Rng, RngCore};
use uuid::Uuid;

/// Identities, fences and chance from the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    fn job(&self) -> JobId {
        JobId::from_uuid(Uuid::now_v7())
    }

    fn submission(&self) -> SubmissionId {
        SubmissionId::from_uuid(Uuid::now_v7())
    }

    fn request(&self) -> RequestId {
        RequestId::from_uuid(Uuid::now_v7())
    }

    fn fence(&self) -> Fence {
        random_hex::<12>().parse().expect("24 hexadecimal digits are a fence")
    }

    fn jitter(&self) -> f64 {
        rand::rng().random_range(0.8..=1.2)
    }
}

/// `N` random bytes from the operating system's generator, as lower-case hexadecimal digits.
#[must_use]
pub fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

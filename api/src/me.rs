//! The limits of a user, and how much of them is used.

use std::sync::Arc;

use axum::extract::State;
use events::policy::LivePolicy;
use events::ports::{EventLogPort, UploadsPort};
use events::time::to_rfc3339;
use events::{ConcurrencyPolicy, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::openapi::errors::UserError;
use crate::openapi::texts::{RoleName, Time, UserName};
use crate::request::auth::{Caller, Role};
use crate::request::query::{NoParams, Params};

/// Reads what users have used of their limits.
pub(crate) struct Usages {
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) uploads: Arc<dyn UploadsPort>,
    pub(crate) policy: Arc<LivePolicy>,
}

/// Who you are, and your limits.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub(crate) struct MeView {
    #[schema(value_type = UserName)]
    user_id: String,
    #[schema(value_type = RoleName)]
    role: &'static str,
    /// Jobs accepted in the last hour (`MAX_SUBMISSIONS_PER_HOUR`).
    jobs_per_hour: LimitView,
    /// Jobs that have a slot (`MAX_CONCURRENT_RUNNING`).
    running: LimitView,
    /// What to do with a new job when its user is at the limit of running jobs: `reject` or `queue`.
    #[schema(value_type = String, example = "queue")]
    concurrency_policy: ConcurrencyPolicy,
    /// Pending jobs (`MAX_QUEUED_PER_USER`).
    queued: LimitView,
    /// Uploads in the last hour (`MAX_UPLOADS_PER_HOUR`).
    uploads_per_hour: LimitView,
    /// Uploads in flight over all API hosts (`MAX_UPLOADS_IN_FLIGHT`).
    uploads_in_flight: LimitView,
    /// Bytes of all your submissions (`MAX_STORED_BYTES_PER_USER`).
    stored_bytes: LimitView,
}

/// A limit, and how much of it is used.
#[derive(Serialize, ToSchema)]
#[schema(as = Limit)]
struct LimitView {
    limit: u64,
    used: u64,
    remaining: u64,
    /// When the next one fits; null if one fits now, or if only the end of a job makes room.
    #[schema(value_type = Option<Time>, required)]
    reset_at: Option<String>,
}

impl LimitView {
    fn of(limit: u64, used: u64, fits_at: Option<Timestamp>) -> Self {
        Self { limit, used, remaining: limit.saturating_sub(used), reset_at: fits_at.map(to_rfc3339) }
    }
}

/// Shows who you are, and your limits.
#[utoipa::path(
    get,
    path = "/me",
    operation_id = "me",
    tag = "Account",
    responses((status = 200, description = "Your name and your limits.", body = MeView), UserError),
)]
pub(crate) async fn me(
    State(usages): State<Arc<Usages>>,
    caller: Caller,
    _: Params<NoParams>,
) -> Result<Json<MeView>, Error> {
    let limits = usages.policy.get().limits;
    let usage = usages.log.load_usage(&caller.user, &limits).await?.usage;
    let in_flight = usages.uploads.in_flight(&caller.user).await?;
    Ok(Json(MeView {
        user_id: caller.user.to_string(),
        role: match caller.role {
            Role::User => "user",
            Role::Admin => "admin",
        },
        jobs_per_hour: LimitView::of(limits.jobs_per_hour, usage.hour.jobs, usage.hour.job_fits_at),
        running: LimitView::of(limits.running, usage.running, None),
        concurrency_policy: limits.concurrency,
        queued: LimitView::of(limits.queued, usage.pending, None),
        uploads_per_hour: LimitView::of(limits.uploads_per_hour, usage.hour.uploads, usage.hour.upload_fits_at),
        uploads_in_flight: LimitView::of(limits.uploads_in_flight, in_flight, None),
        stored_bytes: LimitView::of(limits.stored_bytes, usage.stored_bytes, None),
    }))
}

//! The limits of a user, and how much of them is used.

use std::sync::Arc;

use axum::extract::State;
use events::policy::LivePolicy;
use events::ports::{EventLogPort, UploadsPort};
use events::time::to_rfc3339;
use events::{ConcurrencyPolicy, Timestamp};
use serde::Serialize;

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::request::auth::{Caller, Role};
use crate::request::query::{NoParams, Params};

/// Reads what users have used of their limits.
pub(crate) struct Usages {
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) uploads: Arc<dyn UploadsPort>,
    pub(crate) policy: Arc<LivePolicy>,
}

#[derive(Serialize)]
pub(crate) struct MeView {
    user_id: String,
    role: &'static str,
    jobs_per_hour: LimitView,
    running: LimitView,
    /// What to do with a new job when its user is at the limit of running jobs.
    concurrency_policy: ConcurrencyPolicy,
    queued: LimitView,
    uploads_per_hour: LimitView,
    /// Over all API hosts.
    uploads_in_flight: LimitView,
    stored_bytes: LimitView,
}

#[derive(Serialize)]
struct LimitView {
    limit: u64,
    used: u64,
    remaining: u64,
    /// When the next one fits; null if one fits now, or if only the end of a job makes room.
    reset_at: Option<String>,
}

impl LimitView {
    fn of(limit: u64, used: u64, fits_at: Option<Timestamp>) -> Self {
        Self { limit, used, remaining: limit.saturating_sub(used), reset_at: fits_at.map(to_rfc3339) }
    }
}

/// `GET /me`
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

//! Many jobs, newest first, page by page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use events::ports::{JobQuery, PageCursor};
use events::{JobStatus, UserId};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::auth::{Caller, Role};
use crate::error::Error;
use crate::extract::Params;
use crate::jobs::view::SummaryView;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// Which jobs to show.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    status: Option<String>,
    user: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct ListView {
    jobs: Vec<SummaryView>,
    next_cursor: Option<String>,
}

/// `GET /jobs`: a user's own; an admin's are everybody's.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<ListView>, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::Invalid(format!("limit must be 1 to {MAX_LIMIT}")));
    }
    let query = JobQuery {
        user: whose(&caller, given(query.user.as_deref()))?,
        status: given(query.status.as_deref()).map(parse_status).transpose()?,
        cursor: given(query.cursor.as_deref()).map(parse_cursor).transpose()?,
        limit,
    };
    let page = api.status.jobs(&query).await?;
    Ok(Json(ListView {
        jobs: page.jobs.iter().map(SummaryView::of).collect(),
        next_cursor: page.next.map(show_cursor),
    }))
}

/// A parameter left empty is one not given.
fn given(param: Option<&str>) -> Option<&str> {
    param.filter(|text| !text.is_empty())
}

fn whose(caller: &Caller, wanted: Option<&str>) -> Result<Option<UserId>, Error> {
    let wanted: Option<UserId> = wanted.map(str::parse).transpose()?;
    match (caller.role, wanted) {
        (Role::Admin, wanted) => Ok(wanted),
        (Role::User, None) => Ok(Some(caller.user.clone())),
        (Role::User, Some(user)) if user == caller.user => Ok(Some(user)),
        (Role::User, Some(_)) => Err(Error::Forbidden("only an admin may list somebody else's jobs".to_owned())),
    }
}

fn parse_status(text: &str) -> Result<JobStatus, Error> {
    let found = JobStatus::ALL.into_iter().find(|status| status.as_str() == text);
    found.ok_or_else(|| {
        let known = JobStatus::ALL.map(JobStatus::as_str).join(", ");
        Error::Invalid(format!("there is no status {text:?}; there are {known}"))
    })
}

/// A cursor as clients carry it: the milliseconds in hexadecimal, a dash, the job's id.
fn show_cursor(cursor: PageCursor) -> String {
    format!("{:x}-{}", cursor.created_ms, cursor.job)
}

fn parse_cursor(text: &str) -> Result<PageCursor, Error> {
    let parse = |(ms, job): (&str, &str)| {
        let digits = ms.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(PageCursor { created_ms: i64::from_str_radix(ms, 16).ok().filter(|_| digits)?, job: job.parse().ok()? })
    };
    text.split_once('-')
        .and_then(parse)
        .ok_or_else(|| Error::Invalid("cursor is not one that an earlier page gave as next_cursor".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor =
            PageCursor { created_ms: 1_763_892_000_123, job: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap() };
        assert_eq!(parse_cursor(&show_cursor(cursor)).unwrap(), cursor);
        for bad in [
            "",
            "-",
            "x",
            "12-",
            "-0192f1c3a4b57c6d8e9fa0b1c2d3e4f6",
            "+1-0192f1c3a4b57c6d8e9fa0b1c2d3e4f6",
            "ffffffffffffffff-0192f1c3a4b57c6d8e9fa0b1c2d3e4f6",
            "12-0192",
        ] {
            assert!(matches!(parse_cursor(bad), Err(Error::Invalid(_))), "{bad}");
        }
    }

    #[test]
    fn a_user_lists_their_own_jobs_and_an_admin_anybodys() {
        let name = |text: &str| -> UserId { text.parse().unwrap() };
        let alice = Caller { user: name("alice"), role: Role::User };
        assert_eq!(whose(&alice, None).unwrap(), Some(name("alice")));
        assert_eq!(whose(&alice, Some("alice")).unwrap(), Some(name("alice")));
        assert!(matches!(whose(&alice, Some("bob")), Err(Error::Forbidden(_))));
        let root = Caller { user: name("root"), role: Role::Admin };
        assert_eq!(whose(&root, None).unwrap(), None);
        assert_eq!(whose(&root, Some("bob")).unwrap(), Some(name("bob")));
    }
}

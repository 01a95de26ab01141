//! The answers to users who have reached a limit: one for each kind of request, with an example of each limit.

use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::{ContentBuilder, Response, ResponseBuilder};

use super::errors::{RETRY_AFTER, schema_of, with_header};
use crate::answer::limited::LimitedBody;

/// The limits of one kind of request.
struct Limits {
    name: &'static str,
    about: &'static str,
    cases: &'static [Reached],
}

/// The body of an answer to a user who has reached a limit.
struct Reached {
    code: &'static str,
    detail: &'static str,
    limit: u64,
    remaining: u64,
    reset_at: Option<&'static str>,
}

const RESET_AT: Option<&str> = Some("2026-01-31T12:12:34.000000Z");

const LIMITS: [Limits; 3] = [
    Limits {
        name: "JobsLimited",
        about: "You have reached a limit of jobs.",
        cases: &[
            Reached {
                code: "jobs_per_hour",
                detail: "hourly job limit reached: 10 (MAX_SUBMISSIONS_PER_HOUR)",
                limit: 10,
                remaining: 0,
                reset_at: RESET_AT,
            },
            Reached {
                code: "running",
                detail: "limit of running jobs reached: 1 (MAX_CONCURRENT_RUNNING, CONCURRENCY_POLICY=reject). Try \
                         again when one of your jobs has ended",
                limit: 1,
                remaining: 0,
                reset_at: None,
            },
            Reached {
                code: "queued",
                detail: "limit of pending jobs reached: 20 (MAX_QUEUED_PER_USER). Try again when one of your jobs has \
                         started or ended",
                limit: 20,
                remaining: 0,
                reset_at: None,
            },
        ],
    },
    Limits {
        name: "UploadsLimited",
        about: "You have reached a limit of uploads.",
        cases: &[
            Reached {
                code: "uploads_per_hour",
                detail: "hourly upload limit reached: 60 (MAX_UPLOADS_PER_HOUR)",
                limit: 60,
                remaining: 0,
                reset_at: RESET_AT,
            },
            Reached {
                code: "uploads_in_flight",
                detail: "limit of uploads in flight reached: 4 (MAX_UPLOADS_IN_FLIGHT). Try again when one of yours \
                         has ended",
                limit: 4,
                remaining: 0,
                reset_at: None,
            },
            Reached {
                code: "stored_bytes",
                detail: "storage quota exceeded: your submissions have 21474836000 of 21474836480 bytes, too many for \
                         this one (MAX_STORED_BYTES_PER_USER). Unused submissions expire; an administrator can raise \
                         the quota",
                limit: 21_474_836_480,
                remaining: 480,
                reset_at: None,
            },
        ],
    },
    Limits {
        name: "StreamsLimited",
        about: "You follow as many streams of this server as you may.",
        cases: &[Reached {
            code: "streams",
            detail: "you follow 16 streams of this server, which is the limit (MAX_STREAMS_PER_USER); close one of them",
            limit: 16,
            remaining: 0,
            reset_at: None,
        }],
    },
];

/// The answers, each with its name.
pub(super) fn answers() -> impl Iterator<Item = (&'static str, Response)> {
    LIMITS.iter().map(|limits| (limits.name, limited(limits)))
}

fn limited(limits: &Limits) -> Response {
    let examples = limits.cases.iter().map(|Reached { code, detail, limit, remaining, reset_at }| {
        let body = json!({
            "detail": detail, "code": code, "limit": limit, "remaining": remaining, "reset_at": reset_at,
        });
        (*code, ExampleBuilder::new().value(Some(body)).build())
    });
    let content = ContentBuilder::new().schema(Some(schema_of::<LimitedBody>())).examples_from_iter(examples);
    let answer = ResponseBuilder::new().description(limits.about).content("application/json", content.build());
    with_header(answer, RETRY_AFTER)
}

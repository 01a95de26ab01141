//! The errors of the API: one answer for each status, and the statuses that calls of one kind share.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::schema::{Object, Schema, Type};
use utoipa::openapi::{Components, ContentBuilder, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::answer::error::ErrorBody;
use crate::answer::limited::LimitedBody;

/// The errors of one status.
struct Refusal {
    status: &'static str,
    name: &'static str,
    about: &'static str,
    /// Each code with a sentence that comes with it.
    cases: &'static [(&'static str, &'static str)],
    /// A header that comes with it.
    header: Option<(&'static str, &'static str)>,
}

pub(super) const RETRY_AFTER: Option<(&str, &str)> = Some(("Retry-After", "The seconds after which to try again."));

const REFUSALS: [Refusal; 14] = [
    Refusal {
        status: "400",
        name: "Invalid",
        about: "The request is malformed or breaks a rule.",
        cases: &[
            ("invalid", "limit must be 1 to 200, not 0"),
            ("tls_required", "this port speaks TLS: write https:// at the beginning of the address"),
        ],
        header: None,
    },
    Refusal {
        status: "401",
        name: "Unauthenticated",
        about: "The token is missing or wrong.",
        cases: &[("unauthenticated", "the token is not known")],
        header: Some(("WWW-Authenticate", "The scheme, `Bearer`.")),
    },
    Refusal {
        status: "403",
        name: "Forbidden",
        about: "Only an administrator may do this.",
        cases: &[("forbidden", "only an admin may list somebody else's jobs")],
        header: None,
    },
    Refusal {
        status: "404",
        name: "NotFound",
        about: "The object does not exist or belongs to another user.",
        cases: &[("not_found", "there is no such job")],
        header: None,
    },
    Refusal {
        status: "405",
        name: "MethodNotAllowed",
        about: "The path does not accept this method.",
        cases: &[("method_not_allowed", "this path does not accept DELETE; the header Allow lists its methods")],
        header: Some(("Allow", "The methods that the path accepts.")),
    },
    Refusal {
        status: "408",
        name: "Stalled",
        about: "The request stopped arriving: its head took more than 30 s, or its body stopped.",
        cases: &[("stalled", "the request's body stopped coming")],
        header: None,
    },
    Refusal {
        status: "409",
        name: "Conflict",
        about: "The state of the object does not allow the action, or the Idempotency-Key belongs to another request.",
        cases: &[("conflict", "this Idempotency-Key was used for another request in the last 24 hours")],
        header: None,
    },
    Refusal {
        status: "413",
        name: "TooLarge",
        about: "The request exceeds a size limit.",
        cases: &[("too_large", "the body is larger than 65536 bytes")],
        header: None,
    },
    Refusal {
        status: "414",
        name: "UriTooLong",
        about: "The path and the query are too long.",
        cases: &[("uri_too_long", "the request's path and query are too long")],
        header: None,
    },
    Refusal {
        status: "415",
        name: "UnsupportedMediaType",
        about: "The content type is wrong.",
        cases: &[("unsupported_media_type", "the body must be application/json, not \"text/plain\"")],
        header: None,
    },
    Refusal {
        status: "416",
        name: "RangeNotSatisfiable",
        about: "The range is outside the file.",
        cases: &[("range_not_satisfiable", "no byte of the range is among the 512 of the file")],
        header: Some(("Content-Range", "The size of the file, as `bytes */512`.")),
    },
    Refusal {
        status: "431",
        name: "HeadersTooLarge",
        about: "The headers are too many or too large.",
        cases: &[("headers_too_large", "the request's headers are too many or too large")],
        header: None,
    },
    Refusal {
        status: "500",
        name: "Internal",
        about: "A defect. The server's log has the cause under the `X-Request-Id` of the answer.",
        cases: &[("internal", "something is broken here; the server's log has it under this answer's x-request-id")],
        header: None,
    },
    Refusal {
        status: "503",
        name: "Unavailable",
        about: "The server cannot answer now.",
        cases: &[
            ("busy", "The server has 2000 busy connections, which is its limit. Try again shortly."),
            ("overloaded", "the server has too little memory left to answer this; try again shortly"),
            ("draining", "this server is stopping; try again shortly"),
            (
                "provider_unavailable",
                "the OpenID provider does not answer, so the token can't be verified at the moment; try again shortly",
            ),
            ("unavailable", "Redis does not answer at the moment; try again shortly"),
            ("full", "Redis is at its memory limit and takes nothing new in; try again later"),
            ("storage_unavailable", "storage can't be used at the moment; try again shortly"),
            ("storage_full", "less than 5 % of the disk is free: uploads are refused until there is room; jobs go on"),
            (
                "unreadable",
                "what is stored of this can't be read; an administrator can restore it from the event log with \
                 `leadersboard projections rebuild`",
            ),
        ],
        header: RETRY_AFTER,
    },
];

/// The errors of every call.
const OF_ALL: [&str; 8] =
    ["Invalid", "MethodNotAllowed", "Stalled", "TooLarge", "UriTooLong", "HeadersTooLarge", "Internal", "Unavailable"];

macro_rules! sets {
    ($(#[doc = $about:literal] $name:ident = [$($refusal:literal),*];)*) => {
        $(
            #[doc = $about]
            pub(crate) enum $name {}

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    OF_ALL.into_iter().chain([$($refusal),*]).map(reference).collect()
                }
            }
        )*
    };
}

sets! {
    /// Errors of every call.
    AnyError = [];
    /// Errors of a file that everybody may have.
    PublicFileError = ["NotFound"];
    /// Errors of a call with a token.
    UserError = ["Unauthenticated"];
    /// Errors of a list.
    ListError = ["Unauthenticated", "Forbidden"];
    /// Errors of a call that names a job or a submission.
    ObjectError = ["Unauthenticated", "NotFound"];
    /// Errors of a stream.
    StreamError = ["Unauthenticated", "NotFound", "StreamsLimited"];
    /// Errors of a download.
    FileError = ["Unauthenticated", "NotFound", "RangeNotSatisfiable"];
    /// Errors of an upload.
    UploadError = ["Unauthenticated", "Conflict", "UnsupportedMediaType", "UploadsLimited"];
    /// Errors of a new job.
    NewJobError = ["Unauthenticated", "NotFound", "Conflict", "UnsupportedMediaType", "JobsLimited"];
    /// Errors of a change to a job.
    ChangeError = ["Unauthenticated", "NotFound", "Conflict"];
}

/// The status of an error, and a reference to its answer.
fn reference(name: &str) -> (String, RefOr<Response>) {
    let status = REFUSALS.iter().find(|refusal| refusal.name == name).map_or("429", |refusal| refusal.status);
    (status.to_owned(), RefOr::Ref(Ref::from_response_name(name)))
}

/// The schemas of all errors, and their answers without those of limits.
pub(crate) fn components() -> Components {
    let mut components = Components::builder().schema_from::<ErrorBody<'_>>().schema_from::<LimitedBody>();
    for refusal in &REFUSALS {
        components = components.response(refusal.name, answer(refusal));
    }
    components.build()
}

fn answer(refusal: &Refusal) -> Response {
    let examples = refusal.cases.iter().map(|(code, detail)| {
        (*code, ExampleBuilder::new().value(Some(json!({ "detail": detail, "code": code }))).build())
    });
    let content = ContentBuilder::new().schema(Some(schema_of::<ErrorBody<'_>>())).examples_from_iter(examples);
    let answer = ResponseBuilder::new().description(refusal.about).content("application/json", content.build());
    with_header(answer, refusal.header)
}

pub(super) fn with_header(answer: ResponseBuilder, header: Option<(&str, &str)>) -> Response {
    let Some((name, about)) = header else { return answer.build() };
    let kind = if name == "Retry-After" { Type::Integer } else { Type::String };
    let schema: RefOr<Schema> = Object::with_type(kind).into();
    answer.header(name, HeaderBuilder::new().schema(Some(schema)).description(Some(about)).build()).build()
}

pub(super) fn schema_of<T: ToSchema + PartialSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

//! The schemas of the texts that many answers have. The types have no values: they only name a schema.

use events::failure::{DeadLetterKind, FailureKind};
use events::ports::StageName;
use events::{JobStatus, Order};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! texts {
    ($(#[doc = $about:literal] $name:ident = $text:expr;)*) => {
        $(
            #[doc = $about]
            pub(crate) enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let text: ObjectBuilder = $text;
                    text.description(Some($about.trim())).into()
                }
            }

            impl ToSchema for $name {}
        )*
    };
}

texts! {
    /// The id of a job or a submission.
    Id = pattern("^[0-9a-f]{32}$", "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5");
    /// A time in UTC, to the microsecond.
    Time = text("2026-01-31T12:00:00.000000Z").format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    /// The name of a user: at most 64 characters. Users of a provider have names that begin with `oidc:`.
    UserName = pattern(USER_NAME, "alice");
    /// The name of a resource class.
    ClassName = pattern("^[a-z0-9_-]{1,32}$", "small");
    /// A SHA-256 in hexadecimal.
    Sha256 = pattern("^[0-9a-f]{64}$", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
    /// The place where the next page begins: the `next_cursor` of the page before. An empty one is the first page.
    Cursor = pattern("^([0-9a-f]{1,15}-[0-9a-f]{32})?$", "19aa2f1c3a4-0192f1c3a4b57c6d8e9fa0b1c2d3e4f5");
    /// The content of a file.
    FileContent = Object::builder().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
    /// The state of a job. It goes back only from `running` to `pending`, when a worker is lost or stopped.
    Status = one_of(JobStatus::ALL.map(JobStatus::as_str));
    /// Which values of a metric are better: the smaller ones (`asc`) or the greater ones (`desc`).
    BoardOrder = one_of([Order::Asc, Order::Desc].map(Order::as_str));
    /// What a user may do.
    RoleName = one_of(["user", "admin"]);
    /// What a worker does with a running job.
    Stage = one_of(
        [StageName::Preparing, StageName::Running, StageName::Storing, StageName::Recording].map(StageName::as_str),
    );
    /// Why a job failed. Its author can fix all kinds except the last two.
    Failed = one_of(FAILURES.map(FailureKind::as_str).into_iter().chain(GIVEN_UP.map(DeadLetterKind::as_str)));
}

/// What `UserId` accepts, except that a pattern counts characters.
const USER_NAME: &str = "^(oidc:[^\\u0000-\\u001f\\u007f-\\u009f]{1,255}|[^:,\\u0000-\\u001f\\u007f-\\u009f]{1,64})$";

/// A time, or the beginning of a day in UTC.
pub(crate) enum TimeOrDay {}

impl ToSchema for TimeOrDay {}

impl PartialSchema for TimeOrDay {
    fn schema() -> RefOr<Schema> {
        let text = |format| Object::builder().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)));
        OneOfBuilder::new().item(text(KnownFormat::DateTime)).item(text(KnownFormat::Date)).into()
    }
}

const FAILURES: [FailureKind; 9] = [
    FailureKind::Timeout,
    FailureKind::OomHost,
    FailureKind::OomGpu,
    FailureKind::NonzeroExit,
    FailureKind::Signal,
    FailureKind::MissingMetrics,
    FailureKind::InvalidMetrics,
    FailureKind::OutputLimit,
    FailureKind::Setup,
];

const GIVEN_UP: [DeadLetterKind; 2] = [DeadLetterKind::WorkerLost, DeadLetterKind::Infrastructure];

fn text(example: &str) -> ObjectBuilder {
    Object::builder().schema_type(Type::String).examples([Value::from(example)])
}

fn pattern(pattern: &str, example: &str) -> ObjectBuilder {
    text(example).pattern(Some(pattern))
}

fn one_of(names: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    Object::builder().schema_type(Type::String).enum_values(Some(names))
}

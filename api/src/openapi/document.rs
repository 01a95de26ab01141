//! The document itself: what is said of the whole API, and the last touches to what handlers say.

use bytes::Bytes;
use serde_json::{Map, Value};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, SecurityRequirement, ServerBuilder};

use super::{errors, limits};

const ABOUT: &str = "LeadersBoard takes ML submissions, runs them as jobs and ranks the results.\n\n\
    A client uploads a submission, creates a job from it, and follows the job until its end. Times are RFC 3339 in UTC. \
    Fields that are null until known are always present. Every error is an `ErrorBody`.";

/// The groups of calls, in the order in which pages show them.
const GROUPS: [(&str, &str); 9] = [
    ("Submissions", "Upload code and a config."),
    ("Jobs", "Run a submission, and follow it."),
    ("Logs", "Read what a job prints."),
    ("Results", "Read what a job measured."),
    ("Artifacts", "Download the files that a job left."),
    ("Leaderboard", "Compare the best jobs of all users."),
    ("Account", "See your name and your limits."),
    ("Server", "See whether the server works."),
    ("Document", "Read this document."),
];

const TOKEN: &str = "A token that the operator of the board gave you, or a signed token of the OpenID provider.";

/// The name of the one security scheme.
const BEARER: &str = "bearer";

/// The document without its calls.
pub(crate) fn base() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("LeadersBoard")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license));
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let token = token.description(Some(TOKEN)).build();
    let mut components = errors::components();
    components.responses.extend(limits::answers().map(|(name, answer)| (name.to_owned(), answer.into())));
    components.add_security_scheme(BEARER, SecurityScheme::Http(token));
    let groups = GROUPS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    OpenApiBuilder::new()
        .info(info.build())
        // The place of the document itself, also if a proxy puts a path before it.
        .servers(Some([ServerBuilder::new().url(".").build()]))
        .tags(Some(groups))
        .components(Some(components))
        .security(Some([SecurityRequirement::new(BEARER, [""; 0])]))
        .build()
}

/// The document as it is sent.
#[derive(Clone)]
pub(crate) struct Document(pub(crate) Bytes);

impl Document {
    pub(crate) fn of(api: &OpenApi) -> Self {
        Self(finished(api).to_string().into())
    }
}

/// Says what the macros of the handlers can't say.
pub(crate) fn finished(api: &OpenApi) -> Value {
    let mut document = serde_json::to_value(api).expect("a document holds only what JSON has");
    let paths = document.get_mut("paths").and_then(Value::as_object_mut).map(std::mem::take).unwrap_or_default();
    let paths: Map<String, Value> = paths.into_iter().map(|(path, item)| (plain(&path), item)).collect();
    document["paths"] = paths.into();
    let mut bodies = Vec::new();
    let items = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in items.filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        if operation["security"] == serde_json::json!([{}]) {
            operation["security"] = Value::Array(vec![]);
        }
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            parameter["schema"] = never_null(parameter["schema"].take());
        }
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
        for response in responses.into_iter().flat_map(Map::values_mut) {
            // A file of any type has no schema.
            if let Some(file) = response.pointer_mut("/content/*~1*").and_then(Value::as_object_mut) {
                file.clear();
            }
        }
        let Some(body) =
            operation.get_mut("requestBody").and_then(|body| body.pointer_mut("/content/application~1json"))
        else {
            continue;
        };
        body["schema"] = never_null(body["schema"].take());
        bodies.extend(body["schema"]["$ref"].as_str().map(str::to_owned));
    }
    for body in bodies {
        // What a request may not have is refused by name.
        if let Some(schema) = body.strip_prefix('#').and_then(|place| document.pointer_mut(place)) {
            schema["additionalProperties"] = false.into();
        }
    }
    document
}

/// The template of a path without the router's mark for a parameter that may hold slashes.
fn plain(path: &str) -> String {
    path.replace("{*", "{")
}

/// The schema of a parameter or of a body: one that is left out is absent, and never null.
fn never_null(mut schema: Value) -> Value {
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_mut_slice() {
            schema["type"] = kind.take();
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("oneOf") else { return schema };
    choices.retain(|choice| choice["type"] != "null");
    match choices.as_mut_slice() {
        [only] => only.take(),
        _ => schema,
    }
}

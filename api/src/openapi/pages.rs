//! `/openapi.json`, and the two pages that show it. All that they load comes from here: no other host is asked.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{LazyLock, Mutex, PoisonError};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use flate2::read::GzDecoder;

use super::document::Document;
use super::errors::{AnyError, PublicFileError};
use super::texts::FileContent;
use crate::answer::error::{Error, chain, no_such_route};
use crate::answer::json_text::json_text;

/// Both pages style their elements in place, and Redoc searches in a worker that it makes itself.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

struct File {
    name: &'static str,
    kind: &'static str,
    content: Content,
}

enum Content {
    Plain(&'static [u8]),
    Gzip(&'static [u8]),
}

const FILES: [File; 5] = [
    File {
        name: "swagger-ui-bundle.js",
        kind: "text/javascript; charset=utf-8",
        content: Content::Gzip(include_bytes!("assets/swagger-ui-bundle.js.gz")),
    },
    File {
        name: "swagger-ui.css",
        kind: "text/css; charset=utf-8",
        content: Content::Gzip(include_bytes!("assets/swagger-ui.css.gz")),
    },
    File {
        name: "swagger.js",
        kind: "text/javascript; charset=utf-8",
        content: Content::Plain(include_bytes!("assets/swagger.js")),
    },
    File {
        name: "redoc.standalone.js",
        kind: "text/javascript; charset=utf-8",
        content: Content::Gzip(include_bytes!("assets/redoc.standalone.js.gz")),
    },
    File { name: "favicon.png", kind: "image/png", content: Content::Plain(include_bytes!("assets/favicon.png")) },
];

/// Returns the OpenAPI document of this server.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "Document",
    security(()),
    responses((status = 200, description = "The document.", body = Object), AnyError),
)]
pub(crate) async fn document(State(Document(text)): State<Document>) -> impl IntoResponse {
    json_text(text)
}

/// Shows the calls in Swagger UI, which can also send requests.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs",
    tag = "Document",
    security(()),
    responses((status = 200, description = "A page.", body = String, content_type = "text/html"), AnyError),
)]
pub(crate) async fn docs() -> Response {
    page(include_str!("assets/swagger.html"))
}

/// Shows the calls in Redoc, for reading.
#[utoipa::path(
    get,
    path = "/redoc",
    operation_id = "redoc",
    tag = "Document",
    security(()),
    responses((status = 200, description = "A page.", body = String, content_type = "text/html"), AnyError),
)]
pub(crate) async fn redoc() -> Response {
    page(include_str!("assets/redoc.html"))
}

/// Returns a script, a style sheet or a picture of these pages.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "docs_file",
    tag = "Document",
    security(()),
    params(("file" = String, Path, description = "The name of the file.", example = "swagger-ui.css")),
    responses(
        (status = 200, description = "The file.", content(
            (FileContent = "text/javascript"), (FileContent = "text/css"), (FileContent = "image/png"),
        )),
        PublicFileError,
    ),
)]
pub(crate) async fn file(name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Error> {
    let found = name.ok().and_then(|Path(name)| FILES.iter().find(|file| file.name == name));
    let file = found.ok_or_else(|| Error::Unknown("there is no such file".to_owned()))?;
    let described = [(CONTENT_TYPE, file.kind), (CACHE_CONTROL, "public, max-age=3600"), (VARY, "accept-encoding")];
    let mut answer = match file.content {
        Content::Plain(bytes) => (described, bytes).into_response(),
        Content::Gzip(bytes) if takes_gzip(&headers) => {
            (described, [(CONTENT_ENCODING, "gzip")], bytes).into_response()
        }
        Content::Gzip(bytes) => (described, unpacked(file, bytes)?).into_response(),
    };
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    Ok(answer)
}

/// Leads from the address of a page with a slash at its end to the page, and refuses all other unknown paths. The answer
/// has a relative address, because a proxy may put a path before it.
pub(crate) async fn without_slash(uri: Uri) -> Response {
    let page = match uri.path() {
        "/docs/" => "../docs",
        "/redoc/" => "../redoc",
        _ => return no_such_route(uri).await.into_response(),
    };
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, page)]).into_response()
}

fn page(text: &'static str) -> Response {
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(text)).into_response()
}

/// Whether the client has named gzip. One that refuses it with a weight of 0 is not known.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|text| text.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip")) && parts.all(|weight| weight != "q=0")
    })
}

/// Once for all clients that don't take gzip: there are few, and each file has megabytes.
fn unpacked(file: &'static File, packed: &[u8]) -> Result<Bytes, Error> {
    static UNPACKED: LazyLock<Mutex<HashMap<&str, Bytes>>> = LazyLock::new(Mutex::default);
    let mut unpacked = UNPACKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(plain) = unpacked.get(file.name) {
        return Ok(plain.clone());
    }
    let mut plain = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut plain).map_err(|error| Error::Internal(chain(&error)))?;
    Ok(unpacked.entry(file.name).or_insert(plain.into()).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_sent_packed_to_clients_that_take_it_so() {
        for accepted in [Some("gzip, br"), Some("identity"), Some("gzip;q=0"), None] {
            let mut headers = HeaderMap::new();
            headers.extend(accepted.map(|text| (ACCEPT_ENCODING, HeaderValue::from_static(text))));
            let answer = file(Ok(Path("swagger-ui.css".to_owned())), headers).await.unwrap();
            let is_packed = answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
            let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
            assert_eq!(is_packed, accepted == Some("gzip, br"));
            assert_eq!(body.starts_with(b".swagger-ui"), !is_packed);
        }
        assert!(matches!(file(Ok(Path("../x".to_owned())), HeaderMap::new()).await, Err(Error::Unknown(_))));
    }

    #[test]
    fn the_pages_load_only_what_is_here() {
        for page in [include_str!("assets/swagger.html"), include_str!("assets/redoc.html")] {
            for loaded in page.split("docs/").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(FILES.iter().any(|file| file.name == loaded), "{loaded}");
            }
            assert!(!page.contains("//"), "{page}");
        }
        for file in &FILES {
            if let Content::Gzip(bytes) = file.content {
                let text = String::from_utf8(unpacked(file, bytes).unwrap().to_vec()).unwrap();
                assert!(!text.contains("cdn.redoc.ly") && !text.contains("fonts.googleapis"), "{}", file.name);
            }
        }
    }
}

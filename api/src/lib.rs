//! The HTTP interface: users, routes and answers.
//!
//! Handlers know the domain and its ports, never an adapter. Each resource has a folder. A handler takes the ports it
//! uses, alone or as a small struct, and `assembly.rs` wires them. Every refusal goes through `answer/error.rs`.
//! Everything that the server awaits from a client is bounded in bytes and in time.

mod answer;
mod artifacts;
mod assembly;
mod class_capacity;
mod health;
mod http;
mod jobs;
mod leaderboard;
mod logs;
mod me;
mod openapi;
mod public_url;
mod request;
pub(crate) mod results;
mod submissions;
pub mod terminal;
mod ui;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

pub use crate::results::MlflowLinks;
pub use assembly::{Api, Exposure, Ports};
pub use health::{RenderMetrics, Unfit, WorkerState};
pub use http::admission::ScarceMemory;
pub use http::connections::Connections;
pub use http::cors::{OriginError, Origins};
pub use http::serve::{Serving, serve};
pub use http::tls::{Tls, TlsError};
pub use leaderboard::settings::{BoardMetrics, BoardMetricsError};
pub use public_url::{InvalidPublicUrl, PublicUrl};
pub use request::auth::authenticator::Authenticator;
pub use request::auth::caller::Role;
pub use request::auth::entries::TokenError;
pub use request::auth::live::{LiveTokens, TokenFiles, TokenSources, TokensAtStart};
pub use request::auth::tokens::Tokens;
pub use request::client_address::{InvalidProxies, TrustedProxies};

use assembly::Contexts;
use http::admission::Admission;
use http::trace::Observer;
use openapi::document::Document;

/// Returns all routes of the API.
pub fn router(api: Api) -> Router {
    let authenticator = Arc::clone(&api.authenticator);
    let observer = Observer { ids: Arc::clone(&api.ports.ids), tls_only: api.exposure.tls_only };
    let admission = Admission::new(Arc::clone(&authenticator), api.exposure.scarce_memory.clone(), api.stop.clone());
    let cors = api.exposure.cors_origins.clone().layer();
    let (routes, document) = routes(api.metrics_text.clone()).split_for_parts();
    let routes = routes
        .with_state(Contexts::of(api, Document::of(&document)))
        .layer(middleware::from_fn_with_state(authenticator, request::auth::streams::end_with_token))
        .fallback(openapi::pages::without_slash)
        .method_not_allowed_fallback(answer::error::no_such_method)
        .layer(middleware::from_fn_with_state(Arc::new(admission), http::guard::guard));
    let routes = match cors {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    routes.layer(middleware::from_fn_with_state(Arc::new(observer), http::trace::observe))
}

/// Returns `GET /metrics` alone, for a port of its own and for roles that serve nothing else.
pub fn metrics_router(render: RenderMetrics) -> Router {
    metrics_routes(render).into()
}

/// The routes, each with its description.
fn routes(metrics_text: Option<RenderMetrics>) -> OpenApiRouter<Contexts> {
    // The form counts its own bytes and names the file that is too large.
    let upload = routes!(submissions::create::create).layer(DefaultBodyLimit::disable());
    let routes = OpenApiRouter::with_openapi(openapi::document::base())
        .routes(routes!(ui::home::home))
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::pages::document))
        .routes(routes!(openapi::pages::docs))
        .routes(routes!(openapi::pages::file))
        .routes(routes!(openapi::pages::redoc))
        .routes(upload)
        .routes(routes!(submissions::look::list))
        .routes(routes!(submissions::look::show))
        .routes(routes!(jobs::create::create))
        .routes(routes!(jobs::list::list))
        .routes(routes!(me::me))
        .routes(routes!(jobs::show::show))
        .routes(routes!(jobs::show::status))
        .routes(routes!(jobs::cancel::cancel))
        .routes(routes!(jobs::history::history))
        .routes(routes!(logs::logs))
        .routes(routes!(logs::stream::stream))
        .routes(routes!(jobs::stream::stream))
        .routes(routes!(jobs::progress::curves))
        .routes(routes!(results::results))
        .routes(routes!(leaderboard::leaderboard))
        .routes(routes!(leaderboard::leaderboard_csv))
        .routes(routes!(leaderboard::metrics))
        .routes(routes!(leaderboard::history))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::archive::archive))
        .routes(routes!(artifacts::file))
        .routes(routes!(artifacts::pictures::pictures))
        .routes(routes!(artifacts::pictures::picture));
    match metrics_text {
        Some(render) => routes.merge(metrics_routes(render)),
        None => routes,
    }
}

fn metrics_routes<S: Clone + Send + Sync + 'static>(render: RenderMetrics) -> OpenApiRouter<S> {
    OpenApiRouter::default().routes(routes!(health::metrics)).with_state(render)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use serde_json::Value;

    use super::*;
    use crate::openapi::document::finished;

    /// A method and a path.
    type Call = (String, String);

    /// What the router answers, however it was registered. The router shows its routes only when it is debugged.
    fn registered(router: &Router<Contexts>) -> BTreeSet<Call> {
        let shown = format!("{router:?}");
        let shown = shown.split("fallback_router").next().unwrap();
        let (methods, paths) = shown.split_once("node: Node").unwrap();
        let by_number = |text| -> HashMap<&str, &str> {
            str::split(text, "RouteId(").skip(1).filter_map(|rest| rest.split_once("): ")).collect()
        };
        let methods = by_number(methods);
        let calls = by_number(paths).into_iter().flat_map(|(number, path)| {
            let path = path.split('"').nth(1).unwrap().replace("{*", "{");
            let allowed = methods[number].split("allow_header: Bytes(b\"").nth(1).unwrap().split('"').next().unwrap();
            let allowed = allowed.split(',').filter(|method| *method != "HEAD");
            allowed.map(|method| (method.to_owned(), path.clone())).collect::<Vec<_>>()
        });
        calls.collect()
    }

    fn documented(document: &Value) -> BTreeSet<Call> {
        let paths = document["paths"].as_object().unwrap().iter();
        let calls = paths.flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        });
        calls.collect()
    }

    #[test]
    fn every_route_is_in_the_document_and_the_document_has_no_other() {
        for metrics_text in [Some(Arc::new(String::new) as RenderMetrics), None] {
            let (router, document) = routes(metrics_text).split_for_parts();
            let registered = registered(&router);
            assert!(registered.len() > 30, "{registered:?}");
            let document = finished(&document);
            assert_eq!(registered, documented(&document));
        }
        let undocumented = routes(None).route("/plain", axum::routing::put(async || ()));
        let (router, document) = undocumented.split_for_parts();
        let found = registered(&router);
        let extra: Vec<_> = found.difference(&documented(&finished(&document))).cloned().collect();
        assert_eq!(extra, [("PUT".to_owned(), "/plain".to_owned())], "this test would notice a plain route");
    }

    #[test]
    fn each_call_is_described_and_each_schema_is_there() {
        let (_, document) = routes(Some(Arc::new(String::new))).split_for_parts();
        let document = finished(&document);
        let groups: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                for wanted in ["summary", "operationId", "tags", "responses"] {
                    assert!(operation.get(wanted).is_some(), "{path}: {wanted}");
                }
                assert!(groups.contains(&&operation["tags"][0]), "{path}: its group");
                assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}: its name");
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    // Generated clients have a variable of their own with this name.
                    assert_ne!(parameter["name"], "params", "{path}");
                    // Swagger UI sends an example as if its user had chosen it.
                    let is_chosen = parameter["required"] == true || parameter["name"] == "metric";
                    let example = parameter.get("example").filter(|example| **example != serde_json::json!({}));
                    assert!(is_chosen || example.is_none(), "{path}: {parameter}");
                }
                let open = operation["security"] == serde_json::json!([]);
                assert_eq!(open, operation["responses"].get("401").is_none(), "{path}");
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let is_described = response["description"].as_str().is_some_and(|text| !text.is_empty());
                    assert!(is_described || response.get("$ref").is_some(), "{path}: {status}");
                }
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let place = reference.split('"').next().unwrap();
            assert!(document.pointer(place).is_some(), "{place}");
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}: its description");
        }
    }
}

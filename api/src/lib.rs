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
use axum::routing::{get, post};

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

/// Returns all routes of the API.
pub fn router(api: Api) -> Router {
    let metrics_text = api.metrics_text.clone();
    let authenticator = Arc::clone(&api.authenticator);
    let observer = Observer { ids: Arc::clone(&api.ports.ids), tls_only: api.exposure.tls_only };
    let admission = Admission::new(api.exposure.scarce_memory.clone(), api.stop.clone());
    let cors = api.exposure.cors_origins.clone().layer();
    let routes = Router::new()
        .route("/", get(ui::home::home))
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route(
            "/submissions",
            // The form counts its own bytes and names the file that is too large.
            post(submissions::create::create).layer(DefaultBodyLimit::disable()).get(submissions::look::list),
        )
        .route("/submissions/{id}", get(submissions::look::show))
        .route("/jobs", post(jobs::create::create).get(jobs::list::list))
        .route("/me", get(me::me))
        .route("/jobs/{id}", get(jobs::show::show))
        .route("/jobs/{id}/status", get(jobs::show::status))
        .route("/jobs/{id}/cancel", post(jobs::cancel::cancel))
        .route("/jobs/{id}/events", get(jobs::history::history))
        .route("/jobs/{id}/logs", get(logs::logs))
        .route("/jobs/{id}/logs/stream", get(logs::stream::stream))
        .route("/jobs/{id}/stream", get(jobs::stream::stream))
        .route("/jobs/{id}/curves", get(jobs::progress::curves))
        .route("/jobs/{id}/results", get(results::results))
        .route("/leaderboard", get(leaderboard::leaderboard))
        .route("/leaderboard.csv", get(leaderboard::leaderboard_csv))
        .route("/leaderboard/metrics", get(leaderboard::metrics))
        .route("/leaderboard/history", get(leaderboard::history))
        .route("/jobs/{id}/artifacts", get(artifacts::list))
        .route("/jobs/{id}/artifacts.tar.gz", get(artifacts::archive))
        .route("/jobs/{id}/artifacts/{*path}", get(artifacts::file))
        .route("/jobs/{id}/visualizations", get(artifacts::pictures))
        .route("/jobs/{id}/visualizations/{filename}", get(artifacts::picture))
        .with_state(Contexts::of(api))
        .layer(middleware::from_fn_with_state(authenticator, request::auth::streams::end_with_token));
    let routes = match metrics_text {
        Some(render) => routes.merge(metrics_router(render)),
        None => routes,
    };
    let routes = routes
        .fallback(answer::error::no_such_route)
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
    Router::new().route("/metrics", get(health::metrics).with_state(render))
}

//! A real OpenID provider, at which anybody may sign in.

use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use serde_json::Value;

use crate::board::{Process, repository};
use crate::client::http_client;
use crate::wait::until;

/// Where the provider sends people back to. Nothing listens there.
const BACK: &str = "http://127.0.0.1:1/back";

/// A running provider. A new one has a new key.
#[derive(Debug)]
pub struct OidcProvider {
    issuer: String,
    http: reqwest::Client,
    _process: Process,
}

impl OidcProvider {
    /// Starts one on this port of 127.0.0.1, which knows these users by their claims.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(port: u16, users: &[Value]) -> Self {
        let program = repository().join("target/tools-venv/bin/oidc-provider-mock");
        assert!(program.is_file(), "`scripts/bootstrap.sh tools-venv` comes first: `make test` does it");
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        for user in users {
            command.args(["--user-claims", &user.to_string()]);
        }
        let process = Process::spawn(command);
        let issuer = format!("http://127.0.0.1:{port}");
        // That the client knows how to encrypt is for all others to set up.
        drop(http_client());
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client");
        let configuration = format!("{issuer}/.well-known/openid-configuration");
        until("the provider answers", Duration::from_secs(30), async || {
            http.get(&configuration).send().await.ok().filter(|answer| answer.status() == 200).map(drop)
        })
        .await;
        Self { issuer, http, _process: process }
    }

    /// Signs a user in at this address of the provider, as a browser does, and gives the address that the browser is sent
    /// back to.
    ///
    /// # Panics
    /// If the provider does not play along.
    pub async fn authorize(&self, url: &str, user: &str) -> reqwest::Url {
        let answer = form(self.http.post(url), &[("sub", user)]).send().await.expect("an answer");
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).expect("a redirect");
        location.parse().expect("an address")
    }

    /// Its address.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs a user in for a client, and gives the signed token.
    ///
    /// # Panics
    /// If the provider does not play along.
    pub async fn sign_in(&self, user: &str, client: &str) -> String {
        let query =
            [("client_id", client), ("redirect_uri", BACK), ("response_type", "code"), ("scope", "openid profile")];
        let url = reqwest::Url::parse_with_params(&format!("{}/oauth2/authorize", self.issuer), query);
        let back = self.authorize(url.expect("an address").as_str(), user).await;
        let code = back.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        let exchange = self.http.post(format!("{}/oauth2/token", self.issuer));
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", BACK),
            ("client_id", client),
            ("client_secret", "any"),
        ];
        let answer: Value = form(exchange, &fields).send().await.expect("an answer").json().await.expect("JSON");
        answer["id_token"].as_str().unwrap_or_else(|| panic!("no token in {answer}")).to_owned()
    }
}

fn form(request: reqwest::RequestBuilder, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let mut url: reqwest::Url = BACK.parse().expect("an address");
    url.query_pairs_mut().extend_pairs(fields);
    let body = url.query().expect("fields").to_owned();
    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
}

/// A port of this machine that was free a moment ago.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

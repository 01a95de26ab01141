//! The authorization code flow with PKCE, state and nonce (OpenID Connect Core 3.1, RFC 7636).

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use events::ports::{Identity, IdentityError, SignIn, SignInPort};
use reqwest::StatusCode;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::claims::Rules;
use super::endpoint::provided;
use super::options::OidcClient;
use super::token::Token;
use super::verifier::Oidc;
use crate::ids::random_hex;

/// A provider at which people sign in for one client.
#[derive(Debug, Clone)]
pub struct OidcSignIn {
    oidc: Oidc,
    client: OidcClient,
    rules: Arc<Rules>,
}

impl OidcSignIn {
    /// Signs people in for this client of a provider.
    #[must_use]
    pub fn new(oidc: Oidc, client: OidcClient) -> Self {
        let rules = Arc::new(oidc.rules.for_client(&client.id));
        Self { oidc, client, rules }
    }

    async fn configuration(&self) -> Result<Arc<Map<String, Value>>, IdentityError> {
        self.oidc.keys.configuration().await.map_err(IdentityError::Away)
    }
}

#[async_trait]
impl SignInPort for OidcSignIn {
    async fn begin(&self, back: &str) -> Result<SignIn, IdentityError> {
        let configuration = self.configuration().await?;
        let mut url = provided(text(&configuration, "authorization_endpoint")).map_err(IdentityError::Away)?;
        let [state, nonce, verifier] = std::array::from_fn(|_| random_hex::<32>());
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.client.id),
            ("redirect_uri", back),
            ("scope", "openid profile email"),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        Ok(SignIn { url: url.into(), state, nonce, verifier, back: back.to_owned() })
    }

    async fn finish(&self, sign_in: &SignIn, code: &str) -> Result<Identity, IdentityError> {
        let configuration = self.configuration().await?;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &sign_in.back),
            ("client_id", &self.client.id),
            ("code_verifier", &sign_in.verifier),
        ];
        let secret = self.client.secret.as_deref();
        let by_header = secret.filter(|_| takes_header(&configuration)).map(|secret| (self.client.id.as_str(), secret));
        if by_header.is_none() {
            fields.extend(secret.map(|secret| ("client_secret", secret)));
        }
        let endpoint = text(&configuration, "token_endpoint");
        let answered = self.oidc.keys.endpoint().post(endpoint, by_header, &fields).await;
        let (status, answer) = answered.map_err(IdentityError::Away)?;
        if status == StatusCode::BAD_REQUEST && text(&answer, "error") == "invalid_grant" {
            return Err(IdentityError::Refused("the provider does not accept the code: sign in again"));
        }
        if !status.is_success() {
            let error = text(&answer, "error");
            return Err(IdentityError::Away(format!("the provider exchanges no code: it answers {status} {error:?}")));
        }
        let token = Token::read(text(&answer, "id_token")).map_err(IdentityError::Refused)?;
        let identity = self.oidc.identity(&token, &self.rules).await?;
        self.rules.judge_sign_in(token.claims(), &sign_in.nonce).map_err(IdentityError::Refused)?;
        Ok(identity)
    }
}

fn text<'a>(document: &'a Map<String, Value>, name: &str) -> &'a str {
    document.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether the client tells its secret in a header, as it does unless the provider takes it in the form only.
fn takes_header(configuration: &Map<String, Value>) -> bool {
    let methods = configuration.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
    methods.is_none_or(|all| {
        let has = |name: &str| all.iter().any(|one| one == name);
        has("client_secret_basic") || !has("client_secret_post")
    })
}

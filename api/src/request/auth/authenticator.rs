//! Finds out who sent a request, and answers wrong tokens slowly.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use axum::http::request::Parts;
use events::UserId;
use events::ports::{Identity, IdentityError, IdentityPort};
use metrics::counter;
use tokio::time::Instant;

use super::attempts::{Attempts, Patience, network};
use super::bearer::bearer;
use super::caller::{Caller, Role};
use super::entries::digest;
use super::live::LiveTokens;
use crate::answer::error::Error;
use crate::request::client_address::TrustedProxies;

/// Knows tokens and, if there is an OpenID provider, its users.
pub struct Authenticator {
    tokens: LiveTokens,
    provider: Option<Arc<dyn IdentityPort>>,
    proxies: TrustedProxies,
    attempts: Attempts,
}

/// Who a request seems to come from, before its handler asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    /// The holder of a token.
    User(UserId),
    /// Anybody else at this address.
    Address(IpAddr),
}

/// What a caller showed. It may become invalid while the answer is sent.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// The token with this digest.
    Token([u8; 32], Caller),
    /// A token of the provider.
    Until(Instant),
}

/// The proof of a request, once its handler has asked for the caller.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(pub(super) Arc<OnceLock<Proof>>);

impl Authenticator {
    /// Accepts these tokens and, if given, those of a provider. Proxies may tell the addresses of their clients.
    /// `longest_delay` is how long the answer to a wrong token waits at most.
    #[must_use]
    pub fn new(
        tokens: LiveTokens,
        provider: Option<Arc<dyn IdentityPort>>,
        proxies: TrustedProxies,
        longest_delay: Duration,
    ) -> Self {
        Self { tokens, provider, proxies, attempts: Attempts::new(longest_delay) }
    }

    /// Who a request seems to come from. A token of the provider is not verified for this.
    pub(crate) fn asker(&self, request: &Request) -> Asker {
        let holder = bearer(request.headers()).ok().and_then(|token| self.tokens.get().holder(&digest(token)));
        match holder {
            Some(holder) => Asker::User(holder.user),
            None => Asker::Address(network(self.proxies.client(request.extensions(), request.headers()))),
        }
    }

    /// Whether a request of this asker can be let in: without a provider, only known tokens are.
    pub(crate) fn may_let_in(&self, asker: &Asker) -> bool {
        self.provider.is_some() || matches!(asker, Asker::User(_))
    }

    /// The caller with this token. A right token is looked up first, so nobody else's failures refuse or delay it.
    pub(super) async fn caller(&self, token: &str, request: &Parts) -> Result<Caller, Error> {
        let sha256 = digest(token);
        let shown = |proof: Proof| {
            if let Some(Shown(cell)) = request.extensions.get::<Shown>() {
                let _ = cell.set(proof);
            }
        };
        if token.is_empty() {
            return Err(Error::Unauthenticated("the token is empty"));
        }
        if let Some(caller) = self.tokens.get().holder(&sha256) {
            shown(Proof::Token(sha256, caller.clone()));
            return Ok(caller);
        }
        let why = match self.identity(token).await {
            None => "the token is not known",
            Some(Ok(Identity { user, is_admin, valid_for })) => {
                // A time beyond what a clock can tell is as good as never.
                if let Some(until) = Instant::now().checked_add(valid_for) {
                    shown(Proof::Until(until));
                }
                return Ok(Caller { user, role: if is_admin { Role::Admin } else { Role::User } });
            }
            Some(Err(IdentityError::Away(why))) => return Err(Error::ProviderAway(why)),
            Some(Err(IdentityError::Refused(why))) => why,
        };
        counter!("leadersboard_auth_failures_total").increment(1);
        match self.attempts.failed(self.proxies.client(&request.extensions, &request.headers)).await {
            Patience::Waited => Err(Error::Unauthenticated(why)),
            Patience::Exhausted => Err(Error::Guessing(why)),
        }
    }

    /// What the provider says of a token; `None` if the token can't be one of a provider's.
    async fn identity(&self, token: &str) -> Option<Result<Identity, IdentityError>> {
        let provider = self.provider.as_ref().filter(|_| token.bytes().filter(|byte| *byte == b'.').count() == 2)?;
        Some(provider.verify(token).await)
    }

    /// Ends when this proof is not valid any more.
    pub(super) async fn ended(&self, proof: Proof) {
        match proof {
            Proof::Until(until) => tokio::time::sleep_until(until).await,
            Proof::Token(sha256, caller) => {
                let mut tokens = self.tokens.clone();
                while tokens.get().holder(&sha256).as_ref() == Some(&caller) {
                    tokens.changed().await;
                }
            }
        }
    }
}

#[cfg(test)]
impl Authenticator {
    /// Knows the tokens `token0`, `token1` and so on, each of a user of its own.
    pub(crate) fn of_users(count: usize) -> Arc<Self> {
        let entries: Vec<String> = (0..count).map(|number| format!("user{number}:token{number}")).collect();
        let sources = super::live::TokenSources { api_tokens: entries.join(","), ..Default::default() };
        let live = sources.read().expect("a list of tokens").live;
        Arc::new(Self::new(live, None, TrustedProxies::default(), Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use axum::http::Request;

    use super::*;
    use crate::request::auth::live::TokenSources;

    /// Knows one token.
    struct Provider;

    #[async_trait]
    impl IdentityPort for Provider {
        async fn verify(&self, token: &str) -> Result<Identity, IdentityError> {
            match token {
                "a.right.one" => Ok(Identity {
                    user: "oidc:ann".parse().unwrap(),
                    is_admin: true,
                    valid_for: Duration::from_mins(1),
                }),
                "a.late.one" => Err(IdentityError::Away("down".to_owned())),
                _ => Err(IdentityError::Refused("the token has expired")),
            }
        }
    }

    fn authenticator(provider: Option<Arc<dyn IdentityPort>>) -> Authenticator {
        let sources = TokenSources { api_tokens: "bob:b.o.b,eve:e".to_owned(), ..Default::default() };
        let live = sources.read().unwrap().live;
        Authenticator::new(live, provider, TrustedProxies::default(), Duration::from_secs(4))
    }

    async fn of(authenticator: &Authenticator, token: &str) -> String {
        let (parts, ()) = Request::new(()).into_parts();
        match authenticator.caller(token, &parts).await {
            Ok(caller) => format!("{} {:?}", caller.user, caller.role),
            Err(error) => format!("{error:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn known_tokens_come_first_and_only_three_parts_go_to_a_provider() {
        let with = authenticator(Some(Arc::new(Provider)));
        assert_eq!(of(&with, "b.o.b").await, "bob User");
        assert_eq!(of(&with, "a.right.one").await, "oidc:ann Admin");
        assert_eq!(of(&with, "a.wrong.one").await, r#"Unauthenticated("the token has expired")"#);
        assert_eq!(of(&with, "a.late.one").await, r#"ProviderAway("down")"#);
        for token in ["x", "x.y", "a.b.c.d"] {
            assert_eq!(of(&with, token).await, r#"Unauthenticated("the token is not known")"#, "{token}");
        }
        assert_eq!(of(&with, "").await, r#"Unauthenticated("the token is empty")"#);
        assert_eq!(of(&authenticator(None), "a.right.one").await, r#"Unauthenticated("the token is not known")"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_token_waits_and_a_right_one_from_the_same_address_never_does() {
        let authenticator = authenticator(None);
        let began = Instant::now();
        for _ in 0..20 {
            of(&authenticator, "wrong").await;
        }
        assert!(began.elapsed() > Duration::from_secs(30), "{:?}", began.elapsed());
        let began = Instant::now();
        assert_eq!(of(&authenticator, "e").await, "eve User");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_of_a_provider_ends_with_its_time() {
        let (authenticator, began) = (authenticator(None), Instant::now());
        authenticator.ended(Proof::Until(began + Duration::from_mins(1))).await;
        assert_eq!(began.elapsed(), Duration::from_mins(1));
    }
}

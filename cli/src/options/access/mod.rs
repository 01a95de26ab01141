//! Who may use the API, how it is reached, and what it takes and shows.

mod http;
mod provider;
mod tokens;

use std::sync::Arc;

use adapters::oidc::Oidc;
use anyhow::Result;
use api::{Authenticator, LiveTokens, PublicUrl, TokensAtStart, TrustedProxies};
use bytesize::ByteSize;
use clap::Args;
use events::ports::{ArchiveLimits, IdentityPort, Suffixes, UploadLimits};
use http::HttpOptions;
use provider::ProviderOptions;
use tokens::TokenOptions;

use crate::value;

/// Who may use the API, and what an upload may hold.
#[derive(Debug, Args)]
pub(crate) struct AccessOptions {
    #[command(flatten)]
    tokens: TokenOptions,
    #[command(flatten)]
    provider: ProviderOptions,
    /// Networks of the proxies before the API, such as 10.0.0.0/8,192.0.2.7; only they may set X-Forwarded-For and
    /// X-Forwarded-Proto
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    trusted_proxies: TrustedProxies,
    /// Address of the API for people and browsers, such as `https://lb.example/board` [default: the address that it
    /// listens on]
    #[arg(long, env = "PUBLIC_URL")]
    pub(crate) public_url: Option<PublicUrl>,
    /// Maximum size of one uploaded file
    #[arg(long, env = "MAX_FILE_SIZE", value_name = "SIZE", default_value = "100MiB", value_parser = value::size)]
    max_file_size: ByteSize,
    /// Further suffixes for uploaded files, such as .csv,.json; always allowed: .py, .yaml, .zip, .tar.gz
    #[arg(long, env = "ALLOWED_SUFFIXES", default_value = "", hide_default_value = true)]
    allowed_suffixes: Suffixes,
    /// Metrics and their order, such as `image_auc:desc,latency_ms:asc`; the first is the leaderboard's default
    #[arg(long, env = "LEADERBOARD_METRICS", default_value = "", hide_default_value = true)]
    pub(crate) leaderboard_metrics: api::BoardMetrics,
    /// Serve /metrics on this address instead of the API's
    #[arg(long, env = "METRICS_ADDR", value_name = "ADDR", value_parser = value::address)]
    pub(crate) metrics_addr: Option<std::net::SocketAddr>,
    #[command(flatten)]
    pub(crate) http: HttpOptions,
}

impl AccessOptions {
    pub(crate) fn upload_limits(&self) -> UploadLimits {
        let (suffixes, file_bytes) = (self.allowed_suffixes.clone(), self.max_file_size.as_u64());
        UploadLimits { suffixes, file_bytes, ..UploadLimits::default() }
    }

    /// The OpenID provider, if there is one.
    ///
    /// # Errors
    /// Which option is missing or can't be used.
    pub(crate) fn provider(&self) -> Result<Option<Oidc>> {
        let options = self.provider.options(self.public_url.as_ref())?;
        options.map(|options| Ok(Oidc::new(&options)?)).transpose()
    }

    /// The tokens; `made` is the one that the role makes if it is given none.
    ///
    /// # Errors
    /// The place of an entry that can't be used.
    pub(crate) fn tokens(&self, made: impl FnOnce() -> Result<Option<String>>) -> Result<TokensAtStart> {
        let mut sources = self.tokens.sources();
        sources.has_provider = self.provider.is_given();
        let given = sources.read()?;
        if given.live.get().count() > 0 {
            return Ok(given);
        }
        match made()? {
            None => Ok(given),
            Some(token) => {
                sources.api_tokens = format!("me:{token}");
                Ok(sources.read()?)
            }
        }
    }

    /// What finds out who sends a request.
    pub(crate) fn authenticator(&self, tokens: LiveTokens, provider: Option<Oidc>) -> Arc<Authenticator> {
        let provider = provider.map(|oidc| Arc::new(oidc) as Arc<dyn IdentityPort>);
        let longest_delay = self.tokens.auth_failure_delay;
        Arc::new(Authenticator::new(tokens, provider, self.trusted_proxies.clone(), longest_delay))
    }
}

/// What an archive may hold; not configurable so far.
pub(crate) fn archive_limits() -> ArchiveLimits {
    ArchiveLimits::default()
}

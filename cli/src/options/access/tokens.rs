//! The tokens of users and admins.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use api::TokenSources;
use clap::Args;

use crate::value;

/// The tokens of users and admins.
#[derive(Args)]
pub(super) struct TokenOptions {
    /// Tokens of users, separated by commas: name:token, name:sha256:HASH, or a bare token
    #[arg(long, env = "API_TOKENS", hide_env_values = true, default_value = "", hide_default_value = true)]
    api_tokens: String,
    /// Tokens of admins, in the same form
    #[arg(long, env = "ADMIN_TOKENS", hide_env_values = true, default_value = "", hide_default_value = true)]
    admin_tokens: String,
    /// A file with further tokens of users, one on each line. Changes apply without a restart; `leadersboard token new`
    /// prints a line
    #[arg(long, env = "API_TOKENS_FILE", value_name = "FILE")]
    api_tokens_file: Option<PathBuf>,
    /// The same for admins
    #[arg(long, env = "ADMIN_TOKENS_FILE", value_name = "FILE")]
    admin_tokens_file: Option<PathBuf>,
    /// The longest delay of the answer to a wrong token; the delay grows with each failure of an address. 0s disables it
    #[arg(long, env = "AUTH_FAILURE_DELAY", default_value = "4s", value_name = "TIME", value_parser = delay)]
    pub(super) auth_failure_delay: Duration,
}

impl TokenOptions {
    pub(super) fn sources(&self) -> TokenSources {
        TokenSources {
            api_tokens: self.api_tokens.clone(),
            admin_tokens: self.admin_tokens.clone(),
            api_tokens_file: self.api_tokens_file.clone(),
            admin_tokens_file: self.admin_tokens_file.clone(),
            has_provider: false,
        }
    }
}

/// The longest value of `AUTH_FAILURE_DELAY`: a request that waits holds a connection.
const MAX_DELAY: Duration = Duration::from_secs(30);

fn delay(text: &str) -> Result<Duration, String> {
    let delay = value::time(text)?;
    if delay <= MAX_DELAY { Ok(delay) } else { Err("it is longer than 30s".to_owned()) }
}

/// Without the tokens.
impl fmt::Debug for TokenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api_tokens_file, admin_tokens_file, .. } = self;
        let mut shown = f.debug_struct("TokenOptions");
        shown.field("api_tokens_file", api_tokens_file).field("admin_tokens_file", admin_tokens_file);
        shown.finish_non_exhaustive()
    }
}

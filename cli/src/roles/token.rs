//! `leadersboard token`: makes tokens. It asks no server and stores nothing.

use std::process::ExitCode;

use adapters::ids::random_hex;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use events::UserId;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answer;
use crate::client::Output;

/// Make tokens for users and admins.
#[derive(Debug, Args)]
pub(crate) struct TokenCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print a new token, and the line for the token file
    #[command(after_help = "\
Add the line to the file that API_TOKENS_FILE names, for an admin to that of ADMIN_TOKENS_FILE. The \
running server accepts the token within a few seconds. The file has only the token's hash.

To replace a token, add the line of a new one and give that to the user, who may have several. Remove \
the old line when it is no longer used. A token without a line is refused within a few seconds.")]
    New {
        /// The user whose token it is
        name: UserId,
        /// Make the token of an admin
        #[arg(long)]
        admin: bool,
    },
}

impl TokenCommand {
    pub(crate) fn run(self, output: Output) -> Result<ExitCode> {
        let What::New { name, admin } = self.what;
        // The forms of an entry that a token file refuses.
        if ["sha256", "oidc"].contains(&name.as_str())
            || name.as_str().starts_with("oidc:")
            || name.as_str().starts_with('#')
        {
            bail!(
                "no user of a token can have the name {name}: sha256, oidc and a # at the beginning have another meaning"
            );
        }
        if name.as_str().trim() != name.as_str() {
            bail!("the name {name:?} begins or ends with a space");
        }
        // 256 random bits, with a beginning by which people and scanners recognise it.
        let token = format!("lb_{}", random_hex::<32>());
        let line = format!("{name}:sha256:{}", hex::encode(Sha256::digest(&token)));
        let (role, variable) = if admin { ("admin", "ADMIN_TOKENS_FILE") } else { ("user", "API_TOKENS_FILE") };
        let sentence = format!(
            "token   {token}\nline    {line}\n\n\
             Add the line to the file that {variable} names: the server accepts the token within a few seconds.\n\
             Give the token to {name}. It is shown only now: nothing stores it."
        );
        let document = json!({ "user": name, "role": role, "token": token, "line": line, "variable": variable });
        answer(output, &sentence, &document)?;
        Ok(ExitCode::SUCCESS)
    }
}

//! `leadersboard token`: makes tokens. It asks no server and stores nothing.

use std::process::ExitCode;

use adapters::ids::random_hex;
use anyhow::Result;
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
        #[arg(value_parser = name_of_user)]
        name: UserId,
        /// Make the token of an admin
        #[arg(long)]
        admin: bool,
    },
}

/// Reads the name of a user who signs in by a token. It refuses what a token file refuses.
fn name_of_user(text: &str) -> Result<UserId, String> {
    if text == "sha256" || text == "oidc" {
        return Err("sha256 and oidc are reserved: choose another name".to_owned());
    }
    if text.starts_with('#') {
        return Err("a line of the token file that begins with # is a comment: choose another name".to_owned());
    }
    if text.trim() != text {
        return Err("the name begins or ends with a space".to_owned());
    }
    let name = text.parse().ok().filter(|_| !text.contains(':'));
    name.ok_or_else(|| "a name is 1 to 64 characters without a colon, a comma or a control character".to_owned())
}

impl TokenCommand {
    pub(crate) fn run(self, output: Output) -> Result<ExitCode> {
        let What::New { name, admin } = self.what;
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

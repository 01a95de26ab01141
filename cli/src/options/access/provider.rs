//! The OpenID provider.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use adapters::oidc::{OidcClient, OidcOptions};
use anyhow::{Context, Result, bail};
use api::PublicUrl;
use clap::Args;

/// The largest file with a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 4 << 10;

/// The OpenID provider where people may sign in.
#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "each is the name of an option")]
pub(super) struct ProviderOptions {
    /// An OpenID provider whose tokens are accepted, exactly as its tokens name it (`iss`) [default: none]
    #[arg(long, env = "OIDC_ISSUER", value_name = "URL")]
    oidc_issuer: Option<String>,
    /// The audience (`aud`) that its tokens must have
    #[arg(long, env = "OIDC_AUDIENCE")]
    oidc_audience: Option<String>,
    /// The claim with the name of the user [default: sub]
    #[arg(long, env = "OIDC_USER_CLAIM", value_name = "CLAIM")]
    oidc_user_claim: Option<String>,
    /// Which claim makes a user an admin: CLAIM=VALUE, such as groups=leadersboard-admins, for a text or a list; or a
    /// CLAIM that is true [default: none, no user of the provider is an admin]
    #[arg(long, env = "OIDC_ADMIN_CLAIM", value_name = "CLAIM[=VALUE]")]
    oidc_admin_claim: Option<String>,
    /// The name of the web page as a client of the provider
    #[arg(long, env = "OIDC_CLIENT_ID", value_name = "ID")]
    oidc_client_id: Option<String>,
    /// A file with the secret of this client
    #[arg(long, env = "OIDC_CLIENT_SECRET_FILE", value_name = "FILE")]
    oidc_client_secret_file: Option<PathBuf>,
}

impl ProviderOptions {
    /// Whether there is a provider.
    pub(super) fn is_given(&self) -> bool {
        given(self.oidc_issuer.as_ref()).is_some()
    }

    /// The provider, if there is one.
    ///
    /// # Errors
    /// Which option is missing, or has no meaning without another.
    pub(super) fn options(&self, public_url: Option<&PublicUrl>) -> Result<Option<OidcOptions>> {
        let Some(issuer) = given(self.oidc_issuer.as_ref()) else {
            let rest = [
                ("OIDC_AUDIENCE", given(self.oidc_audience.as_ref()).is_some()),
                ("OIDC_USER_CLAIM", given(self.oidc_user_claim.as_ref()).is_some()),
                ("OIDC_ADMIN_CLAIM", given(self.oidc_admin_claim.as_ref()).is_some()),
                ("OIDC_CLIENT_ID", given(self.oidc_client_id.as_ref()).is_some()),
                ("OIDC_CLIENT_SECRET_FILE", self.oidc_client_secret_file.is_some()),
            ];
            match rest.iter().find(|(_, is_given)| *is_given) {
                None => return Ok(None),
                Some((name, _)) => bail!("{name} is set and OIDC_ISSUER is not: name the provider too"),
            }
        };
        let Some(audience) = given(self.oidc_audience.as_ref()) else {
            bail!("OIDC_ISSUER is set and OIDC_AUDIENCE is not: name the audience that tokens for this server have");
        };
        Ok(Some(OidcOptions {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            user_claim: given(self.oidc_user_claim.as_ref()).unwrap_or("sub").to_owned(),
            admin_claim: given(self.oidc_admin_claim.as_ref()).map(str::to_owned),
            client: self.client(public_url)?,
        }))
    }

    fn client(&self, public_url: Option<&PublicUrl>) -> Result<Option<OidcClient>> {
        let Some(id) = given(self.oidc_client_id.as_ref()) else {
            if self.oidc_client_secret_file.is_some() {
                bail!("OIDC_CLIENT_SECRET_FILE is set and OIDC_CLIENT_ID is not: the secret of which client is it?");
            }
            return Ok(None);
        };
        if public_url.is_none() {
            bail!("OIDC_CLIENT_ID is set and PUBLIC_URL is not: the provider sends people back to PUBLIC_URL");
        }
        let secret = self.oidc_client_secret_file.as_deref().map(secret).transpose()?;
        Ok(Some(OidcClient { id: id.to_owned(), secret }))
    }
}

/// An empty variable is as good as none.
fn given(option: Option<&String>) -> Option<&str> {
    option.map(String::as_str).map(str::trim).filter(|text| !text.is_empty())
}

fn secret(path: &Path) -> Result<String> {
    let place = || format!("OIDC_CLIENT_SECRET_FILE: {}", path.display());
    let mut bytes = vec![];
    let file = File::open(path).with_context(|| format!("{} can't be read", place()))?;
    file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).with_context(|| format!("{} can't be read", place()))?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        bail!("{} has more than {MAX_SECRET_BYTES} bytes", place());
    }
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok("") => bail!("{} is empty", place()),
        Ok(secret) => Ok(secret.to_owned()),
        Err(_) => bail!("{} is not UTF-8", place()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        provider: ProviderOptions,
    }

    fn options(line: &str, public_url: Option<&str>) -> Result<Option<OidcOptions>, String> {
        let cli = Cli::try_parse_from(std::iter::once("api").chain(line.split_whitespace())).unwrap();
        let url = public_url.map(|url| url.parse().unwrap());
        cli.provider.options(url.as_ref()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn half_a_provider_is_refused() {
        for (line, public_url, why) in [
            ("--oidc-audience a", None, "OIDC_AUDIENCE is set and OIDC_ISSUER is not"),
            ("--oidc-user-claim a", None, "OIDC_USER_CLAIM is set and OIDC_ISSUER is not"),
            ("--oidc-admin-claim a", None, "OIDC_ADMIN_CLAIM is set and OIDC_ISSUER is not"),
            ("--oidc-client-id a", None, "OIDC_CLIENT_ID is set and OIDC_ISSUER is not"),
            ("--oidc-client-secret-file a", None, "OIDC_CLIENT_SECRET_FILE is set and OIDC_ISSUER is not"),
            ("--oidc-issuer https://i", None, "OIDC_ISSUER is set and OIDC_AUDIENCE is not"),
            (
                "--oidc-issuer https://i --oidc-audience a --oidc-client-id c",
                None,
                "OIDC_CLIENT_ID is set and PUBLIC_URL",
            ),
            (
                "--oidc-issuer https://i --oidc-audience a --oidc-client-secret-file f",
                None,
                "OIDC_CLIENT_SECRET_FILE is set and OIDC_CLIENT_ID is not",
            ),
            (
                "--oidc-issuer https://i --oidc-audience a --oidc-client-id c --oidc-client-secret-file /nowhere",
                Some("https://lb.example"),
                "OIDC_CLIENT_SECRET_FILE: /nowhere can't be read",
            ),
        ] {
            let refused = options(line, public_url).unwrap_err();
            assert!(refused.starts_with(why), "{line}: {refused}");
        }
        assert!(options("", None).unwrap().is_none());
        assert!(options("--oidc-issuer= --oidc-audience=", None).unwrap().is_none());
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let line = format!(
            "--oidc-issuer https://i --oidc-audience a --oidc-client-id c --oidc-client-secret-file {}",
            path.display()
        );
        let read = || options(&line, Some("https://lb.example"));
        std::fs::write(&path, "hunter2\n").unwrap();
        let found = read().unwrap().unwrap();
        assert_eq!(found.user_claim, "sub");
        assert_eq!(found.client.as_ref().unwrap().secret.as_deref(), Some("hunter2"));
        assert!(!format!("{found:?}").contains("hunter2"));
        for bad in [&b"\n"[..], b"\xff", &[b'a'; 5000]] {
            std::fs::write(&path, bad).unwrap();
            assert!(read().unwrap_err().starts_with("OIDC_CLIENT_SECRET_FILE: "));
        }
    }
}

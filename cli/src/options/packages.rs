//! The options for the `requirements.txt` of submissions.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use worker::{Installer, InstallerOptions, Python, RequirementsMode};

use super::sandbox::Site;

/// What to do with the `requirements.txt` of submissions.
#[derive(Debug, Args)]
pub(crate) struct RequirementsOptions {
    /// What to do with a submission's requirements.txt: off (nothing), or cached (install its packages from the index,
    /// and reuse them for the same list)
    #[arg(long, env = "REQUIREMENTS", default_value_t = RequirementsMode::Off)]
    requirements: RequirementsMode,
    /// The only package index
    #[arg(long, env = "REQUIREMENTS_INDEX", default_value = "https://pypi.org/simple", hide_env_values = true)]
    requirements_index: String,
    /// The program that installs packages [default: uv on PATH]
    #[arg(long, env = "UV")]
    uv: Option<PathBuf>,
    /// Certificates for the index, instead of those of uv
    #[arg(long, env = "SSL_CERT_FILE")]
    ssl_cert_file: Option<PathBuf>,
}

impl RequirementsOptions {
    /// What installs packages, if any are to be.
    ///
    /// # Errors
    /// If it can't be had or does not run.
    #[expect(clippy::disallowed_methods, reason = "the command line is where the environment is read")]
    pub(crate) async fn installer(&self, site: &Site, python: &Python) -> Result<Option<Installer>> {
        match self.requirements {
            RequirementsMode::Off => Ok(None),
            RequirementsMode::Cached => {
                let options = InstallerOptions {
                    uv: self.uv.clone(),
                    index: self.requirements_index.clone(),
                    certificates: self.ssl_cert_file.clone(),
                };
                let path = std::env::var_os("PATH");
                let path = path.as_deref().unwrap_or(OsStr::new(""));
                let work_root: &Path = &site.work_root;
                Ok(Some(Installer::prepare(&options, path, (&site.sandbox, python, work_root)).await?))
            }
        }
    }
}

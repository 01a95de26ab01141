//! What installs packages: found once, when the worker starts, and seen to run confined.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{env, fmt};

use crate::confinement::{Needs, Probe, Sandbox, UnknownWord};
use crate::python::Python;

/// What to do with the `requirements.txt` of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequirementsMode {
    /// Nothing.
    Off,
    /// Its packages are installed, and cached for submissions with the same list.
    Cached,
}

impl fmt::Display for RequirementsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Cached => "cached",
        })
    }
}

impl FromStr for RequirementsMode {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "off" => Ok(Self::Off),
            "cached" => Ok(Self::Cached),
            _ => Err(UnknownWord::new("off or cached", text)),
        }
    }
}

/// How packages are to be installed.
#[derive(Debug, Clone)]
pub struct InstallerOptions {
    /// `uv`; none: the first on the path.
    pub uv: Option<PathBuf>,
    /// The one index that is asked, as an address. It may hold a password.
    pub index: String,
    /// Certificates to trust instead of those that `uv` brings.
    pub certificates: Option<PathBuf>,
}

/// Why nothing can be installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallerError {
    /// There is no `uv`.
    #[error(
        "REQUIREMENTS=cached needs uv, and there is none on PATH: install it (pip install uv), give its path as UV, \
         or set REQUIREMENTS=off"
    )]
    NoneFound,
    /// It does not run where it has to.
    #[error(
        "{path} does not run in a sandbox: {problem}; give the path of uv itself as UV, or set REQUIREMENTS=off",
        path = path.display()
    )]
    DoesNotRun {
        /// Its path.
        path: PathBuf,
        /// What happened.
        problem: String,
    },
    /// The index is none. It is not told, for it may hold a password.
    #[error("REQUIREMENTS_INDEX must be an address that begins with https:// or http://")]
    NotAnIndex,
    /// There are no certificates where they should be.
    #[error("SSL_CERT_FILE {path} can't be used: {problem}", path = path.display())]
    Certificates {
        /// Where they should be.
        path: PathBuf,
        /// What happened.
        problem: String,
    },
}

/// What installs packages.
#[derive(Clone)]
pub struct Installer {
    uv: PathBuf,
    index: String,
    certificates: Option<PathBuf>,
    /// What it has to read.
    readable: Vec<PathBuf>,
}

/// Without the index, which may hold a password.
impl fmt::Debug for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installer").field("uv", &self.uv).finish_non_exhaustive()
    }
}

impl Installer {
    /// Finds what is needed, and sees it run.
    ///
    /// # Errors
    /// What is missing or does not run, and the cure.
    pub async fn prepare(
        options: &InstallerOptions,
        search_path: &OsStr,
        (sandbox, python, work_root): (&Sandbox, &Python, &Path),
    ) -> Result<Self, InstallerError> {
        let index = &options.index;
        let is_address = index.starts_with("https://") || index.starts_with("http://");
        if !is_address || index.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(InstallerError::NotAnIndex);
        }
        let on_path = || env::split_paths(search_path).map(|folder| folder.join("uv")).find(|path| path.is_file());
        let path = options.uv.clone().or_else(on_path).ok_or(InstallerError::NoneFound)?;
        let does_not_run = |problem| InstallerError::DoesNotRun { path: path.clone(), problem };
        // By its own path: a link to it would lead nowhere in a sandbox.
        let uv = path.canonicalize().map_err(|error| does_not_run(error.to_string()))?;
        let certificates = options.certificates.as_ref().map(|path| {
            let unusable =
                |error: std::io::Error| InstallerError::Certificates { path: path.clone(), problem: error.to_string() };
            path.canonicalize().map_err(unusable)
        });
        let certificates = certificates.transpose()?;
        let readable = [Some(uv.clone()), certificates.clone()].into_iter().flatten().collect();
        let installer = Self { uv, index: index.clone(), certificates, readable };
        let version = installer.version(sandbox, python, work_root).await.map_err(does_not_run)?;
        tracing::info!(uv = %installer.uv.display(), version, "requirements.txt of submissions are installed");
        Ok(installer)
    }

    async fn version(&self, sandbox: &Sandbox, python: &Python, work_root: &Path) -> Result<String, String> {
        const SCRIPT: &str = "import subprocess, sys
sys.exit(subprocess.run([sys.argv[1], '--no-config', '--version']).returncode)";
        let argument = self.uv.to_string_lossy();
        let needs = Needs { readable: &self.readable, ..Needs::default() };
        let probe = Probe { script: SCRIPT, argument: &argument, needs, ..Probe::default() };
        let said = sandbox.run_probe(python, work_root, &probe).await?;
        let version = said.trim().strip_prefix("uv ").ok_or_else(|| format!("it says {:.80}", said.trim()))?;
        Ok(version.to_owned())
    }

    /// Its path.
    pub(crate) fn uv(&self) -> &Path {
        &self.uv
    }

    /// The index that it asks.
    pub(crate) fn index(&self) -> &str {
        &self.index
    }

    /// What it has to read.
    pub(crate) fn readable(&self) -> &[PathBuf] {
        &self.readable
    }

    /// Its settings. Not as arguments, which every process of the machine can read: the index may hold a password.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut environment = vec![
            ("UV_DEFAULT_INDEX", self.index.clone()),
            // The job is tried again as a whole.
            ("UV_HTTP_RETRIES", "1".to_owned()),
            ("UV_PYTHON_DOWNLOADS", "never".to_owned()),
            ("UV_NO_PROGRESS", "1".to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ];
        if let Some(path) = &self.certificates {
            environment.push(("SSL_CERT_FILE", path.to_string_lossy().into_owned()));
        }
        environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_neither_on_nor_off() {
        assert_eq!("cached".parse(), Ok(RequirementsMode::Cached));
        for typo in ["", "on", "Off", "cache", "true", "cached "] {
            assert!(typo.parse::<RequirementsMode>().is_err(), "{typo}");
        }
    }
}

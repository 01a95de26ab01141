//! The interpreter for jobs.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

const PROBE: &str = "import sys; print('.'.join(map(str, sys.version_info[:3])))";
const PATIENCE: Duration = Duration::from_secs(20);

/// An interpreter that was seen to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its version, such as `3.11.7`.
    pub version: String,
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.version, self.path.display())
    }
}

/// No interpreter runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PythonError {
    /// The one that was asked for does not run.
    #[error("JOB_PYTHON {path} does not run: {problem}; give the path of a Python 3 that this user can run", path = path.display())]
    Given {
        /// Its path.
        path: PathBuf,
        /// What happened.
        problem: String,
    },
    /// None was asked for, and none of the usual ones runs.
    #[error("no python3 on PATH runs: install Python 3, or set JOB_PYTHON to its path")]
    NoneFound,
}

impl Python {
    /// The interpreter `given`; else the first of `python3`, `python` on `search_path` and `/usr/bin/python3` that runs.
    ///
    /// # Errors
    /// If none runs.
    pub async fn find(given: Option<&Path>, search_path: &OsStr) -> Result<Self, PythonError> {
        if let Some(path) = given {
            let failed = |problem| PythonError::Given { path: path.to_owned(), problem };
            return probe(path).await.map_err(failed);
        }
        let folders: Vec<PathBuf> = std::env::split_paths(search_path).collect();
        let on_path = ["python3", "python"].into_iter().flat_map(|name| folders.iter().map(move |f| f.join(name)));
        for candidate in on_path.chain([PathBuf::from("/usr/bin/python3")]) {
            if candidate.is_file()
                && let Ok(python) = probe(&candidate).await
            {
                return Ok(python);
            }
        }
        Err(PythonError::NoneFound)
    }
}

/// Runs an interpreter as a job would be run: with an empty environment.
async fn probe(path: &Path) -> Result<Python, String> {
    // Not resolved further: a virtual environment knows itself by the link it was started by.
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let mut command = Command::new(&path);
    command
        .args(["-c", PROBE])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .map_err(|_| format!("it did not answer within {PATIENCE:?}"))?
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !version.starts_with("3.") {
        return Err(format!("it is version {version:?}, and Python 3 is needed"));
    }
    Ok(Python { path, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_run_is_named_with_its_cure() {
        let error = Python::find(Some(Path::new("/nowhere/python3")), OsStr::new("")).await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/python3") && error.contains("give the path"), "{error}");
        let error = Python::find(Some(Path::new("/bin/false")), OsStr::new("")).await.unwrap_err().to_string();
        assert!(error.contains("/bin/false"), "{error}");
    }

    #[tokio::test]
    async fn one_is_found_on_the_path() {
        let python = Python::find(None, OsStr::new("/usr/local/bin:/usr/bin:/bin")).await.unwrap();
        assert!(python.path.is_absolute() && python.version.starts_with("3."), "{python}");
    }
}

//! The interpreter for jobs.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Its version, its own path, and the folders that it needs.
const PROBE: &str = "import sys
print('.'.join(map(str, sys.version_info[:3])), sys.executable, sep='\\n')
print(*{sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}, sep='\\n')";
const PATIENCE: Duration = Duration::from_secs(20);

/// An interpreter that was seen to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its version, such as `3.11.7`.
    pub version: String,
    /// The folders that hold it and its packages, and itself should it lie elsewhere, as absolute paths.
    pub folders: Vec<PathBuf>,
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
            let found = probe(path).await.map_err(failed)?;
            return found.started_by(path).map_err(failed);
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

    /// The same, started by this path: it may be a script that does more than to start it.
    fn started_by(mut self, path: &Path) -> Result<Self, String> {
        // Not resolved further: a virtual environment knows itself by the link it was started by.
        self.path = std::path::absolute(path).map_err(|error| error.to_string())?;
        if !self.folders.iter().any(|folder| self.path.starts_with(folder)) {
            self.folders.push(self.path.clone());
        }
        Ok(self)
    }
}

/// Runs an interpreter as a job would be run: with an empty environment.
async fn probe(path: &Path) -> Result<Python, String> {
    let mut command = Command::new(path);
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
    let told = String::from_utf8_lossy(&output.stdout);
    let mut lines = told.lines().map(str::trim);
    let version = lines.next().unwrap_or_default().to_owned();
    if !version.starts_with("3.") {
        return Err(format!("it is version {version:?}, and Python 3 is needed"));
    }
    // What was found may be a script that looks for the interpreter, by settings that a job does not see.
    let path = lines.next().map(PathBuf::from).filter(|itself| itself.is_absolute());
    let path = path.ok_or("it does not tell its own path")?;
    let mut folders: Vec<PathBuf> = lines.map(PathBuf::from).filter(|folder| folder.is_absolute()).collect();
    folders.sort();
    Ok(Python { path, version, folders })
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
